//! Faults of what an engine counts and reports.

use crate::mutants::list::{Mutant, Test};

const fn observing(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--test", "observing"], filter }
}

pub(crate) const OBSERVE: &[Mutant] = &[
    Mutant {
        name: "purge-of-a-caller-is-not-counted",
        file: "crates/lessor-core/src/api/engine.rs",
        find: "purge_slice(&shared, limit - dropped).await?",
        replace: "shared.store.purge(limit - dropped).await?",
        test: observing("records_that_a_caller_purges_are_counted"),
    },
    Mutant {
        name: "removal-of-nothing-is-counted",
        file: "crates/lessor-core/src/api/engine.rs",
        find: "                        if was {",
        replace: "                        if was || !force {",
        test: observing("decisions_of_operators_are_counted_and_reported"),
    },
    Mutant {
        name: "forced-decision-is-counted-as-a-plain-one",
        file: "crates/lessor-core/src/api/resolve.rs",
        find: "action, forced: force }",
        replace: "action, forced: force && of.len() > 256 }",
        test: observing("decisions_of_operators_are_counted_and_reported"),
    },
];
