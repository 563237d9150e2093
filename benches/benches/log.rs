//! The file log beside SQLite, redb, fjall, LMDB and sled, and beside the least that a disk allows: durable cycles at 1, 8 and
//! 64 threads, ten thousand asynchronous callers, replays, the same without sync, and opening a million records.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // In the target folder, and so on a disk, where the system's folder for temporary files may be memory.
    match lessor_benches::log::main(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
