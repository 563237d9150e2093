//! Faults of `once`: the storing of outcomes, the classes of failures, and reconciliation.

use crate::mutants::list::{Mutant, Test};

const DELIVER: &str = "crates/lessor-core/src/api/once/deliver.rs";
const FAILURES: &[&str] = &["--test", "once_failures"];
const RETRIES: &[&str] = &["--test", "once_retries"];
const DETACHED: &[&str] = &["--test", "once_detached"];
const LOST: &[&str] = &["--test", "once_lost_leases"];

const fn core(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-core", target, filter }
}

pub(crate) const ONCE: &[Mutant] = &[
    Mutant {
        name: "limits-lose-a-failure",
        file: DELIVER,
        find: "let failure = Failure::new(RESULT_REFUSED, Some(shorten(&error.to_string())));\n        match self.store(work, |lease| lease.fail_by(failure.clone())).await {",
        replace: "let detail = shorten(&error.to_string()).to_owned();\n        match self.store(work, |lease| lease.handle().fail_with(RESULT_REFUSED, &detail)).await {",
        test: core(&["--test", "once_outcomes"], "small_limits_lose_no_failure"),
    },
    Mutant {
        name: "second-panic-ends-the-process",
        file: DELIVER,
        find: "let dropped = guarded(&self.lease, || drop(value));",
        replace: "let dropped = value;",
        test: core(&["--test", "once_panics"], "a_panic_anywhere_in_the_callers_code"),
    },
    Mutant {
        name: "panic-before-the-future-is-not-stored",
        file: "crates/lessor-core/src/api/once/run.rs",
        find: "delivery.run_future(async move { work(&lease).await }).await",
        replace: "let work = work(&lease);\n                delivery.run_future(work).await",
        test: core(&["--test", "once_panics"], "a_panic_anywhere_in_async_work"),
    },
    Mutant {
        name: "once-waits-for-itself",
        file: "crates/lessor-core/src/api/within.rs",
        find: "if is_own.unwrap_or(false) {",
        replace: "if is_own.is_err() {",
        test: core(&["--test", "once_outcomes"], "once_from_within_its_own_work"),
    },
    Mutant {
        name: "once-is-never-late",
        file: DELIVER,
        find: "late: ack.is_late()",
        replace: "late: false",
        test: core(&["--test", "once_outcomes"], "once_reports_a_late_outcome"),
    },
    Mutant {
        name: "retryable-failure-is-final",
        file: DELIVER,
        find: "Some(wait) => failure.retry_after(wait),",
        replace: "Some(_) => failure,",
        test: core(FAILURES, "a_retryable_failure_is_replayed"),
    },
    Mutant {
        name: "unsure-work-is-only-abandoned",
        file: DELIVER,
        find: "match self.store(Err(error), Lease::leave_in_doubt).await {",
        replace: "match self.store(Err(error), Lease::abandon).await {",
        test: core(FAILURES, "work_that_is_unsure"),
    },
    Mutant {
        name: "reconcile-looks-without-a-crash",
        file: DELIVER,
        find: ".is_some_and(|previous| previous.ended() == GrantEnd::Lapsed)",
        replace: ".is_some()",
        test: core(FAILURES, "reconcile_decides_after_a_crash"),
    },
    Mutant {
        name: "unknown-effect-is-repeated",
        file: DELIVER,
        find: "Ok(Reconciled::NotDone) => return None,",
        replace: "Ok(Reconciled::NotDone | Reconciled::Unknown) => return None,",
        test: core(FAILURES, "reconcile_decides_after_a_crash"),
    },
    Mutant {
        name: "reconcile-is-skipped",
        file: DELIVER,
        find: "let look = self.hooks.reconcile.as_mut().filter(|_| lapsed)?;",
        replace: "let look = self.hooks.reconcile.as_mut().filter(|_| lapsed && self.waited)?;",
        test: core(FAILURES, "with_reconcile_the_effect_happens_once"),
    },
    Mutant {
        name: "engines-detail-is-taken-for-the-works-error",
        file: "crates/lessor-core/src/api/once/outcome.rs",
        find: "matches!(view.error_code(), Some(PANICKED | RESULT_REFUSED))",
        replace: "matches!(view.error_code(), Some(PANICKED))",
        test: core(FAILURES, "a_failure_without_an_error_of_the_expected_type"),
    },
    Mutant {
        name: "own-failure-is-not-retried",
        file: "crates/lessor-core/src/api/once/retrying.rs",
        find: "if now.saturating_add(*after) < deadline =>",
        replace: "if now.saturating_add(*after) < deadline && after.is_zero() =>",
        test: core(FAILURES, "retry_until_runs_the_work_again"),
    },
    Mutant {
        name: "backoff-past-the-deadline-is-waited-for",
        file: "crates/lessor-core/src/api/once/call.rs",
        find: "deadline.is_some_and(|deadline| *at < deadline)",
        replace: "deadline.is_none_or(|deadline| *at < deadline)",
        test: core(FAILURES, "a_retryable_failure_is_replayed"),
    },
    Mutant {
        name: "newer-result-is-read",
        file: "crates/lessor-core/src/api/once/versioned.rs",
        find: "Some(Envelope { version: found, .. }) if found > *version => Err(",
        replace: "Some(Envelope { version: found, .. }) if found > *version + 1 => Err(",
        test: core(&["--test", "once_codecs"], "a_result_that_cannot_be_upgraded"),
    },
    Mutant {
        name: "lease-is-renewed-without-progress",
        file: "crates/lessor-core/src/run/holders.rs",
        find: "if now.saturating_since(since) <= progress.stall_after {",
        replace: "if now.saturating_since(since) <= 9 * progress.stall_after {",
        test: core(&["--test", "progress"], "a_lease_without_progress"),
    },
    Mutant {
        name: "stalled-lease-is-never-renewed-again",
        file: "crates/lessor-core/src/run/holders.rs",
        find: "let since = grant.progressed_at().max(progress.granted_at);",
        replace: "let since = if progress.stalled { progress.granted_at } else { grant.progressed_at().max(progress.granted_at) };",
        test: core(&["--test", "progress"], "renewal_continues"),
    },
    Mutant {
        name: "panic-of-detached-work-is-swallowed",
        file: "crates/lessor-core/src/api/once/detached.rs",
        find: "Ok(Err(panic)) => resume_unwind(panic),",
        replace: "Ok(Err(_)) => (None, Err(OnceError::Lost(None))),",
        test: core(DETACHED, "a_panic_of_detached_work"),
    },
    Mutant {
        name: "work-begins-under-a-lapsed-lease",
        file: DELIVER,
        find: "        if self.lease.is_lost() {\n            return Some(Worked::Lost);",
        replace: "        if false {\n            return Some(Worked::Lost);",
        test: core(LOST, "work_does_not_begin_under_a_lease_that_has_lapsed"),
    },
    Mutant {
        name: "work-begins-although-its-lease-was-lost-during-the-look",
        file: DELIVER,
        find: "if looked.is_none() && self.lease.is_lost() { Some(Worked::Lost) } else { looked }",
        replace: "looked",
        test: core(LOST, "work_does_not_begin_under_a_lease_that_was_lost"),
    },
    Mutant {
        name: "detached-work-is-called-before-the-look",
        file: "crates/lessor-core/src/api/once/retrying.rs",
        find: "                        let attempt = async move {\n                            let future = (work.lock())(lease);\n",
        replace: "                        let future = (work.lock())(lease);\n                        let attempt = async move {\n",
        test: core(LOST, "detached_work_is_called_after"),
    },
    Mutant {
        name: "first-call-of-keep-alive-counts",
        file: "crates/lessor-core/src/run/holders.rs",
        find: "            entry.renewal = Some(renewal);",
        replace: "            entry.renewal = entry.renewal.or(Some(renewal));",
        test: core(&["--test", "progress"], "the_last_call_decides"),
    },
    Mutant {
        name: "backoff-counts-as-a-wait",
        file: "crates/lessor-core/src/api/once/call.rs",
        find: "                    wait_until = self.wait_until(deadline);",
        replace: "                    wait_until = wait_until.or(deadline);",
        test: core(RETRIES, "a_backoff_does_not_count"),
    },
    Mutant {
        name: "own-failure-is-retried-by-the-class",
        file: DELIVER,
        find: "is_replay: false, retry_after: by_policy }",
        replace: "is_replay: false, retry_after: retry_after.or(by_policy) }",
        test: core(RETRIES, "a_failure_that_the_work_stored_itself"),
    },
    Mutant {
        name: "value-of-a-dropped-task-is-lost",
        file: DELIVER,
        find: "        self.returned = Some(work);\n        let sent = send(&self.lease, || act(&self.lease)).await;\n        (self.returned.take(), sent)",
        replace: "        let sent = send(&self.lease, || act(&self.lease)).await;\n        (Some(work), sent)",
        test: core(LOST, "the_value_of_detached_work_is_not_lost"),
    },
    Mutant {
        name: "unused-lease-is-abandoned",
        file: DELIVER,
        find: "Self { lease: Arc::new(lease), work: Work::NotBegun }",
        replace: "Self { lease: Arc::new(lease), work: Work::MayHaveBegun }",
        test: core(DETACHED, "work_that_has_not_begun_does_not_put_its_key_in_doubt"),
    },
    Mutant {
        name: "begun-work-counts-as-not-begun",
        file: DELIVER,
        find: "        self.lease.begin();\n",
        replace: "",
        test: core(DETACHED, "a_task_that_its_executor_drops_after_its_first_poll_abandons_the_lease"),
    },
    Mutant {
        name: "unused-lease-hides-an-earlier-crash",
        file: "crates/lessor-core/src/rules.rs",
        find: "body if body.previous_end == Some(GrantEnd::Lapsed) =>",
        replace: "body if body.attempt == 0 =>",
        test: core(
            DETACHED,
            "work_that_has_not_begun_after_a_crash_leaves_the_decision_on_the_crash_to_the_next_caller",
        ),
    },
    Mutant {
        name: "dropped-acquire-is-abandoned",
        file: "crates/lessor-core/src/api/acquire/answer.rs",
        find: "let work = if self.chosen { Work::MayHaveBegun } else { Work::NotBegun };",
        replace: "let work = Work::MayHaveBegun;",
        test: core(
            &["--test", "cancellation"],
            "a_once_that_is_dropped_while_it_acquires_its_key_puts_it_in_no_doubt",
        ),
    },
    Mutant {
        name: "dropped-acquire-with-a-chosen-id-is-released",
        file: "crates/lessor-core/src/api/acquire/answer.rs",
        find: "let work = if self.chosen { Work::MayHaveBegun } else { Work::NotBegun };",
        replace: "let work = Work::NotBegun;",
        test: core(
            &["--test", "cancellation"],
            "a_dropped_acquire_whose_caller_chose_the_lease_id_is_abandoned",
        ),
    },
    Mutant {
        name: "dropped-lease-is-abandoned-twice",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "if self.is_open() && !self.dropped.load(Ordering::SeqCst) {",
        replace: "if self.is_open() && { self.dropped.store(false, Ordering::SeqCst); true } {",
        test: core(DETACHED, "a_lease_ends_with_its_call_although_the_work_has_kept_a_reference"),
    },
];
