//! The faults. A new fault is named after its effect. It has the text to replace, copied from the
//! source, and the test that must fail.

use std::fmt;

/// A fault to plant.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// The path from the root of the workspace.
    pub(crate) file: &'static str,
    /// The text to replace, which must occur exactly once.
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
    pub(crate) test: Test,
}

/// A test that must fail.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    pub(crate) package: &'static str,
    /// `--lib`, or `--test` and its name.
    pub(crate) target: &'static [&'static str],
    /// Part of the test's path.
    pub(crate) filter: &'static str,
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.package, self.target.join(" "), self.filter)
    }
}

/// A unit test of the core.
const fn core(filter: &'static str) -> Test {
    Test { package: "lessor-core", target: &["--lib"], filter }
}

/// A test of one of the core's test files.
const fn core_in(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-core", target, filter }
}

/// A test of one of the in-memory store's test files.
const fn memory(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-memory", target, filter }
}

/// The package whose tests run under the model checker.
pub(crate) const MODELS: &str = "lessor-models";

/// A test of the synchronisation under the model checker.
const fn model(filter: &'static str) -> Test {
    Test { package: MODELS, target: &["--lib"], filter }
}

/// The test of the contract's table.
const TABLE: Test = core("rules::tests::table::the_rules_agree_with_the_contracts_table");

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "key-of-257-characters-is-accepted",
        file: "crates/lessor-core/src/data/key_text.rs",
        find: "if chars > MAX_KEY_CHARS {",
        replace: "if chars > MAX_KEY_CHARS + 1 {",
        test: core("key_text::tests::p12_only_1_to_256_characters_without_controls_are_a_key"),
    },
    Mutant {
        name: "delete-character-is-accepted-in-a-key",
        file: "crates/lessor-core/src/data/key_text.rs",
        find: "low.wrapping_add(all(1))",
        replace: "low.wrapping_add(all(0))",
        test: core("key_text::tests::p12_only_1_to_256_characters_without_controls_are_a_key"),
    },
    Mutant {
        name: "ttl-over-the-maximum-is-accepted",
        file: "crates/lessor-core/src/rules/settings.rs",
        find: "check_duration(\"ttl\", ttl, self.max_ttl)",
        replace: "check_duration(\"ttl\", ttl, MAX_DURATION)",
        test: core("settings::tests::p12_ttls_and_settings_out_of_range_are_refused"),
    },
    Mutant {
        name: "backoff-does-not-double",
        file: "crates/lessor-core/src/rules/policies.rs",
        find: "self.first.saturating_mul(factor).min(self.most)",
        replace: "self.first.saturating_mul(factor.min(1)).min(self.most)",
        test: core("settings::tests::backoff_doubles_up_to_its_maximum_and_never_overflows"),
    },
    Mutant {
        name: "clock-forgets-its-floor",
        file: "crates/lessor-core/src/data/time.rs",
        find: "whole_micros(wall).max(floor.0)",
        replace: "whole_micros(wall)",
        test: core("time::tests::p7_the_system_clock_never_runs_backwards_and_starts_at_its_floor"),
    },
    Mutant {
        name: "part-of-a-microsecond-rounds-to-zero",
        file: "crates/lessor-core/src/data/time.rs",
        find: "duration.subsec_nanos().div_ceil(1000)",
        replace: "duration.subsec_nanos() / 1000",
        test: core("time::tests::p12_arithmetic_on_timestamps_saturates_and_rounds_up"),
    },
    Mutant {
        name: "debug-shows-the-lease-id",
        file: "crates/lessor-core/src/data/lease_id.rs",
        find: "f.write_str(\"LeaseId(redacted)\")",
        replace: "f.write_str(&self.reveal())",
        test: core("lease_id::tests::p11_debug_hides_the_lease_id_and_the_text_form_round_trips"),
    },
    Mutant {
        name: "sign-is-accepted-in-a-lease-id",
        file: "crates/lessor-core/src/data/lease_id.rs",
        find: " || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())",
        replace: "",
        test: core("lease_id::tests::p12_malformed_ids_are_refused"),
    },
    Mutant {
        name: "lease-ids-start-over-with-each-seed",
        file: "crates/lessor-core/src/run/random.rs",
        find: "ChaCha12Rng::from_seed(os_random()?)",
        replace: "ChaCha12Rng::from_seed([7; 32])",
        test: core("random::tests::ids_do_not_repeat_within_and_across_sources"),
    },
    Mutant {
        name: "extend-revives-a-lapsed-lease",
        file: "crates/lessor-core/src/rules.rs",
        find: "HolderCommand::Extend { .. } | HolderCommand::Checkpoint(_) if !live",
        replace: "HolderCommand::Checkpoint(_) if !live",
        test: TABLE,
    },
    Mutant {
        name: "superseded-holder-acts",
        file: "crates/lessor-core/src/rules.rs",
        find: "        if !kept.is_held_by(lease_id) {\n            return Transition::Refuse(Error::NotHolder",
        replace: "        if kept.attempt() == 0 {\n            return Transition::Refuse(Error::NotHolder",
        test: TABLE,
    },
    Mutant {
        name: "lease-is-live-at-its-expiry",
        file: "crates/lessor-core/src/rules.rs",
        find: "now < self.expires_at",
        replace: "now <= self.expires_at",
        test: TABLE,
    },
    Mutant {
        name: "extend-shortens",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "next.expires_at.max(*until)",
        replace: "*until",
        test: core("rules::tests::promises::extending_never_shortens_and_never_revives"),
    },
    Mutant {
        name: "extension-is-written-after-the-lapse",
        file: "crates/lessor-core/src/rules.rs",
        find: "not_after: Some(kept.body().expires_at)",
        replace: "not_after: None",
        test: core("rules::tests::promises::an_extension_must_be_written_while_the_lease_is_live"),
    },
    Mutant {
        name: "token-repeats-within-a-microsecond",
        file: "crates/lessor-core/src/data/token.rs",
        find: "now.as_micros().max(previous.map_or(0, |token| token.0) + 1)",
        replace: "now.as_micros().max(previous.map_or(0, |token| token.0))",
        test: core("rules::tests::promises::p2_tokens_rise_while_the_clock_stands_still"),
    },
    Mutant {
        name: "purge-drops-a-token-that-is-ahead-of-the-clock",
        file: "crates/lessor-core/src/data/record.rs",
        find: "keep_until.max(past_token)",
        replace: "keep_until.max(past_token.min(keep_until))",
        test: core("rules::tests::promises::p2_tokens_rise_after_a_purge"),
    },
    Mutant {
        name: "writer-looks-for-waiters-before-its-write-is-seen",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "        fence(Ordering::SeqCst);\n        if self",
        replace: "        if self",
        test: model("no_wake_up_is_lost_between_the_first_reading_and_a_write"),
    },
    Mutant {
        name: "waiter-reads-before-it-is-registered",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "        fence(Ordering::SeqCst);\n        (watched, ticket)",
        replace: "        (watched, ticket)",
        test: model("no_wake_up_is_lost_between_the_first_reading_and_a_write"),
    },
    Mutant {
        name: "waiter-accepts-an-earlier-reading",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: ".filter(|latest| latest.number > since)",
        replace: ".filter(|latest| latest.number >= since)",
        test: model("no_waiter_accepts_a_reading_that_began_before_it_registered"),
    },
    Mutant {
        name: "request-during-a-reading-is-forgotten",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "            self.again = true;\n",
        replace: "",
        test: model("no_waiter_accepts_a_reading_that_began_before_it_registered"),
    },
    Mutant {
        name: "two-contenders-may-try-at-once",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "offer.to != ticket && offer.until > now",
        replace: "offer.to != ticket && offer.until < now",
        test: model("contenders_try_one_at_a_time_and_each_gets_a_try"),
    },
    Mutant {
        name: "waiter-that-leaves-keeps-the-offer",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "effects.read = had_offer && state.request_reading();",
        replace: "let _ = had_offer;",
        test: model("an_offer_passes_on_when_its_contender_leaves"),
    },
    Mutant {
        name: "offer-never-expires",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "Some(offer) if offer.until > now => {",
        replace: "Some(offer) if offer.until > now || offer.until > 0 => {",
        test: core_in(&["--test", "fresh_answers"], "a_waiter_that_is_not_polled_does_not_block_a_free_key"),
    },
    Mutant {
        name: "wake-up-is-forgotten",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "if self.may_have(key) { self.find(key) } else { None }",
        replace: "if self.may_have(key) && self.watched() > usize::MAX / 2 { self.find(key) } else { None }",
        test: core_in(&["--test", "waiting"], "a_waiter_is_woken_by_work_that_ends_after_its_first_reading"),
    },
    Mutant {
        name: "waiter-gets-the-outcome-of-another-request",
        file: "crates/lessor-core/src/api/acquire.rs",
        find: "            Some(Ok(Acquisition::InProgress(_))) => NextStep::Wait,",
        replace: "            Some(Err(_)) => {\n                let view = crate::data::view::View::of_snapshot(snapshot);\n                view.map_or(NextStep::Try, |view| NextStep::Answer(Ok(Acquisition::Completed(view))))\n            }\n            Some(Ok(Acquisition::InProgress(_))) => NextStep::Wait,",
        test: core_in(
            &["--test", "fresh_answers"],
            "rule_8_a_waiter_does_not_get_the_outcome_of_another_request",
        ),
    },
    Mutant {
        name: "failed-readings-add-up",
        file: "crates/lessor-core/src/run/wait/registry.rs",
        find: "if result.is_ok() { 0 } else",
        replace: "if result.is_ok() { state.failures } else",
        test: core_in(
            &["--test", "fresh_answers"],
            "failed_readings_end_a_wait_only_when_three_come_in_a_row",
        ),
    },
    Mutant {
        name: "holder-is-not-notified-of-what-this-engine-writes",
        file: "crates/lessor-core/src/run/watches.rs",
        find: "        self.holders.observe(key, Some(record), now);\n",
        replace: "",
        test: core_in(
            &["--test", "holding"],
            "rule_15_lost_fires_immediately_when_an_operator_forgets_the_key",
        ),
    },
    Mutant {
        name: "holder-is-not-notified-of-a-hint",
        file: "crates/lessor-core/src/run/watches.rs",
        find: "        self.holders.hint(key);\n",
        replace: "",
        test: core_in(&["--test", "holding"], "rule_15_lost_fires_after_a_hint_of_the_store"),
    },
    Mutant {
        name: "engines-threads-never-end",
        file: "crates/lessor-core/src/run/worker.rs",
        find: "        self.core.stopping.store(true, Ordering::SeqCst);\n",
        replace: "",
        test: core_in(
            &["--test", "holding"],
            "an_engines_threads_end_with_its_last_handle_and_release_the_store",
        ),
    },
    Mutant {
        name: "tasks-delay-the-timers",
        file: "crates/lessor-core/src/run/worker.rs",
        find: "                ran += 1;\n",
        replace: "                ran *= 1;\n",
        test: core("p7_a_timer_fires_although_there_is_always_a_task_to_run"),
    },
    Mutant {
        name: "held-key-is-never-checked",
        file: "crates/lessor-core/src/run/holders.rs",
        find: "self.insert(grant, granted_at.saturating_add(settings.schedule.poll_every), Some(renewal));",
        replace: "self.insert(grant, Timestamp::MAX, Some(renewal));",
        test: core_in(&["--test", "holding"], "rule_15_a_held_key_is_checked_every_poll_every"),
    },
    Mutant {
        name: "held-key-is-checked-only-once",
        file: "crates/lessor-core/src/run/tasks.rs",
        find: "holders.finish_step(&*grant, before.saturating_add(shared.schedule.poll_every), None);",
        replace: "let _ = before;\n    holders.finish_step(&*grant, Timestamp::MAX, None);",
        test: core_in(&["--test", "holding"], "rule_15_a_held_key_is_checked_every_poll_every"),
    },
    Mutant {
        name: "purge-does-one-slice",
        file: "crates/lessor-core/src/run/tasks.rs",
        find: "Ok(purged) if !purged.more => break,",
        replace: "Ok(purged) if !purged.more || purged.dropped > 0 => break,",
        test: core_in(&["--test", "holding"], "a_purge_continues_in_bounded_steps_until_nothing_is_due"),
    },
    Mutant {
        name: "key-is-unwatched-with-its-first-watcher",
        file: "crates/lessor-core/src/sync/presence.rs",
        find: "            slot.fetch_sub(1, Ordering::Relaxed);",
        replace: "            slot.store(0, Ordering::Relaxed);",
        test: core("presence::tests::a_key_is_reported_until_its_last_watcher_is_removed"),
    },
    Mutant {
        name: "every-key-counts-as-watched",
        file: "crates/lessor-core/src/sync/presence.rs",
        find: "self.count() > 0 && self.slot(key)",
        replace: "self.count() > 0 || self.slot(key)",
        test: core("presence::tests::most_unwatched_keys_are_not_reported_while_others_are_watched"),
    },
    Mutant {
        name: "renewal-under-way-hides-the-deadline",
        file: "crates/lessor-core/src/run/holders.rs",
        find: "        if self.busy {\n            return deadline;",
        replace: "        if self.busy {\n            return Timestamp::MAX;",
        test: core_in(&["--test", "holding"], "rule_15_lost_fires_in_time_while_the_store_does_not_answer"),
    },
    Mutant {
        name: "lapsed-lease-is-not-lost",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "            Error::Lapsed => self.end(LAPSED),\n",
        replace: "",
        test: core_in(
            &["--test", "holding"],
            "rule_15_lost_fires_when_the_lease_is_abandoned_through_another_handle",
        ),
    },
    Mutant {
        name: "failed-clock-stands-still",
        file: "crates/lessor-core/src/run/tasks.rs",
        find: "next = shared.clock.now().saturating_add(shared.schedule.purge_every);",
        replace: "match shared.store.now().await { Ok(now) => next = now.saturating_add(shared.schedule.purge_every), Err(_) => return }",
        test: core_in(
            &["--test", "holding"],
            "a_clock_that_fails_temporarily_does_not_end_renewals_waits_or_purges",
        ),
    },
    Mutant {
        name: "waker-that-panics-ends-its-thread",
        file: "crates/lessor-core/src/sync/wakers.rs",
        find: "if caller.in_place {",
        replace: "if caller.in_place || true {",
        test: core_in(&["--test", "holding"], "rule_15_no_callers_waker"),
    },
    Mutant {
        name: "notifier-starts-no-second-thread",
        file: "crates/lessor-core/src/sync/wakers.rs",
        find: "const MAX_THREADS: usize = 64;",
        replace: "const MAX_THREADS: usize = 1;",
        test: core_in(&["--test", "holding"], "rule_15_no_callers_waker"),
    },
    Mutant {
        name: "abandoned-leases-are-not-queued",
        file: "crates/lessor-core/src/run/abandoned.rs",
        find: "if queue.running >= MAX_RUNNING {",
        replace: "if queue.running >= MAX_RUNNING * 1_000 {",
        test: core_in(&["--test", "holding"], "abandoned_leases_are_queued_and_take_little_memory"),
    },
    Mutant {
        name: "purge-runs-on-the-thread-for-leases",
        file: "crates/lessor-core/src/run/tasks.rs",
        find: "background.purger.spawner().spawn(purge_periodically(engine.clone(), first));",
        replace: "background.leases.spawner().spawn(purge_periodically(engine.clone(), first));",
        test: core_in(&["--test", "holding"], "p7_a_lease_is_renewed_while_a_purge_does_not_return"),
    },
    Mutant {
        name: "dropped-acquire-keeps-its-lease",
        file: "crates/lessor-core/src/api/acquire/answer.rs",
        find: "if let Some(lease_id) = self.lease_id {",
        replace: "if let Some(lease_id) = self.lease_id.filter(|_| false) {",
        test: core_in(&["--test", "cancellation"], "a_dropped_acquire_leaves_no_lease_without_an_owner"),
    },
    Mutant {
        name: "holder-is-notified-too-late-of-a-lost-lease",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "Some(granted) => granted.expires_at.as_micros().saturating_sub(margin),",
        replace: "Some(granted) => granted.expires_at.as_micros().saturating_add(10 * margin),",
        test: core_in(&["--test", "waiting"], "p1_lost_fires_before_another_caller_can_be_granted_the_key"),
    },
    Mutant {
        name: "grant-is-made-before-the-lease-has-lapsed-by-the-clock",
        file: "crates/lessor-core/src/rules.rs",
        find: "let not_before = (not_before > Timestamp::EPOCH).then_some(not_before);",
        replace: "let _ = not_before;\n        let not_before = None;",
        test: TABLE,
    },
    Mutant {
        name: "lost-reply-acquires-twice",
        file: "crates/lessor-core/src/rules.rs",
        find: "true => Admission::Resent(kept),",
        replace: "true => Admission::Again { kept, ended: GrantEnd::Lapsed, from: Timestamp::EPOCH },",
        test: TABLE,
    },
    Mutant {
        name: "own-write-is-not-recognised",
        file: "crates/lessor-core/src/store/unconfirmed.rs",
        find: "|(next, _)| record.is_write(next)",
        replace: "|(next, _)| !record.is_write(next)",
        test: memory(&["--test", "lost_replies"], "p6_one_lost_reply_is_resolved_by_the_engine"),
    },
    Mutant {
        name: "indeterminate-write-is-forgotten",
        file: "crates/lessor-core/src/store/cas.rs",
        find: "self.indeterminate_error = Some(Box::new(error));",
        replace: "let _ = error;",
        test: memory(
            &["--test", "lost_replies"],
            "p6_a_request_that_arrives_after_its_error_takes_effect_once",
        ),
    },
    Mutant {
        name: "lease-id-is-shown-to-an-observer",
        file: "crates/lessor-core/src/data/view.rs",
        find: "attributes: body.attributes.clone(),",
        replace: "attributes: Some(Arc::new(Attributes { holder: Some(body.lease_id.reveal().into()), ..Attributes::default() })),",
        test: core_in(&["--test", "redaction"], "p11_no_printable_value"),
    },
    Mutant {
        name: "duplicate-answer-is-not-late",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "late: body.is_late(), repeated",
        replace: "late: body.is_late() && !repeated, repeated",
        test: TABLE,
    },
    Mutant {
        name: "fingerprint-is-not-compared",
        file: "crates/lessor-core/src/rules.rs",
        find: "&& known != asked",
        replace: "&& known != asked && body.stage != Stage::Completed",
        test: TABLE,
    },
    Mutant {
        name: "unknown-required-field-is-accepted",
        file: "crates/lessor-core/src/data/codec.rs",
        find: "    if let Some(number) = unknown_field(present) {",
        replace: "    if let Some(number) = unknown_field(present).filter(|number| *number == 63) {",
        test: core("codec::tests::an_unknown_required_field_is_refused_with_its_number_and_the_head_is_read"),
    },
    Mutant {
        name: "unknown-required-field-is-reported-as-damage",
        file: "crates/lessor-core/src/data/store_error.rs",
        find: "DecodeError::NewerFormat { .. } | DecodeError::UnknownField { .. } => {",
        replace: "DecodeError::UnknownField { .. } => Self::corrupt(place, error.to_string()),\n            DecodeError::NewerFormat { .. } => {",
        test: core("codec::tests::an_unknown_required_field_is_refused_with_its_number_and_the_head_is_read"),
    },
    Mutant {
        name: "skippable-fields-are-not-kept",
        file: "crates/lessor-core/src/data/codec.rs",
        find: "attributes.of_record = of_record.and_then(|fields| fields.others);",
        replace: "attributes.of_record = of_record.filter(|_| false);",
        test: memory(
            &["--test", "conformance"],
            "growing::unknown_fields_are_kept_by_every_change_of_a_grant",
        ),
    },
    Mutant {
        name: "skippable-fields-of-the-record-end-with-the-grant",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "            attributes.of_grant = None;",
        replace: "            attributes.of_grant = None;\n            attributes.of_record = None;",
        test: memory(
            &["--test", "conformance"],
            "growing::unknown_fields_of_a_grant_are_dropped_by_a_takeover",
        ),
    },
    Mutant {
        name: "skippable-fields-of-the-grant-are-kept-by-the-next",
        file: "crates/lessor-core/src/rules/transition.rs",
        find: "            attributes.of_grant = None;",
        replace: "",
        test: TABLE,
    },
    Mutant {
        name: "skippable-fields-may-be-in-any-order",
        file: "crates/lessor-core/src/data/codec/skippable.rs",
        find: "last.is_some_and(|last| tag <= last)",
        replace: "last.is_some_and(|last| tag == last)",
        test: core("codec::tests::p12_skippable_fields_have_one_form"),
    },
    Mutant {
        name: "damaged-result-is-accepted",
        file: "crates/lessor-core/src/data/payload.rs",
        find: "(sha256(bytes) == digest)",
        replace: "(sha256(bytes) == digest || !bytes.is_empty())",
        test: core("codec::tests::damage_to_a_result_or_checkpoint_is_always_detected"),
    },
    Mutant {
        name: "swap-ignores-the-version",
        file: "crates/lessor-core/src/data/record.rs",
        find: "&& self.0.version == other.0.version",
        replace: "",
        test: memory(&["--test", "conformance"], "on_a_manual_clock::swapping::swap_compares_the_version"),
    },
    Mutant {
        name: "swap-ignores-the-time-window",
        file: "crates/lessor-core/src/store/operation.rs",
        find: "if !change.is_above_floor(floor) || !change.in_window(now) {",
        replace: "if !change.is_above_floor(floor) {",
        test: memory(&["--test", "conformance"], "on_a_manual_clock::windows::"),
    },
    Mutant {
        name: "purge-forgets-the-tokens-it-dropped",
        file: "crates/lessor-memory/src/table.rs",
        find: "self.floor = self.floor.max(Some(token));",
        replace: "let _ = token;",
        test: memory(
            &["--test", "conformance"],
            "on_a_manual_clock::purging::p2_a_delayed_grant_gets_no_token_below_a_purged_one",
        ),
    },
    Mutant {
        name: "purge-removes-records-written-meanwhile",
        file: "crates/lessor-memory/src/table.rs",
        find: "if record.purge_at() <= now && due.len() < limit {",
        replace: "if due.len() < limit {",
        test: memory(
            &["--test", "conformance"],
            "on_a_manual_clock::purging::purge_keeps_records_that_are_not_due",
        ),
    },
    Mutant {
        name: "forgotten-record-is-kept-for-its-retention",
        file: "crates/lessor-memory/src/store.rs",
        find: "let is_due = applied.is_end() && purge_at <= now;",
        replace: "let is_due = applied.is_end() && purge_at > now;",
        test: memory(&["--test", "purge"], "p9_a_forgotten_record_is_dropped_at_once"),
    },
    Mutant {
        name: "extended-record-is-never-purged",
        file: "crates/lessor-memory/src/nodes.rs",
        find: "chunk.due = earliest.unwrap_or(Timestamp::MAX);",
        replace: "let _ = (&chunk.due, earliest);\n            chunk.due = Timestamp::MAX;",
        test: memory(&["--test", "purge"], "p9_a_record_whose_lease_was_extended_is_purged_at_its_time"),
    },
    Mutant {
        name: "completed-record-is-purged-after-its-lease-only",
        file: "crates/lessor-memory/src/nodes.rs",
        find: "chunk.due = chunk.due.min(purge_at);",
        replace: "let _ = (&chunk.due, purge_at);",
        test: memory(&["--test", "purge"], "p9_a_record_that_ends_before_its_lease_is_purged_at_its_time"),
    },
    Mutant {
        name: "index-keeps-entries-of-dropped-records",
        file: "crates/lessor-memory/src/table.rs",
        find: "self.index.remove(hash, number);",
        replace: "let _ = hash;",
        test: memory(&["--lib"], "p9_a_shard_is_as_large_as_its_records"),
    },
    Mutant {
        name: "recent-time-is-older-than-an-exact-one",
        file: "crates/lessor-core/src/data/time.rs",
        find: "self.at(exact_micros())",
        replace: "self.at(monotonic_micros())",
        test: memory(&["--test", "copies"], "p7_recent_and_exact_readings_of_a_thread_are_monotonic"),
    },
    Mutant {
        name: "empty-chunk-keeps-its-memory",
        file: "crates/lessor-memory/src/nodes.rs",
        find: "*chunk = Chunk::new();",
        replace: "chunk.due = Timestamp::MAX;",
        test: memory(&["--lib"], "p9_a_shard_is_as_large_as_its_records"),
    },
    Mutant {
        name: "copy-of-a-changed-record-is-used",
        file: "crates/lessor-memory/src/copies.rs",
        find: "            || cached.changes != changes\n",
        replace: "            || cached.changes > changes\n",
        test: memory(&["--test", "copies"], "rule_11_a_copy_of_a_changed_record_is_not_used"),
    },
    Mutant {
        name: "copy-of-another-stores-record-is-used",
        file: "crates/lessor-memory/src/copies.rs",
        find: "if cached.store != store\n",
        replace: "if place.cached.is_none()\n",
        test: memory(&["--test", "copies"], "a_copy_is_used_for_its_own_store_only"),
    },
    Mutant {
        name: "recent-time-prolongs-a-lease",
        file: "crates/lessor-core/src/store/operation.rs",
        find: "const SLACK: Duration = Duration::from_secs(1);",
        replace: "const SLACK: Duration = Duration::ZERO;",
        test: memory(&["--test", "copies"], "p1_a_recent_time_does_not_prolong_a_lease_or_a_retention"),
    },
    Mutant {
        name: "grant-in-one-step-ignores-purged-tokens",
        file: "crates/lessor-core/src/rules.rs",
        find: "self.record.map(Record::token).or(self.floor)",
        replace: "self.record.map(Record::token)",
        test: core_in(
            &["--test", "in_one_step"],
            "p2_a_grant_in_one_step_gets_a_token_above_all_purged_ones",
        ),
    },
    Mutant {
        name: "operation-in-one-step-wakes-no-waiter",
        file: "crates/lessor-core/src/store/operation.rs",
        find: "if self.is_watched() {",
        replace: "if self.is_watched() && !self.text.is_empty() {",
        test: core_in(&["--test", "in_one_step"], "a_waiter_is_woken_by_work_that_ends_in_one_step"),
    },
    Mutant {
        name: "scan-begins-with-its-cursor",
        file: "crates/lessor-core/src/store/first_keys.rs",
        find: "self.query.after.as_ref().is_some_and(|after| key <= after)",
        replace: "self.query.after.as_ref().is_some_and(|after| key < after)",
        test: memory(&["--test", "conformance"], "on_a_manual_clock::scanning::"),
    },
    Mutant {
        name: "engines-that-share-a-store-are-not-notified",
        file: "crates/lessor-core/src/store/subscribers.rs",
        find: "self.all().iter().for_each(|engine| engine.key_changed(key));",
        replace: "let _ = key;",
        test: core_in(&["--test", "waiting"], "waiters_are_woken_by_another_engine_over_the_same_store"),
    },
    Mutant {
        name: "engine-never-purges",
        file: "crates/lessor-core/src/run/tasks.rs",
        find: "while let Some(shared) = engine.upgrade() {",
        replace: "while let Some(shared) = Weak::<Shared>::new().upgrade() {",
        test: core_in(&["--test", "waiting"], "the_engine_purges_periodically"),
    },
    Mutant {
        name: "dropped-lease-is-not-abandoned",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "            abandon(&self.shared, self.key.clone(), self.lease_id, work);",
        replace: "            let _ = (abandon, work);",
        test: core_in(&["--test", "executors"], "tokio_on_one_thread"),
    },
    Mutant {
        name: "lease-is-abandoned-while-its-completion-is-in-progress",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "if self.ending.load(Ordering::SeqCst) == 0 && self.is_open() {",
        replace: "if self.is_open() {",
        test: core_in(&["--test", "cancellation"], "a_lease_that_is_dropped_while_it_is_completed"),
    },
    Mutant {
        name: "abandoned-lease-ends-at-the-estimated-time",
        file: "crates/lessor-core/src/api/lease/grant.rs",
        find: "            _ if matches!(act, HolderCommand::Abandon | HolderCommand::Doubt) => Guess::None,\n",
        replace: "",
        test: core_in(&["--test", "estimated_clock"], "an_abandoned_lease_ends_by_the_exact_clock"),
    },
    Mutant {
        name: "unconfirmed-write-is-forgotten-after-one-reading",
        file: "crates/lessor-core/src/store/cas.rs",
        find: "        self.rounds += 1;\n        if self.rounds > MAX_ROUNDS {",
        replace: "        self.unconfirmed = Unconfirmed::default();\n        self.rounds += 1;\n        if self.rounds > MAX_ROUNDS {",
        test: memory(
            &["--test", "lost_replies"],
            "p6_p10_a_write_that_arrives_between_the_reading_and_the_second_write_is_recognised",
        ),
    },
];
