//! Faults of the program `lessor`.

use crate::mutants::list::{Mutant, Test};

const fn cli(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-cli", target, filter }
}

const UNIT: &[&str] = &["--bin", "lessor"];
const OPERATORS: &[&str] = &["--test", "operators"];
const RUN: &[&str] = &["--test", "run"];
const ENDING: &[&str] = &["--test", "ending"];

pub(crate) const CLI: &[Mutant] = &[
    Mutant {
        name: "cli-changes-without-yes",
        file: "crates/lessor-cli/src/confirm.rs",
        find: "        if self.yes {\n            make()?;",
        replace: "        if true {\n            make()?;",
        test: cli(OPERATORS, "nothing_is_changed_without_yes"),
    },
    Mutant {
        name: "cli-creates-a-store-to-look-at-it",
        file: "crates/lessor-cli/src/place.rs",
        find: "StoreUrl::File { folder, .. } => has_files(folder)?,",
        replace: "StoreUrl::File { .. } => {}",
        test: cli(OPERATORS, "a_store_that_does_not_exist"),
    },
    Mutant {
        name: "cli-watch-misses-a-removed-key",
        file: "crates/lessor-cli/src/commands/watch.rs",
        find: "known.keys().filter(|key| !now.contains_key(*key))",
        replace: "known.keys().filter(|key| now.len() > usize::MAX - key.len())",
        test: cli(OPERATORS, "watch_prints_every_key"),
    },
    Mutant {
        name: "cli-run-keeps-the-beginning-of-an-output",
        file: "crates/lessor-cli/src/run/output.rs",
        find: "self.kept.drain(..excess);",
        replace: "self.kept.truncate(self.most);",
        test: cli(UNIT, "the_last_bytes_are_kept"),
    },
    Mutant {
        name: "cli-run-replays-a-failure-as-a-success",
        file: "crates/lessor-cli/src/commands/run.rs",
        find: "Ok(Code::Run(ran.exit_code))",
        replace: "Ok(Code::Done)",
        test: cli(RUN, "p6_a_command_runs_once"),
    },
    Mutant {
        name: "cli-run-retries-once-less",
        file: "crates/lessor-cli/src/commands/run.rs",
        find: "lease.attempt() <= self.retry",
        replace: "lease.attempt() < self.retry",
        test: cli(RUN, "a_failure_is_retried"),
    },
    Mutant {
        name: "cli-run-retries-after-a-signal",
        file: "crates/lessor-cli/src/commands/run.rs",
        find: "!was_signalled && lease",
        replace: "(was_signalled || !was_signalled) && lease",
        test: cli(ENDING, "a_command_that_a_signal_ended"),
    },
    Mutant {
        name: "cli-run-keeps-the-failure-of-a-missing-program",
        file: "crates/lessor-cli/src/commands/run.rs",
        find: "let _ = lease.release().wait();",
        replace: "let _ = lease.fail(\"missing\").wait();",
        test: cli(RUN, "a_command_that_cannot_be_started"),
    },
    Mutant {
        name: "cli-run-forgets-the-checkpoint",
        file: "crates/lessor-cli/src/run/checkpoint.rs",
        find: "fs::write(&path, earlier)?;",
        replace: "let _ = earlier;",
        test: cli(RUN, "a_checkpoint_is_restored"),
    },
    Mutant {
        name: "cli-guard-does-not-know-the-end-of-the-lease",
        file: "crates/lessor-cli/src/run/guard.rs",
        find: "if now.saturating_add(self.guard.kill_after) >= self.until {",
        replace: "if now == self.until {",
        test: cli(ENDING, "p1_a_command_has_ended_before_another_holder"),
    },
    Mutant {
        name: "cli-guard-leaves-the-commands-children",
        file: "crates/lessor-cli/src/run/guard.rs",
        find: "        self.signal(Signal::KILL);\n        let status",
        replace: "        let status",
        test: cli(ENDING, "processes_that_a_command_leaves"),
    },
    Mutant {
        name: "cli-run-leaves-the-command-of-a-killed-guard",
        file: "crates/lessor-cli/src/run/guarded.rs",
        find: "(self.group, has_exited)",
        replace: "(self.group, has_exited || self.until > 0)",
        test: cli(ENDING, "a_command_is_killed_if_its_guard_is_killed"),
    },
    Mutant {
        name: "cli-run-keeps-the-outcome-of-a-lost-lease",
        file: "crates/lessor-cli/src/run/attempt.rs",
        find: "_ if is_ending => Ended::Lost,",
        replace: "_ if is_ending && terms.ttl.is_zero() => Ended::Lost,",
        test: cli(ENDING, "a_command_that_hangs"),
    },
    Mutant {
        name: "cli-run-does-not-see-progress",
        file: "crates/lessor-cli/src/run/attempt.rs",
        find: "self.progress.as_mut().is_some_and(Watched::has_changed)",
        replace: "self.progress.as_mut().is_some_and(|file| !file.has_changed() && self.ttl.is_zero())",
        test: cli(ENDING, "a_command_that_hangs"),
    },
    Mutant {
        name: "time-left-ends-with-the-margin",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "let expires_at = self.deadline().saturating_add(Duration::from_micros(self.margin));",
        replace: "let expires_at = self.deadline();",
        test: Test {
            package: "lessor-core",
            target: &["--test", "holding"],
            filter: "a_holder_knows_the_time_that_is_left",
        },
    },
];
