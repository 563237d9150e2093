#[lessor_macros::once(engine = engine, key())]
pub fn charge(_engine: u8) -> std::io::Result<()> {
    Ok(())
}

fn main() {}
