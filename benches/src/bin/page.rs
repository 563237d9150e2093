//! Draws the page of an earlier run again: `page FOLDER`, where its `results.json` is.

use std::error::Error;
use std::path::Path;

use lessor_benches::page;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("say in which folder the results are")?;
    let folder = Path::new(&folder);
    let text = std::fs::read_to_string(folder.join("results.json"))?;
    page::write(&serde_json::from_str(&text)?, folder)?;
    Ok(())
}
