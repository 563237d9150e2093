//! Runs the examples as a user does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(dead_code, reason = "each test file uses a part of it")]

#[cfg(feature = "redis")]
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

/// Returns a command for the example's program. It is built here, because `cargo test` alone does
/// not rebuild it.
pub(crate) fn example(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        // target/<profile>/deps/<test>
        let profile = test.parent().and_then(Path::parent).unwrap();
        let target = profile.parent().unwrap();
        let name = match profile.file_name().and_then(|name| name.to_str()).unwrap() {
            "debug" => "dev",
            name => name,
        };
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package",
                "lessor",
                "--examples",
                "--profile",
                name,
                "--target-dir",
            ])
            .arg(target)
            .args(cfg!(feature = "redis").then_some("--features=redis"))
            .args(cfg!(feature = "metrics").then_some("--features=metrics"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success());
        profile.join("examples")
    });
    Command::new(folder.join(name))
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the number in the row of the table with this name.
pub(crate) fn row(output: &Output, name: &str) -> u64 {
    let text = stdout(output);
    let line =
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
    line.split_whitespace().next_back().unwrap().parse().unwrap()
}

pub(crate) fn number_from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}

/// Returns a number from 0 to 1 that differs from run to run.
pub(crate) fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[expect(clippy::disallowed_methods, reason = "a process may be killed at any time")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
