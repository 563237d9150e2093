//! Faults of what records say beside their state: marks of doubt, waits before a retry, and
//! outcomes by force.

use crate::mutants::list::{Mutant, Test};

const fn unit(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--lib"], filter }
}

const fn core(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-core", target, filter }
}

const TABLE: Test = unit("rules::tests::table::the_rules_agree_with_the_contracts_table");

pub(crate) const RECORDS: &[Mutant] = &[
    Mutant {
        name: "mark-of-doubt-is-ignored-by-a-takeover",
        file: "crates/lessor-core/src/rules.rs",
        find: "OnLapsed::TakeOver if body.is_in_doubt() =>",
        replace: "OnLapsed::TakeOver if body.attempt == 0 =>",
        test: TABLE,
    },
    Mutant {
        name: "mark-of-doubt-is-written-twice",
        file: "crates/lessor-core/src/rules.rs",
        find: "            body if body.is_in_doubt() => self.unchanged(body),\n            body if",
        replace: "            body if",
        test: TABLE,
    },
    Mutant {
        name: "mark-of-doubt-outlives-an-outcome",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "        if next.is_in_doubt() {",
        replace: "        if next.attempt == 0 {",
        test: TABLE,
    },
    Mutant {
        name: "mark-of-doubt-outlives-a-grant",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "                attributes.in_doubt = false;\n                attributes.of_grant",
        replace: "                attributes.of_grant",
        test: TABLE,
    },
    Mutant {
        name: "mark-of-doubt-is-lost-by-the-encoding",
        file: "crates/lessor-core/src/data/codec.rs",
        find: "        (attributes.in_doubt, IN_DOUBT),\n",
        replace: "",
        test: unit("codec::tests::golden_records"),
    },
    Mutant {
        name: "lease-left-in-doubt-ends-at-the-estimated-time",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "HolderCommand::Abandon | HolderCommand::Doubt) => Guess::None",
        replace: "HolderCommand::Abandon) => Guess::None",
        test: core(&["--test", "estimated_clock"], "a_lease_left_in_doubt_ends_by_the_exact_clock"),
    },
    Mutant {
        name: "wait-before-a-retry-is-ignored",
        file: "crates/lessor-core/src/rules.rs",
        find: "[policy, body.retry_at()]",
        replace: "[policy, None]",
        test: TABLE,
    },
    Mutant {
        name: "later-of-two-waits-before-a-retry-counts",
        file: "crates/lessor-core/src/rules.rs",
        find: "body.retry_at()].into_iter().flatten().min()",
        replace: "body.retry_at()].into_iter().flatten().max()",
        test: TABLE,
    },
    Mutant {
        name: "wait-before-a-retry-is-written-behind-unknown-fields",
        file: "crates/lessor-core/src/data/codec/skippable.rs",
        find: "split_at_checked(end_of_lower_tags(others))",
        replace: "split_at_checked(others.len().max(end_of_lower_tags(others)))",
        test: unit("codec::tests::the_wait_before_a_retry_is_a_skippable_field"),
    },
    Mutant {
        name: "resolution-is-always-forced",
        file: "crates/lessor-core/src/rules.rs",
        find: "Stage::InProgress if force =>",
        replace: "Stage::InProgress if force || kept.attempt() > 0 =>",
        test: TABLE,
    },
    Mutant {
        name: "overruled-holder-keeps-its-lease-id",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "                next.lease_id = NOBODY;\n                self.resolve(",
        replace: "                self.resolve(",
        test: TABLE,
    },
    Mutant {
        name: "newest-entries-of-a-history-drop-out",
        file: "crates/lessor-core/src/rules/history.rs",
        find: "earlier.get(earlier.len() - kept..)",
        replace: "earlier.get(..kept)",
        test: unit("rules::tests::history::a_history_has_at_most_its_number"),
    },
    Mutant {
        name: "history-grows-beyond-its-number",
        file: "crates/lessor-core/src/rules/history.rs",
        find: "most.saturating_sub(OF_LAST + OF_FORMER)",
        replace: "most.saturating_sub(OF_LAST - OF_FORMER)",
        test: unit("rules::tests::history::a_history_has_at_most_its_number"),
    },
    Mutant {
        name: "history-does-not-name-the-operator",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "        self.end(next, by);",
        replace: "        let _ = by;",
        test: unit("rules::tests::history::an_entry_says_by_whom"),
    },
    Mutant {
        name: "result-replaces-the-history",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "        let trace = next.inline.trace().copied();",
        replace: "        let trace = next.inline.trace().copied().filter(|_| false);",
        test: unit("rules::tests::history::renewals_abandonment_and_a_takeover"),
    },
    Mutant {
        name: "last-time-left-is-shown-as-the-smallest",
        file: "crates/lessor-core/src/data/trace.rs",
        find: "if count == 0 || left < self.u64(LEAST_LEFT) {",
        replace: "if count == 0 || left != self.u64(LEAST_LEFT) {",
        test: Test {
            package: "lessor-memory",
            target: &["--test", "model"],
            filter: "answers_equal_the_models",
        },
    },
    Mutant {
        name: "renewals-of-another-grant-are-shown",
        file: "crates/lessor-core/src/data/view/content.rs",
        find: "self.last_grant(trace.filter(|trace| trace.attempt() == self.attempt))",
        replace: "self.last_grant(trace)",
        test: unit("rules::tests::history::a_history_stays_readable"),
    },
    Mutant {
        name: "holder-forgets-the-history-before-its-grant",
        file: "crates/lessor-core/src/data/granted.rs",
        find: "if let Some(trace) = Trace::of_former_part(self.former) {",
        replace: "if let Some(trace) = Trace::of_former_part(self.former).filter(|_| false) {",
        test: Test {
            package: "lessor",
            target: &["--test", "guide"],
            filter: "growing::the_history_of_earlier_grants",
        },
    },
    Mutant {
        name: "page-of-a-listing-by-state-reads-everything",
        file: "crates/lessor-core/src/api/list.rs",
        find: "if is_last || read >= MAX_READ {",
        replace: "if is_last {",
        test: core(&["--test", "explaining"], "a_page_of_a_listing_by_state"),
    },
    Mutant {
        name: "full-page-of-a-listing-by-state-skips-keys",
        file: "crates/lessor-core/src/api/list.rs",
        find: "let next = entries.last().map(|(key, _)| key.clone());",
        replace: "let next = page.next;",
        test: Test {
            package: "lessor-memory",
            target: &["--test", "conformance"],
            filter: "on_a_manual_clock::scanning::a_listing_by_state",
        },
    },
    Mutant {
        name: "explanation-does-not-name-doubt",
        file: "crates/lessor-core/src/api/explain.rs",
        find: "State::Lapsed if view.is_in_doubt() => WaitsFor::Decision,",
        replace: "State::Lapsed if view.attempt() == 0 => WaitsFor::Decision,",
        test: core(&["--test", "explaining"], "an_explanation_tells_the_state"),
    },
];
