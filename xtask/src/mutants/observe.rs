//! Faults of what an engine counts and reports.

use crate::mutants::list::{Mutant, Test};

const fn observing(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--test", "observing"], filter }
}

const fn surveying(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--test", "surveying"], filter }
}

const fn explaining(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--test", "explaining"], filter }
}

/// Its package needs the feature `metrics`.
const METRICS: Test = Test {
    package: "lessor",
    target: &["--features", "metrics", "--test", "metrics"],
    filter: "the_age_of_a_key_in_doubt_is_reported_until_the_key_is_resolved",
};

pub(crate) const OBSERVE: &[Mutant] = &[
    Mutant {
        name: "purge-of-a-caller-is-not-counted",
        file: "crates/lessor-core/src/api/operate.rs",
        find: "purge_slice(&shared, limit - dropped).await?",
        replace: "shared.store.purge(limit - dropped).await?",
        test: observing("records_that_a_caller_purges_are_counted"),
    },
    Mutant {
        name: "removal-of-nothing-is-counted",
        file: "crates/lessor-core/src/api/operate.rs",
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
    Mutant {
        name: "survey-reads-one-page",
        file: "crates/lessor-core/src/run/survey.rs",
        find: "        if after.is_none() {",
        replace: "        if after.is_none() || survey.lapsed.keys > 0 {",
        test: surveying("a_survey_reads_all_pages_of_the_store"),
    },
    Mutant {
        name: "survey-returns-the-youngest-key",
        file: "crates/lessor-core/src/run/observer/survey.rs",
        find: "self.oldest.max(Some(now.saturating_since(record.expires_at())))",
        replace: "Some(now.saturating_since(record.expires_at()))",
        test: surveying("a_survey_returns_the_number_and_the_age_of_keys_without_an_outcome"),
    },
    Mutant {
        name: "survey-adds-up-from-one-interval-to-the-next",
        file: "crates/lessor-core/src/run/survey.rs",
        find: "        survey = Survey::default();\n",
        replace: "",
        test: METRICS,
    },
    Mutant {
        name: "listing-by-state-returns-records-of-all-states",
        file: "crates/lessor-memory/src/store.rs",
        find: "if query.needs(record, now) {",
        replace: "if query.needs(record, now) || record.version().as_u64() > 0 {",
        test: explaining(
            "a_store_that_knows_the_state_of_its_records_returns_only_those_of_a_listing_by_state",
        ),
    },
    Mutant {
        name: "listing-by-state-leaves-out-an-abandoned-key",
        file: "crates/lessor-core/src/data/view.rs",
        find: "Stage::InProgress if now < self.expires_at => State::InProgress",
        replace: "Stage::InProgress if now <= self.keep_until => State::InProgress",
        test: explaining(
            "a_store_that_knows_the_state_of_its_records_returns_only_those_of_a_listing_by_state",
        ),
    },
    Mutant {
        name: "waited-keys-are-counted-once-per-caller",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "self.watched.count()",
        replace: "self.entries.lock().values().map(|entry| entry.state.lock().waiters.len()).sum()",
        test: observing("callers_that_wait_are_counted_while_they_wait"),
    },
    Mutant {
        name: "each-renewal-begins-its-count-anew",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "next.inline.trace_mut().renew(next.attempt, left, self.now);",
        replace: "next.inline.trace_mut().renew(next.attempt + 1, left, self.now);",
        test: explaining("a_record_stays_small_however_often_its_lease_is_renewed"),
    },
];
