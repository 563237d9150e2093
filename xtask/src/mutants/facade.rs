//! Faults of opening a store by its URL, of the classification and the messages of errors, and of the
//! examples.

use crate::mutants::list::{Mutant, Test};

pub(crate) const FACADE: &[Mutant] = &[
    Mutant {
        name: "url-takes-the-last-of-two-settings",
        file: "crates/lessor/src/url.rs",
        find: "if sync.replace(value).is_some() {",
        replace: "if sync.replace(value).is_some() && query.is_empty() {",
        test: Test {
            package: "lessor",
            target: &["--test", "file_urls"],
            filter: "p12_contradictory_and_empty_settings",
        },
    },
    Mutant {
        name: "misconfigured-store-is-retried",
        file: "crates/lessor-core/src/data/store_error.rs",
        find: "Self::Misconfigured(_) => ErrorKind::Misconfigured,",
        replace: "Self::Misconfigured(_) => ErrorKind::Unavailable,",
        test: Test { package: "lessor-core", target: &["--lib"], filter: "store_errors_have_the_kind" },
    },
    Mutant {
        name: "value-of-another-type-is-a-syntax-error",
        file: "crates/lessor-core/src/data/error.rs",
        find: "\"the stored value has another type; read it as the type that was written, or use another key\"",
        replace: "\"syntax error\"",
        test: message("a_result_that_is_read_as_another_type"),
    },
    Mutant {
        name: "message-repeats-its-source",
        file: "crates/lessor-core/src/data/cause.rs",
        find: "        f.write_str(self.reason())?;\n        let mut source = self.source().filter(|_| f.alternate());",
        replace: "        f.write_str(self.reason())?;\n        let mut source = self.source();",
        test: message("a_checkpoint_that_is_read_as_another_type"),
    },
    Mutant {
        name: "charge-stops-when-the-client-hangs-up",
        file: "crates/lessor/examples/axum_payments/server.rs",
        find: ".run_detached(\n            |task| drop(tokio::spawn(task)),\n",
        replace: ".run_future(\n",
        test: EXAMPLES,
    },
    Mutant {
        name: "charge-is-repeated-after-a-kill",
        file: "crates/lessor/examples/axum_payments/server.rs",
        find: "Ok(Some(receipt)) => Reconciled::Done(receipt),",
        replace: "Ok(Some(_receipt)) => Reconciled::NotDone,",
        test: EXAMPLES,
    },
    Mutant {
        name: "agent-works-on-without-its-lease",
        file: "crates/lessor/examples/agent.rs",
        find: "if lease.is_lost() {",
        replace: "if lease.is_lost() && step == 0 {",
        test: EXAMPLES,
    },
];

/// A test of the messages of errors.
const fn message(filter: &'static str) -> Test {
    Test { package: "lessor", target: &["--test", "error_messages"], filter }
}

/// The test that runs every example.
const EXAMPLES: Test =
    Test { package: "lessor", target: &["--test", "examples"], filter: "every_example_succeeds" };
