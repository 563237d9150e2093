//! The program `lessor-file` needs read access only, to verify a log and to list its records.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use logs::logs;

#[path = "support/logs.rs"]
mod logs;

const TOOL: &str = env!("CARGO_BIN_EXE_lessor-file");

/// The user has read access only. Root can write everywhere, so the program runs as another user.
#[test]
fn p12_a_read_only_copy_is_verified() {
    let (base, folders) = logs();
    let tool = base.path().join("tool");
    fs::copy(TOOL, &tool).unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(base.path(), 0o755);
    mode(&tool, 0o755);
    for folder in &folders {
        for entry in fs::read_dir(folder).unwrap() {
            mode(&entry.unwrap().path(), 0o444);
        }
        mode(folder, 0o555);
        for command in ["verify", "dump"] {
            let mut tool = Command::new(&tool);
            if rustix::process::getuid().is_root() {
                tool.uid(65_534);
            }
            let output = tool.arg(command).arg(folder).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command}: {stderr}");
        }
        // The folder can be removed again.
        mode(folder, 0o755);
    }
}
