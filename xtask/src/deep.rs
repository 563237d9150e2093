//! `cargo xtask deep`: what a stable toolchain cannot do.

use crate::shell::Shell;

/// Miri interprets the tests and finds undefined behaviour, data races and leaks.
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
    // The clock and random bits come from the machine, by way of libc: Miri knows no raw system calls.
    let miri =
        ["run", "nightly", "cargo", "miri", "test", "--lib", "-p", "lessor-core", "-p", "lessor-memory"];
    shell
        .program("rustup")
        .args(&miri)
        .env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("RUSTFLAGS", "--cfg rustix_use_libc")
        .env("CARGO_TARGET_DIR", shell.target.join("miri"))
        .run()
}
