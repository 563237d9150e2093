//! A copy of the sources, in which faults are planted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::mutants::list::{MODELS, Mutant, Test};
use crate::shell::Shell;

/// The time limit of a test whose duration is not known yet.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Sandbox<'a> {
    shell: &'a Shell,
    root: PathBuf,
    target: PathBuf,
}

/// The end of a test.
pub(crate) enum Ran {
    Passed {
        /// The number of tests that match the filter.
        tests: usize,
        took: Duration,
    },
    Failed,
    Hung,
    NotBuilt(String),
}

impl<'a> Sandbox<'a> {
    /// Creates a sandbox. Several with different names can exist at the same time.
    pub(crate) fn new(shell: &'a Shell, name: &str) -> Result<Self, String> {
        let base = shell.target.join("mutants").join(name);
        let sandbox = Self { shell, root: base.join("src"), target: base.join("target") };
        mirror(&shell.root, &sandbox.root, true).map_err(|error| format!("copying the sources: {error}"))?;
        Ok(sandbox)
    }

    /// Plants the fault until the returned value is dropped.
    pub(crate) fn plant(&self, mutant: &Mutant) -> Result<Planted, String> {
        let path = self.root.join(mutant.file);
        let original =
            fs::read_to_string(&path).map_err(|error| format!("outdated, {}: {error}", mutant.file))?;
        match original.matches(mutant.find).count() {
            1 => {}
            count => {
                return Err(format!("outdated, its text occurs {count} times in {}, not once", mutant.file));
            }
        }
        let planted = original.replacen(mutant.find, mutant.replace, 1);
        fs::write(&path, planted).map_err(|error| format!("{}: {error}", mutant.file))?;
        Ok(Planted { path, original })
    }

    pub(crate) fn run(&self, test: Test, patience: Duration) -> Ran {
        let build = ["test", "--quiet", "--no-run", "--message-format=json", "--package", test.package];
        let build = self.shell.cargo(&build).args(test.target).current_dir(&self.root);
        // Without debug information, which takes time to build.
        let build = build.env("CARGO_PROFILE_DEV_DEBUG", "0");
        let build = match test.package {
            // Built in a separate folder, because the primitives are those of the model checker.
            MODELS => {
                let models = self.target.join("models");
                build.env("CARGO_TARGET_DIR", models).env("RUSTFLAGS", "--cfg loom")
            }
            _ => build.env("CARGO_TARGET_DIR", &self.target),
        };
        let program = match build.capture() {
            Err(error) => return Ran::NotBuilt(error),
            Ok((false, _, error)) => return Ran::NotBuilt(error),
            Ok((true, messages, _)) => match messages.lines().find_map(executable) {
                Some(program) => PathBuf::from(program),
                None => return Ran::NotBuilt("cargo names no test program".to_owned()),
            },
        };
        self.watch(test, &program, patience).unwrap_or_else(Ran::NotBuilt)
    }

    /// Returns the folder in which cargo would run the package's tests.
    fn folder(&self, package: &str) -> PathBuf {
        if package == MODELS { self.root.join("models") } else { self.root.join("crates").join(package) }
    }

    /// Runs the test program directly, because ending cargo would not end it.
    fn watch(&self, test: Test, program: &Path, patience: Duration) -> Result<Ran, String> {
        let said = self.target.join("said");
        let file = fs::File::create(&said).map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .arg(test.filter)
            // Shortens waits for events that a fault may prevent.
            .env("LESSOR_PATIENCE", "4")
            // As cargo does, for tests that build programs.
            .env("CARGO_MANIFEST_DIR", self.folder(test.package))
            .env("CARGO_TARGET_DIR", &self.target)
            .current_dir(self.folder(test.package))
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        match wait(&mut child, patience).map_err(|error| error.to_string())? {
            None => Ok(Ran::Hung),
            Some((false, _)) => Ok(Ran::Failed),
            Some((true, took)) => {
                let said = fs::read_to_string(&said).map_err(|error| error.to_string())?;
                let count = said.lines().find_map(|line| line.strip_prefix("running "));
                let count =
                    count.and_then(|rest| rest.split(' ').next()).and_then(|count| count.parse().ok());
                Ok(Ran::Passed { tests: count.unwrap_or(0), took })
            }
        }
    }
}

/// Returns the program of a test that a message of cargo names. A package's programs are built
/// along with its tests, so the message's profile must be that of a test.
fn executable(message: &str) -> Option<&str> {
    let (_, profile) = message.split_once(r#""profile":{"#)?;
    let (profile, rest) = profile.split_once('}')?;
    let (_, rest) = rest.split_once(r#""executable":""#)?;
    profile.contains(r#""test":true"#).then_some(rest.split_once('"')?.0)
}

/// Returns whether the program succeeded, and its duration. `None` if it had to be ended.
#[expect(
    clippy::disallowed_methods,
    reason = "watches a program, which the standard library has no call for"
)]
fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<(bool, Duration)>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some((status.success(), began.elapsed())));
        }
        if began.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A fault in the sandbox. Dropping it removes the fault.
pub(crate) struct Planted {
    path: PathBuf,
    original: String,
}

impl Drop for Planted {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.original) {
            eprintln!("xtask: {}: {error}", self.path.display());
        }
    }
}

/// Copies `from` to `to`. Equal files are not written, so that cargo does not rebuild them.
fn mirror(from: &Path, to: &Path, is_root: bool) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    let mut kept = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || (is_root && name == ".git") {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            mirror(&source, &copy, false)?;
        } else {
            let bytes = fs::read(&source)?;
            if !fs::read(&copy).is_ok_and(|there| there == bytes) {
                fs::write(&copy, bytes)?;
            }
        }
        kept.push(name);
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if kept.contains(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
