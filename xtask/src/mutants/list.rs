//! The faults. To add one: name it after what goes wrong, copy the text to replace from the source, and name the test that
//! has to fail.

use std::fmt;

/// A fault to plant.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// From the root of the workspace.
    pub(crate) file: &'static str,
    /// Has to be there exactly once.
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
    pub(crate) test: Test,
}

/// A test that has to fail.
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

/// Every interleaving of waiters and writers.
const fn model(filter: &'static str) -> Test {
    Test { package: MODELS, target: &["--lib"], filter }
}

/// The table of the contract, walked through.
const TABLE: Test = core("machine::tests::table::the_machine_does_what_the_contracts_table_says");

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "key-of-257-characters-is-let-in",
        file: "crates/lessor-core/src/key.rs",
        find: "if chars > MAX_KEY_CHARS {",
        replace: "if chars > MAX_KEY_CHARS + 1 {",
        test: core("key::tests::p12_only_1_to_256_characters_without_controls_are_a_key"),
    },
    Mutant {
        name: "delete-character-is-let-in",
        file: "crates/lessor-core/src/key.rs",
        find: "byte.wrapping_sub(0x20) < 0x5f",
        replace: "byte.wrapping_sub(0x20) < 0x60",
        test: core("key::tests::p12_only_1_to_256_characters_without_controls_are_a_key"),
    },
    Mutant {
        name: "ttl-over-the-maximum-is-let-in",
        file: "crates/lessor-core/src/settings.rs",
        find: "if ttl < MIN_TTL || ttl > self.max_ttl {",
        replace: "if ttl < MIN_TTL {",
        test: core("settings::tests::p12_ttls_and_settings_out_of_range_are_refused"),
    },
    Mutant {
        name: "backoff-does-not-double",
        file: "crates/lessor-core/src/settings.rs",
        find: "self.first.saturating_mul(factor).min(self.most)",
        replace: "self.first.saturating_mul(factor.min(1)).min(self.most)",
        test: core("settings::tests::backoff_doubles_up_to_its_most_and_never_overflows"),
    },
    Mutant {
        name: "clock-forgets-its-floor",
        file: "crates/lessor-core/src/time.rs",
        find: "whole_micros(wall).max(floor.0)",
        replace: "whole_micros(wall)",
        test: core("time::tests::p7_the_system_clock_never_runs_backwards_and_starts_at_its_floor"),
    },
    Mutant {
        name: "part-of-a-microsecond-rounds-to-nothing",
        file: "crates/lessor-core/src/time.rs",
        find: "duration.subsec_nanos().div_ceil(1000)",
        replace: "duration.subsec_nanos() / 1000",
        test: core("time::tests::p12_arithmetic_stops_at_the_ends"),
    },
    Mutant {
        name: "debug-shows-the-lease-id",
        file: "crates/lessor-core/src/lease_id.rs",
        find: "f.write_str(\"LeaseId(redacted)\")",
        replace: "f.write_str(&self.reveal())",
        test: core("lease_id::tests::p11_debug_shows_nothing_and_the_text_form_round_trips"),
    },
    Mutant {
        name: "sign-passes-for-a-digit-of-a-lease-id",
        file: "crates/lessor-core/src/lease_id.rs",
        find: " || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())",
        replace: "",
        test: core("lease_id::tests::p12_malformed_ids_are_refused"),
    },
    Mutant {
        name: "lease-ids-start-over-with-each-seed",
        file: "crates/lessor-core/src/lease_id.rs",
        find: "ChaCha12Rng::from_seed(os_random()?)",
        replace: "ChaCha12Rng::from_seed([7; 32])",
        test: core("lease_id::tests::ids_do_not_repeat_within_and_across_sources"),
    },
    Mutant {
        name: "extend-revives-a-lapsed-lease",
        file: "crates/lessor-core/src/machine.rs",
        find: "Act::Extend { .. } | Act::Checkpoint(_) if !live",
        replace: "Act::Checkpoint(_) if !live",
        test: TABLE,
    },
    Mutant {
        name: "stale-holder-acts",
        file: "crates/lessor-core/src/machine.rs",
        find: "        if !kept.is_held_by(lease_id) {\n            return Judgement::Refuse(Error::NotHolder",
        replace: "        if kept.attempt() == 0 {\n            return Judgement::Refuse(Error::NotHolder",
        test: TABLE,
    },
    Mutant {
        name: "lease-lives-in-its-last-instant",
        file: "crates/lessor-core/src/machine.rs",
        find: "now < self.expires_at",
        replace: "now <= self.expires_at",
        test: TABLE,
    },
    Mutant {
        name: "extend-shortens",
        file: "crates/lessor-core/src/machine/plan.rs",
        find: "next.expires_at.max(*until)",
        replace: "*until",
        test: core("machine::tests::promises::extending_never_shortens_and_never_revives"),
    },
    Mutant {
        name: "extension-is-written-after-the-lapse",
        file: "crates/lessor-core/src/machine.rs",
        find: "not_after: Some(kept.body().expires_at)",
        replace: "not_after: None",
        test: core(
            "machine::tests::promises::an_extension_counts_only_if_it_is_written_while_the_lease_lives",
        ),
    },
    Mutant {
        name: "token-counts-and-forgets-the-time",
        file: "crates/lessor-core/src/record.rs",
        find: "now.as_micros().max(previous.map_or(0, |token| token.0 + 1))",
        replace: "previous.map_or(1, |token| token.0 + 1)",
        test: core("machine::tests::promises::p2_tokens_rise_over_a_purge"),
    },
    Mutant {
        name: "purge-drops-a-token-that-is-ahead-of-the-clock",
        file: "crates/lessor-core/src/record.rs",
        find: "keep_until.max(past_token)",
        replace: "keep_until.max(past_token.min(keep_until))",
        test: core("machine::tests::promises::p2_tokens_rise_over_a_purge"),
    },
    Mutant {
        name: "writer-looks-for-waiters-before-its-write-is-seen",
        file: "crates/lessor-core/src/board.rs",
        find: "        fence(Ordering::SeqCst);\n        if self",
        replace: "        if self",
        test: model("no_wake_up_is_lost_between_the_first_look_and_the_write"),
    },
    Mutant {
        name: "waiter-reads-before-it-is-seen-waiting",
        file: "crates/lessor-core/src/board.rs",
        find: "            fence(Ordering::SeqCst);\n            let post",
        replace: "            let post",
        test: model("no_wake_up_is_lost_between_the_first_look_and_the_write"),
    },
    Mutant {
        name: "waiter-does-not-look-again-before-it-sleeps",
        file: "crates/lessor-core/src/board.rs",
        find: "            let changed = event.listen();\n            if let Some(done) = check() {\n                return done;\n            }\n",
        replace: "            let changed = event.listen();\n",
        test: model("no_wake_up_is_lost_between_the_first_look_and_the_write"),
    },
    Mutant {
        name: "late-look-hides-a-newer-write",
        file: "crates/lessor-core/src/board.rs",
        find: "sight.is_older_than(known)",
        replace: "{ let _ = known; false }",
        test: model("a_late_look_does_not_hide_a_newer_write"),
    },
    Mutant {
        name: "two-contenders-have-the-turn",
        file: "crates/lessor-core/src/board.rs",
        find: "scene.baton = true;",
        replace: "",
        test: model("p1_one_of_two_contenders_at_a_time_has_the_turn_and_each_gets_it"),
    },
    Mutant {
        name: "waiter-that-goes-away-keeps-the-baton",
        file: "crates/lessor-core/src/board.rs",
        find: "scene.baton = false;",
        replace: "",
        test: core_in(&["--test", "cancellation"], "a_waiter_that_goes_away_with_the_turn_passes_it_on"),
    },
    Mutant {
        name: "wake-up-is-forgotten",
        file: "crates/lessor-core/src/board.rs",
        find: "if self.watched.load(Ordering::Relaxed) > 0",
        replace: "if false",
        test: core_in(&["--test", "waiting"], "a_waiter_that_has_looked_is_woken_by_the_end_of_the_work"),
    },
    Mutant {
        name: "acquire-that-is-dropped-leaves-its-lease",
        file: "crates/lessor-core/src/acquire.rs",
        find: "if self.armed {",
        replace: "if false {",
        test: core_in(
            &["--test", "cancellation"],
            "an_acquire_that_is_dropped_leaves_no_lease_that_nobody_owns",
        ),
    },
    Mutant {
        name: "holder-hears-too-late-that-its-lease-is-lost",
        file: "crates/lessor-core/src/lease.rs",
        find: "expires_at.saturating_sub((ttl / 10).min(Duration::from_secs(1)))",
        replace: "expires_at.saturating_add(ttl)",
        test: core_in(&["--test", "waiting"], "p1_lost_fires_before_anybody_else_can_be_granted"),
    },
    Mutant {
        name: "once-that-retries-takes-a-failure-for-its-outcome",
        file: "crates/lessor-core/src/watch.rs",
        find: "(!retries || view.error_code().is_none()).then_some",
        replace: "(retries == retries).then_some",
        test: core_in(&["--test", "waiting_for_a_retry"], "a_waiter_that_would_retry_waits_for_news"),
    },
    Mutant {
        name: "grant-is-made-before-the-lease-has-lapsed-by-the-clock",
        file: "crates/lessor-core/src/machine.rs",
        find: "not_before: (not_before > Timestamp::EPOCH).then_some(not_before),",
        replace: "not_before: { let _ = not_before; None },",
        test: core_in(
            &["--test", "estimated_clock"],
            "p7_no_lease_is_taken_over_before_the_clock_itself_has_reached_its_end",
        ),
    },
    Mutant {
        name: "lost-reply-acquires-twice",
        file: "crates/lessor-core/src/machine.rs",
        find: "true => Verdict::Resent(kept),",
        replace: "true => Verdict::Again { kept, ended: Ended::Lapsed, from: Timestamp::EPOCH },",
        test: TABLE,
    },
    Mutant {
        name: "own-write-is-not-recognised",
        file: "crates/lessor-core/src/drive.rs",
        find: "seen.record.as_ref() == Some(&written.next);",
        replace: "seen.record.as_ref() != Some(&written.next);",
        test: memory(&["--test", "lost_replies"], "p6_one_lost_reply_is_found_out_without_the_callers_help"),
    },
    Mutant {
        name: "doubt-is-forgotten",
        file: "crates/lessor-core/src/drive.rs",
        find: "self.doubt = Some(Box::new(error));",
        replace: "let _ = error;",
        test: memory(
            &["--test", "lost_replies"],
            "p6_a_request_that_lands_after_its_caller_gave_up_counts_once",
        ),
    },
    Mutant {
        name: "lease-id-is-shown-to-an-observer",
        file: "crates/lessor-core/src/view.rs",
        find: "extras: body.extras.clone(),",
        replace: "extras: Some(Arc::new(Extras { holder: Some(body.lease_id.reveal().into()), ..Extras::default() })),",
        test: core_in(&["--test", "redaction"], "p11_nothing_that_can_be_printed"),
    },
    Mutant {
        name: "repeated-answer-forgets-that-it-was-late",
        file: "crates/lessor-core/src/machine.rs",
        find: "late: body.done_at >= expires_at,",
        replace: "late: body.done_at >= expires_at && !repeated,",
        test: TABLE,
    },
    Mutant {
        name: "fingerprint-is-not-compared",
        file: "crates/lessor-core/src/machine.rs",
        find: "&& known != asked",
        replace: "&& known != asked && body.stage != Stage::Completed",
        test: TABLE,
    },
    Mutant {
        name: "damaged-result-is-believed",
        file: "crates/lessor-core/src/record.rs",
        find: "(sha256(bytes) == digest)",
        replace: "(sha256(bytes) == digest || !bytes.is_empty())",
        test: core("codec::tests::damage_to_a_result_or_checkpoint_is_always_found"),
    },
    Mutant {
        name: "swap-ignores-the-version",
        file: "crates/lessor-core/src/record.rs",
        find: "&& self.0.version == other.0.version",
        replace: "",
        test: memory(&["--test", "conformance"], "on_a_manual_clock::swapping::swap_compares_the_version"),
    },
    Mutant {
        name: "swap-does-not-ask-the-clock",
        file: "crates/lessor-memory/src/lib.rs",
        find: "(!outruns || !change.is_due(seen.now))",
        replace: "(!outruns)",
        test: memory(&["--test", "conformance"], "on_a_manual_clock::windows::"),
    },
    Mutant {
        name: "purge-forgets-the-tokens-it-dropped",
        file: "crates/lessor-memory/src/lib.rs",
        find: "self.purged.fetch_max(highest, Ordering::Relaxed);",
        replace: "let _ = highest;",
        test: memory(
            &["--test", "conformance"],
            "on_a_manual_clock::purging::p2_a_grant_by_an_old_reading_does_not_undercut_what_was_purged",
        ),
    },
    Mutant {
        name: "purge-drops-what-was-written-meanwhile",
        file: "crates/lessor-memory/src/lib.rs",
        find: "self.records.remove_if(&**key, |_, slot| same(slot)).is_some()",
        replace: "{ let _ = same; std::thread::yield_now(); self.records.remove(&**key).is_some() }",
        test: memory(&["--test", "conformance"], "purging::purge_never_drops_what_was_written_meanwhile"),
    },
    Mutant {
        name: "purge-judges-what-was-before-an-edit",
        file: "crates/lessor-memory/src/lib.rs",
        find: "slot.purge_at = slot.record.purge_at();",
        replace: "",
        test: memory(
            &["--test", "conformance"],
            "on_a_manual_clock::editing::purge_judges_what_an_edit_left",
        ),
    },
    Mutant {
        name: "edit-extends-after-the-lapse",
        file: "crates/lessor-core/src/at_hand.rs",
        find: "!window.is_timed() || window.is_open(spot.clock.now())",
        replace: "{ let _ = (spot, window); true }",
        test: core_in(&["--test", "at_hand"], "p1_an_edit_is_judged_by_the_clock_at_its_own_instant"),
    },
    Mutant {
        name: "grant-in-place-undercuts-what-was-purged",
        file: "crates/lessor-core/src/at_hand.rs",
        find: "purged.is_some_and(|purged| body.token <= purged)",
        replace: "purged.is_some_and(|_| false)",
        test: core_in(&["--test", "at_hand"], "p2_a_grant_in_place_does_not_undercut_what_was_purged"),
    },
    Mutant {
        name: "edit-tells-no-waiter",
        file: "crates/lessor-core/src/at_hand.rs",
        find: "shared.watches.are_any().then",
        replace: "false.then",
        test: core_in(&["--test", "at_hand"], "a_waiter_is_woken_by_work_that_ends_in_place"),
    },
    Mutant {
        name: "scan-begins-with-its-cursor",
        file: "crates/lessor-memory/src/lib.rs",
        find: "query.after.as_ref().is_none_or(|after| key > after)",
        replace: "query.after.as_ref().is_none_or(|after| key >= after)",
        test: memory(&["--test", "conformance"], "on_a_manual_clock::scanning::"),
    },
    Mutant {
        name: "engines-that-share-a-store-are-not-told",
        file: "crates/lessor-memory/src/lib.rs",
        find: "engines.iter().for_each(|engine| engine.changed(key));",
        replace: "let _ = (engines, key);",
        test: core_in(&["--test", "waiting"], "waiters_are_woken_by_another_engine_over_the_same_store"),
    },
    Mutant {
        name: "engine-never-purges",
        file: "crates/lessor-core/src/engine.rs",
        find: "while let Some(shared) = engine.upgrade() {",
        replace: "while let Some(shared) = Weak::<Shared>::new().upgrade() {",
        test: core_in(&["--test", "waiting"], "the_engine_purges_by_itself"),
    },
    Mutant {
        name: "dropped-lease-is-not-given-up",
        file: "crates/lessor-core/src/lease.rs",
        find: "            abandon(&grant.shared, grant.key.clone(), grant.lease_id);",
        replace: "            let _ = grant;",
        test: core_in(&["--test", "executors"], "tokio_on_one_thread"),
    },
    Mutant {
        name: "lease-that-is-given-up-ends-by-the-estimate",
        file: "crates/lessor-core/src/lease.rs",
        find: "let last = if matches!(act, Act::Abandon) { None } else { self.0.last() };",
        replace: "let last = self.0.last();",
        test: core_in(&["--test", "estimated_clock"], "a_lease_that_is_given_up_ends_by_the_clock_itself"),
    },
    Mutant {
        name: "engine-forgets-a-write-in-doubt-once-it-has-looked",
        file: "crates/lessor-core/src/drive.rs",
        find: "        self.rounds += 1;\n        if self.rounds > MAX_ROUNDS {",
        replace: "        self.unsure.clear();\n        self.rounds += 1;\n        if self.rounds > MAX_ROUNDS {",
        test: memory(
            &["--test", "lost_replies"],
            "p6_p10_a_write_that_lands_between_the_look_and_the_second_write_is_recognised",
        ),
    },
    Mutant {
        name: "waiter-pauses-until-a-time-of-the-clock-itself",
        file: "crates/lessor-core/src/watch.rs",
        find: "        match shared.store.now().await {\n            Ok(now) => future::or(kick, shared.janitor.sleep_until(now.saturating_add(pause))).await,",
        replace: "        match shared.store.load(&key).await {\n            Ok(seen) => future::or(kick, shared.janitor.sleep_until(seen.now.saturating_add(pause))).await,",
        test: core_in(&["--test", "estimated_clock"], "p7_a_waiter_does_not_read_without_a_pause"),
    },
];
