//! Runs all workloads on all stores, for lessor and its alternatives in turns. See
//! `docs/benchmarks/`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The target folder is on a disk. The system's folder for temporary files may be in memory.
    match lessor_benches::suite::main(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
