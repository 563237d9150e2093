//! The Redis store beside its rivals and beside what the server can do at most.

mod args;
mod floor;
mod hand;
mod locks;
mod run;
mod server;
#[cfg(test)]
mod tests;

use std::path::Path;

/// Each with what has to be known to read its figures.
const CONTENDERS: [(&str, &str); 6] = [
    ("lessor", "one store, and so one connection, for all callers"),
    (
        "by-hand",
        "SET NX GET PX, and a script to complete; async: one multiplexed connection; blocking: one per thread",
    ),
    (
        "get",
        "by hand: a plain GET and a look at what it shows, where it is known that somebody holds or has finished the key",
    ),
    ("rslock", "SET NX PX and a script to unlock, on one multiplexed connection: keeps no result"),
    ("clients", "floor: redis-benchmark SET with as many clients; two count as a cycle"),
    (
        "pipeline",
        "floor: redis-benchmark SET with as many requests in a pipeline of one client; two count as a cycle",
    ),
];

/// Runs what the command line asks for, with the server's files under `folder`.
pub fn main(folder: &Path) -> Result<(), String> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let Some(options) = args::Options::parse(arguments)? else { return Ok(()) };
    match server::version() {
        Some(version) => {
            println!("{version}");
            run::all(&options, folder);
        }
        None => {
            println!("SKIPPED: THERE IS NO redis-server ON THE PATH, NOTHING OF THE REDIS STORE IS MEASURED")
        }
    }
    Ok(())
}
