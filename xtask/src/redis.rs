//! The server that the tests of the Redis store need.

use crate::shell::Shell;

/// Its version, if it is there.
pub(crate) fn version(shell: &Shell) -> Option<String> {
    let said = shell.program("redis-server").args(&["--version"]).output()?;
    said.split(' ').find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}

/// Installs the distribution's package unless there is a server. Returns its version; `None` if it cannot be installed.
pub(crate) fn provide(shell: &Shell) -> Option<String> {
    const INSTALL: &[&str] = &["apt-get", "install", "--yes", "--no-install-recommends", "redis-server"];
    const UPDATE: &[&str] = &["apt-get", "update"];
    if let Some(version) = version(shell) {
        return Some(version);
    }
    for right in [&["env"][..], &["sudo", "--non-interactive"]] {
        // The list of packages may be older than the packages.
        for tasks in [&[INSTALL][..], &[UPDATE, INSTALL]] {
            let run = |task: &&[&str]| {
                let words = [right, &["DEBIAN_FRONTEND=noninteractive"], task].concat();
                words
                    .split_first()
                    .is_some_and(|(program, args)| shell.program(program).args(args).run().is_ok())
            };
            if tasks.iter().all(run) && version(shell).is_some() {
                return version(shell);
            }
        }
    }
    None
}
