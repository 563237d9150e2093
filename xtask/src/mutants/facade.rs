//! Faults of opening a store by its URL, and of the classification of errors.

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
];
