//! Python programs, in a virtual environment that the tests make.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");

/// Prints that tests do nothing, or fails if `CI` is set.
pub(crate) fn skipped(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("SKIPPED: {reason}, NOTHING IS TESTED WITH THE STOCK CLIENT");
}

/// Returns the folder of a virtual environment with these packages, or `None` if there is no
/// Python 3, no pip or no network.
pub(crate) fn environment(requirements: &str) -> Option<PathBuf> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let list = Path::new(PROGRAMS).join(requirements);
    let wanted = fs::read_to_string(&list).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{requirements}"));
    let ready = folder.join("ready");
    if fs::read_to_string(&ready).is_ok_and(|found| found == wanted) {
        return Some(folder);
    }
    let run = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => true,
            Ok(output) => {
                eprintln!("{}", String::from_utf8_lossy(&output.stderr));
                false
            }
            Err(error) => {
                eprintln!("{error}");
                false
            }
        }
    };
    if !run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder)) {
        skipped("python3 WITH venv IS MISSING");
        return None;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    if !run(Command::new(folder.join("bin/python")).args(pip).arg(&list)) {
        skipped("THE PYTHON PACKAGES CANNOT BE INSTALLED");
        return None;
    }
    fs::write(ready, wanted).unwrap();
    Some(folder)
}

/// Returns the command of a program of an environment, without proxies.
pub(crate) fn command(environment: &Path, program: &str) -> Command {
    let mut command = Command::new(environment.join("bin").join(program));
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(PROGRAMS);
    command
}

/// Runs a program of this folder with the address of a server. Its lines that begin with `@` are
/// orders, which `obey` carries out before the program continues. Others are printed.
pub(crate) fn run(program: &str, url: &str, mut obey: impl FnMut(&[&str])) {
    let Some(environment) = environment("requirements.txt") else { return };
    let mut command = command(&environment, "python");
    let command = command.args(["-u", program, url]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Ended(command.spawn().unwrap());
    let (mut answers, lines) = (child.0.stdin.take().unwrap(), child.0.stdout.take().unwrap());
    for line in BufReader::new(lines).lines().map(Result::unwrap) {
        match line.strip_prefix("@ ") {
            Some(order) => {
                obey(&order.split(' ').collect::<Vec<_>>());
                writeln!(answers, "done").unwrap();
            }
            None => println!("{line}"),
        }
    }
    assert!(child.0.wait().unwrap().success(), "{program} fails, see above");
}

/// A process that ends with its owner.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
