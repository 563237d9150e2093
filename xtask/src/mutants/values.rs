//! Faults of outcomes and values: their time, their acknowledgement, and their storage.

use crate::mutants::list::{Mutant, Test};

const fn unit(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--lib"], filter }
}

const fn core(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-core", target, filter }
}

const fn memory(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-memory", target, filter }
}

pub(crate) const VALUES: &[Mutant] = &[
    Mutant {
        name: "waiter-for-a-change-sleeps-while-the-key-is-held",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "waiter.since < number && waiter.purpose == Purpose::Change",
        replace: "waiter.since < number && waiter.purpose == Purpose::Change && false",
        test: core(&["--test", "by_id"], "a_sleeping_waiter_for_a_change"),
    },
    Mutant {
        name: "waiter-for-a-change-misses-a-write-of-a-live-lease",
        file: "crates/lessor-core/src/run/wait.rs",
        find: "(!held || entry.is_observed())",
        replace: "!held",
        test: core(&["--test", "by_id"], "a_sleeping_waiter_for_a_change"),
    },
    Mutant {
        name: "later-clock-is-forgotten",
        file: "crates/lessor-core/src/store/cas.rs",
        find: "self.now = self.now.max(current.now);",
        replace: "",
        test: core(&["--test", "news"], "a_lease_that_ends_at_a_later_clock_reading"),
    },
    Mutant {
        name: "detached-lease-is-abandoned",
        file: "crates/lessor-core/src/api/lease.rs",
        find: "        if !self.is_detached {",
        replace: "        if true {",
        test: core(&["--test", "by_id"], "a_detached_lease_is_not_abandoned"),
    },
    Mutant {
        name: "token-equal-to-a-purged-one-is-accepted",
        file: "crates/lessor-core/src/data/write.rs",
        find: "self.next.token() > purged",
        replace: "self.next.token() >= purged",
        test: unit("p2_a_token_equal_to_a_purged_one"),
    },
    Mutant {
        name: "operation-grants-without-a-lease-id",
        file: "crates/lessor-core/src/store/operation/lend.rs",
        find: "            is_prepared: self.has_id,",
        replace: "            is_prepared: true,",
        test: unit("p1_nothing_is_granted_without_a_lease_id"),
    },
    Mutant {
        name: "forked-child-has-the-parents-mask",
        file: "crates/lessor-core/src/run/random.rs",
        find: "(u128::from_ne_bytes(bytes) ^ self.mask)",
        replace: "(u128::from_ne_bytes(bytes) ^ (self.mask & 0))",
        test: unit("ids_do_not_repeat_in_the_engine_of_a_forked_child"),
    },
    Mutant {
        name: "stream-of-another-process-is-used",
        file: "crates/lessor-core/src/run/random.rs",
        find: "self.process != std::process::id()",
        replace: "self.process == 0",
        test: unit("a_stream_of_another_process"),
    },
    Mutant {
        name: "guessed-swap-wakes-no-waiter",
        file: "crates/lessor-core/src/store/operation.rs",
        find: "        self.report(answer, next);\n        (self.sink)(Report::Written(next, now));",
        replace: "        let _ = now;\n        self.report(answer, next);",
        test: core(&["--test", "news"], "a_guessed_write"),
    },
    Mutant {
        name: "operation-in-one-step-notifies-no-other-engine",
        file: "crates/lessor-memory/src/store.rs",
        find: "if applied.is_write() && self.engines.are_several() {",
        replace: "if applied.is_write() && operation.key().is_empty() {",
        test: core(&["--test", "news"], "an_operation_in_one_step_wakes_waiters_in_another_engine"),
    },
    Mutant {
        name: "outcome-is-sent-only-once",
        file: "crates/lessor-core/src/api/once/deliver.rs",
        find: "for _ in 1..ATTEMPTS {",
        replace: "for _ in ATTEMPTS..ATTEMPTS {",
        test: core(&["--test", "once_outcomes"], "an_outcome_is_retried"),
    },
    Mutant {
        name: "default-holder-is-not-used",
        file: "crates/lessor-core/src/store/operation.rs",
        find: "acquire.options_mut().holder = Some(holder.into());",
        replace: "",
        test: core(&["--test", "once_outcomes"], "the_default_holder"),
    },
    Mutant {
        name: "sha256-given-as-a-hash-is-not-recognised",
        file: "crates/lessor-core/src/rules.rs",
        find: "(Some(known), None) => known == result_hash(result.bytes(), None),",
        replace: "(Some(_), None) => false,",
        test: unit("p6_the_same_result"),
    },
    Mutant {
        name: "page-of-zero-keys-is-allowed",
        file: "crates/lessor-core/src/api/list.rs",
        find: "(1..=MAX_PAGE).contains",
        replace: "(0..=MAX_PAGE).contains",
        test: core(&["--test", "once_outcomes"], "a_listing_with_a_limit_of_zero"),
    },
    Mutant {
        name: "found-write-is-not-a-duplicate",
        file: "crates/lessor-core/src/rules.rs",
        find: "Answer::Done(_) => ack(record.body(), true),",
        replace: "Answer::Done(_) => ack(record.body(), false),",
        test: memory(&["--test", "late_writes"], "p10_two_equal_writes"),
    },
    Mutant {
        name: "one-retry-of-an-indeterminate-write-fewer",
        file: "crates/lessor-core/src/store/cas.rs",
        find: "const MAX_INDETERMINATE: u32 = 3;",
        replace: "const MAX_INDETERMINATE: u32 = 2;",
        test: memory(&["--test", "lost_replies"], "p6_three_indeterminate_writes"),
    },
    Mutant {
        name: "plain-write-does-not-stamp",
        file: "crates/lessor-core/src/store/operation.rs",
        find: "match change.stamped(now) {",
        replace: "match change.stamped(now).filter(|_| false) {",
        test: memory(&["--test", "late_writes"], "an_outcome_has_the_time"),
    },
    Mutant {
        name: "file-does-not-stamp",
        file: "crates/lessor-file/src/store/attempt.rs",
        find: "stamped = change.stamped(now);",
        replace: "let _ = &mut stamped;",
        test: Test {
            package: "lessor-file",
            target: &["--test", "late_writes"],
            filter: "an_outcome_has_the_time",
        },
    },
    Mutant {
        name: "lateness-is-that-of-the-decision",
        file: "crates/lessor-core/src/rules.rs",
        find: "if kept.body().is_live(self.now) { self.write_while_live(kept, edit) } else { self.write(kept, edit) }",
        replace: "{ self.write(kept, edit) }",
        test: memory(&["--test", "late_writes"], "an_outcome_has_the_time"),
    },
    Mutant {
        name: "time-of-a-view-is-read-too-late",
        file: "crates/lessor-memory/src/store.rs",
        find: "(found.map(|(_, record)| record.clone()), self.clock.now())",
        replace: "let found = found.map(|(_, record)| record.clone());\n        drop(table);\n        (found, self.clock.now())",
        test: memory(&["--test", "late_writes"], "a_view_combines"),
    },
    Mutant {
        name: "slow-store-never-accepts-an-outcome",
        file: "crates/lessor-core/src/store/cas.rs",
        find: "(1 << rounds.min(MAX_DOUBLINGS))",
        replace: "(1 << (rounds & 0))",
        test: memory(&["--test", "late_writes"], "an_outcome_is_stored_in_a_slow_store"),
    },
    Mutant {
        name: "nan-is-written-as-null",
        file: "crates/lessor-core/src/data/value/strict.rs",
        find: "if value.is_finite() { self.inner.serialize_f64(value) }",
        replace: "if !value.is_nan() || value.is_nan() { self.inner.serialize_f64(value) }",
        test: core(&["--test", "once_outcomes"], "a_value_that_would_not_read_back"),
    },
    Mutant {
        name: "thread-being-torn-down-cannot-wait",
        file: "crates/lessor-core/src/sync/pending.rs",
        find: "WAITING.try_with(|waiting| waiting.replace(Some(waker.clone()))).ok().flatten()",
        replace: "WAITING.with(|waiting| waiting.replace(Some(waker.clone())))",
        test: core(&["--test", "once_outcomes"], "once_runs_in_the_destructor"),
    },
];
