//! All workloads, on all stores, by lessor and by its rivals, in turns: see `docs/benchmarks/`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // In the target folder, and so on a disk, where the system's folder for temporary files may be memory.
    match lessor_benches::suite::main(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
