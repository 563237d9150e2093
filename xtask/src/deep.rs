//! `cargo xtask deep`: checks that need a nightly toolchain.

use crate::shell::Shell;

/// The fuzz targets of `fuzz/`.
const FUZZED: [&str; 2] = ["decode", "recover"];

/// Runs the tests under Miri, which finds undefined behaviour, data races and leaks. Then runs the
/// fuzzer for `LESSOR_FUZZ_SECONDS` on each target, by default 60.
pub(crate) fn run(shell: &Shell) -> Result<(), String> {
    let missing = |what: &str, install: &str| format!("{what} is not installed; run `{install}`");
    let Some(components) = shell
        .program("rustup")
        .args(&["component", "list", "--installed", "--toolchain", "nightly"])
        .output()
    else {
        return Err(missing(
            "a nightly toolchain",
            "rustup toolchain install nightly --component miri,rust-src",
        ));
    };
    for component in ["miri", "rust-src"] {
        if !components.lines().any(|line| line.starts_with(component)) {
            let install = format!("rustup component add --toolchain nightly {component}");
            return Err(missing(&format!("the nightly component {component}"), &install));
        }
    }
    if shell.program("cargo-fuzz").args(&["--version"]).output().is_none() {
        return Err(missing("cargo-fuzz", "cargo install --locked cargo-fuzz"));
    }
    // The clock and random bits are read through libc, because Miri supports no raw system calls.
    let miri =
        ["run", "nightly", "cargo", "miri", "test", "--lib", "-p", "lessor-core", "-p", "lessor-memory"];
    shell
        .program("rustup")
        .args(&miri)
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("RUSTFLAGS", "--cfg rustix_use_libc")
        .env("CARGO_TARGET_DIR", shell.target.join("miri"))
        .run()?;
    FUZZED.iter().try_for_each(|target| fuzz(shell, target))
}

/// Fuzzes one target. Inputs worth keeping go to a separate folder, and the seeds are not changed.
fn fuzz(shell: &Shell, target: &str) -> Result<(), String> {
    let seconds = std::env::var("LESSOR_FUZZ_SECONDS").unwrap_or_else(|_| "60".to_owned());
    let found = shell.target.join("corpus").join(target);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let found = found.display().to_string();
    let seeds = shell.root.join("fuzz/corpus").join(target).display().to_string();
    let limit = format!("-max_total_time={seconds}");
    let run = ["run", "nightly", "cargo", "fuzz", "run", target, &found, &seeds, "--", &limit];
    shell
        .program("rustup")
        .args(&run)
        // A test simulates a killed holder by leaking its lease.
        .args(&["-print_final_stats=1", "-timeout=30", "-rss_limit_mb=2048", "-detect_leaks=0"])
        .current_dir(&shell.root.join("fuzz"))
        .env("CARGO_TARGET_DIR", shell.target.join("fuzz"))
        .run()
}
