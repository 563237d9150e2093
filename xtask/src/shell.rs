//! Runs programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folders of the workspace and of its build artefacts.
pub(crate) struct Shell {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

/// A program with its arguments, to be run in the workspace's root.
pub(crate) struct Program {
    command: Command,
    line: String,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().unwrap_or(here).to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Self { root, target }
    }

    /// Returns a command for the cargo that runs this task.
    pub(crate) fn cargo(&self, args: &[&str]) -> Program {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut program = self.program(&cargo).args(args);
        program.line = format!("cargo {}", args.join(" "));
        program
    }

    pub(crate) fn program(&self, name: &str) -> Program {
        let mut command = Command::new(name);
        command.current_dir(&self.root);
        Program { command, line: name.to_owned() }
    }
}

impl Program {
    pub(crate) fn args<S: AsRef<str> + AsRef<OsStr>>(mut self, args: &[S]) -> Self {
        for arg in args {
            self.command.arg::<&OsStr>(arg.as_ref());
            self.line.push(' ');
            self.line.push_str(arg.as_ref());
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs the program with its output on the terminal. Fails unless it succeeds.
    pub(crate) fn run(mut self) -> Result<(), String> {
        println!("$ {}", self.line);
        let status = self.command.status().map_err(|error| format!("{}: {error}", self.line))?;
        if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", self.line)) }
    }

    /// Runs the program. Returns whether it succeeded, its standard output and its standard error.
    pub(crate) fn capture(mut self) -> Result<(bool, String, String), String> {
        self.command.stdin(Stdio::null());
        let output = self.command.output().map_err(|error| format!("{}: {error}", self.line))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }

    /// Returns the standard output, if the program can be run and succeeds.
    pub(crate) fn output(self) -> Option<String> {
        self.capture().ok().filter(|(succeeded, ..)| *succeeded).map(|(_, out, _)| out)
    }
}
