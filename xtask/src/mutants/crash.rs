//! Faults of the crash kit. A kit that overlooks a mistake is worse than none.

use crate::mutants::list::{Mutant, Test};

const fn kit(filter: &'static str) -> Test {
    Test { package: "lessor-testkit", target: &["--test", "crash_kit"], filter }
}

pub(crate) const CRASH: &[Mutant] = &[
    Mutant {
        name: "crash-kit-lets-a-killed-process-go-on",
        file: "crates/lessor-testkit/src/crash/process.rs",
        find: "self.is_dead.store(true, Ordering::SeqCst);",
        replace: "",
        test: kit("a_destructor_of_a_killed_process"),
    },
    Mutant {
        name: "crash-kit-loses-the-effect-with-its-reply",
        file: "crates/lessor-testkit/src/crash/sim.rs",
        find: "let _lost = call();",
        replace: "",
        test: kit("a_release_after_a_lost_reply"),
    },
    Mutant {
        name: "crash-kit-suspends-without-a-lapse",
        file: "crates/lessor-testkit/src/crash/scenario.rs",
        find: "self.world.outlast_leases();\n                self.held.push",
        replace: "self.held.push",
        test: kit("an_effect_of_a_suspended_worker"),
    },
    Mutant {
        name: "crash-kit-suspends-only-until-the-end",
        file: "crates/lessor-testkit/src/crash/scenario.rs",
        find: "self.held.pop_if(|held| held.after == active.taken)",
        replace: "self.held.pop_if(|held| held.after == active.taken && held.after == u64::MAX)",
        test: kit("an_effect_between_the_question"),
    },
    Mutant {
        name: "crash-kit-always-waits-for-the-lapse",
        file: "crates/lessor-testkit/src/crash/scenario.rs",
        find: "self.is_in_a_hurry = at_once;",
        replace: "self.is_in_a_hurry = at_once && number == 0;",
        test: kit("an_answer_in_progress"),
    },
    Mutant {
        name: "crash-kit-overlooks-lost-effects",
        file: "crates/lessor-testkit/src/crash/judge.rs",
        find: "seen.0.get(effect).is_none_or(|seen| seen < count)",
        replace: "seen.0.get(effect).is_some_and(|seen| seen < count)",
        test: kit("an_outcome_that_is_stored"),
    },
    Mutant {
        name: "crash-kit-does-not-call-again-after-the-last-step",
        file: "crates/lessor-testkit/src/crash/campaign.rs",
        find: "crashes.chain(at_end)",
        replace: "crashes.chain(at_end.into_iter().skip(1))",
        test: kit("a_function_without_a_guard"),
    },
];
