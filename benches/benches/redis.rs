//! The Redis store beside the same thing written by hand on the same client, beside rslock, and beside the least that a server allows:
//! cycles of asynchronous callers and of blocking ones, on a server that keeps nothing and on one that syncs each write, and
//! refusals and replays of one hot key.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // In the target folder, and so on a disk, where the system's folder for temporary files may be memory.
    match lessor_benches::redis::main(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
