//! Programs of the distribution that steps need.

use crate::shell::Shell;

/// The server for the tests of the Redis store.
pub(crate) const REDIS: Package = Package {
    name: "redis-server",
    version: |said| said.split(' ').find_map(|word| word.strip_prefix("v=")),
};

/// The program that counts instructions.
pub(crate) const VALGRIND: Package =
    Package { name: "valgrind", version: |said| said.trim().strip_prefix("valgrind-") };

/// A program, and the distribution's package of the same name.
pub(crate) struct Package {
    name: &'static str,
    /// Finds the version in the output of `--version`.
    version: fn(&str) -> Option<&str>,
}

impl Package {
    /// Returns the version of the program, if it is installed.
    fn version(&self, shell: &Shell) -> Option<String> {
        let said = shell.program(self.name).args(&["--version"]).output()?;
        (self.version)(&said).map(str::to_owned)
    }

    /// Installs the distribution's package if the program is missing. Returns its version, or
    /// `None` if it cannot be installed.
    pub(crate) fn provide(&self, shell: &Shell) -> Option<String> {
        const UPDATE: &[&str] = &["apt-get", "update"];
        let install: &[&str] = &["apt-get", "install", "--yes", "--no-install-recommends", self.name];
        if let Some(version) = self.version(shell) {
            return Some(version);
        }
        for right in [&["env"][..], &["sudo", "--non-interactive"]] {
            // The local list of packages may be outdated.
            for tasks in [&[install][..], &[UPDATE, install]] {
                let run = |task: &&[&str]| {
                    let words = [right, &["DEBIAN_FRONTEND=noninteractive"], task].concat();
                    words
                        .split_first()
                        .is_some_and(|(program, args)| shell.program(program).args(args).run().is_ok())
                };
                if tasks.iter().all(run)
                    && let Some(version) = self.version(shell)
                {
                    return Some(version);
                }
            }
        }
        None
    }
}
