//! The faults of the Redis store.

use crate::mutants::list::{Mutant, Test};

/// A unit test of the Redis store.
const fn unit(filter: &'static str) -> Test {
    Test { package: "lessor-redis", target: &["--lib"], filter }
}

/// A test of one of the Redis store's test files.
const fn redis(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-redis", target, filter }
}

const CHECKS: &[&str] = &["--test", "checks"];
const CLOCK: &[&str] = &["--test", "clock"];
const CLUSTER: &[&str] = &["--test", "cluster"];
const LATE: &[&str] = &["--test", "late"];
const CONFORMANCE: &[&str] = &["--test", "conformance"];
const OUTAGES: &[&str] = &["--test", "outages"];
const PROXY: &[&str] = &["--test", "proxy"];
const REFUSED: &[&str] = &["--test", "refused"];
const WAITERS: &[&str] = &["--test", "waiters"];
const WINDOW: Test = redis(CLOCK, "p7_a_window_is_judged_by_the_servers_clock");
const ANSWERED_LATE: Test = redis(OUTAGES, "p2_a_fresh_grant_whose_answer_came_late");
const SENT_ONCE: Test = redis(OUTAGES, "p6_whatever_becomes_of_the_answer");
const NAMES: Test = unit("names::tests::names_of_different_keys_differ_and_lead_back");
const UNFIT: Test = redis(CHECKS, "a_server_that_is_not_as_it_should_be_is_refused");
const WIRE: Test = unit("wire::tests::p6_every_answer_is_its_own_callers_whoever_writes_and_reads");
const SLOT_MOVES: Test = redis(CLUSTER, "p5_a_slot_that_moves");

pub(crate) const REDIS: &[Mutant] = &[
    Mutant {
        name: "redis-script-does-not-compare-the-record",
        file: "crates/lessor-redis/src/scripts.rs",
        find: "if current ~= expected then",
        replace: "if not current and expected then",
        test: redis(CONFORMANCE, "on_the_real_clock::swapping::swap_compares_the_version"),
    },
    Mutant {
        name: "redis-script-ignores-not-after",
        file: "crates/lessor-redis/src/scripts.rs",
        find: "if now < tonumber(ARGV[4]) or now >= tonumber(ARGV[5]) then",
        replace: "if now < tonumber(ARGV[4]) then",
        test: redis(CONFORMANCE, "on_a_manual_clock::windows::"),
    },
    Mutant {
        name: "redis-script-ignores-not-before",
        file: "crates/lessor-redis/src/scripts.rs",
        find: "if now < tonumber(ARGV[4]) or now >= tonumber(ARGV[5]) then",
        replace: "if now >= tonumber(ARGV[5]) then",
        test: redis(CONFORMANCE, "on_a_manual_clock::windows::"),
    },
    Mutant {
        name: "redis-window-is-judged-by-the-callers-clock",
        file: "crates/lessor-redis/src/store.rs",
        find: "        if let Some((not_before, not_after)) = put.window {",
        replace: "        let now = self.link.clock.now();\n        if let Some((not_before, not_after)) = put.window\n            && (now < not_before || not_after.is_some_and(|end| now >= end))\n        {",
        test: WINDOW,
    },
    Mutant {
        name: "redis-write-that-timed-out-is-said-not-to-have-happened",
        file: "crates/lessor-redis/src/link/exchange.rs",
        find: "                Err(unanswered(effect, reason))",
        replace: "                Err(unanswered(Effect::Read, reason))",
        test: redis(OUTAGES, "p6_nothing_is_sent_behind"),
    },
    Mutant {
        name: "redis-connection-that-broke-is-said-to-have-changed-nothing",
        file: "crates/lessor-redis/src/failure.rs",
        find: "error: unanswered(effect, reason), is_broken: true",
        replace: "error: unanswered(Effect::Read, reason), is_broken: effect == Effect::Read || effect == Effect::Write",
        test: SENT_ONCE,
    },
    Mutant {
        name: "redis-script-that-is-not-known-is-not-sent",
        file: "crates/lessor-redis/src/link/exchange.rs",
        find: "if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),",
        replace: "if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) && effect == Effect::Read => Ok(None),",
        test: redis(OUTAGES, "a_server_that_forgets_its_scripts"),
    },
    Mutant {
        name: "redis-command-is-sent-again-after-the-connection-broke",
        file: "crates/lessor-redis/src/store.rs",
        find: "let answer = match self.link.call_script(&command, effect, args.is_told, limit).await? {",
        replace: "let answer = match self.link.call_script(&command, effect, args.is_told, limit).await {\n            Err(StoreError::Indeterminate { .. }) => Box::pin(self.link.call_script(&command, effect, args.is_told, limit)).await?,\n            other => other?,\n        };\n        let answer = match answer {",
        test: SENT_ONCE,
    },
    Mutant {
        name: "redis-fresh-grant-is-sent-again-after-the-connection-broke",
        file: "crates/lessor-redis/src/store.rs",
        find: "            answer => answer?,\n        };\n        match answer {",
        replace: "            Err(StoreError::Indeterminate { .. }) => Box::pin(self.link.call(&command, Effect::Write, limit)).await?,\n            answer => answer?,\n        };\n        match answer {",
        test: SENT_ONCE,
    },
    Mutant {
        name: "redis-clock-counts-from-the-answer",
        file: "crates/lessor-redis/src/clock.rs",
        find: "(ahead_of(said, received), ahead_of(said, sent))",
        replace: "(ahead_of(said, received), ahead_of(said, received.max(sent)))",
        test: unit("clock::tests::p7_now_is_not_behind_a_server_that_answered_at_once"),
    },
    Mutant {
        name: "redis-clock-runs-backwards",
        file: "crates/lessor-redis/src/clock.rs",
        find: "self.told = self.told.max(self.most(local).saturating_add(lead));",
        replace: "self.told = self.most(local).saturating_add(lead);",
        test: unit("clock::tests::p7_now_never_runs_backwards"),
    },
    Mutant {
        name: "redis-clock-knows-no-drift",
        file: "crates/lessor-redis/src/clock.rs",
        find: "i64::try_from(passed.div_ceil(DRIFT))",
        replace: "i64::try_from(passed / DRIFT)",
        test: unit("clock::tests::p7_now_is_not_behind_a_server_that_runs_faster"),
    },
    Mutant {
        name: "redis-clock-follows-the-node-that-is-furthest-behind",
        file: "crates/lessor-redis/src/clock.rs",
        find: "all.map(|(_, most)| local.saturating_add_signed(most)).max()",
        replace: "all.map(|(_, most)| local.saturating_add_signed(most)).min()",
        test: unit("clock::tests::p7_now_is_not_behind_the_node_that_is_furthest_ahead"),
    },
    Mutant {
        name: "redis-server-drops-records-as-soon-as-their-retention-ends",
        file: "crates/lessor-redis/src/landing.rs",
        find: "purge_at(record).saturating_add(MARGIN)",
        replace: "purge_at(record).saturating_add(MARGIN / 3600)",
        test: redis(CLOCK, "p9_the_server_keeps_a_record"),
    },
    Mutant {
        name: "redis-purge-forgets-how-old-a-token-has-to-be",
        file: "crates/lessor-redis/src/landing.rs",
        find: "record.purge_at().max(drawn_at(record).saturating_add(TOKEN_AGE))",
        replace: "record.purge_at().max(drawn_at(record))",
        test: redis(CLOCK, "p2_a_record_is_purged_once_its_token"),
    },
    Mutant {
        name: "redis-purge-believes-the-callers-clock",
        file: "crates/lessor-redis/src/scripts.rs",
        find: "if at < 0 or at - tonumber(ARGV[1]) > time[1] * 1000 + math.floor(time[2] / 1000) then",
        replace: "if at < 0 then",
        test: redis(CLOCK, "p9_no_record_is_purged_before"),
    },
    Mutant {
        name: "redis-purge-is-not-told-of-what-is-written",
        file: "crates/lessor-redis/src/store.rs",
        find: "self.next_purge.fetch_min(put.purge_at.as_micros(), Ordering::Relaxed);",
        replace: "let _ = self.next_purge.load(Ordering::Relaxed);",
        test: redis(CLOCK, "p2_a_record_is_purged_once_its_token"),
    },
    Mutant {
        name: "redis-old-token-is-granted",
        file: "crates/lessor-redis/src/store.rs",
        find: "saturating_since(token) >= LATEST",
        replace: "saturating_since(token) >= LATEST * 1000",
        test: redis(CONFORMANCE, "on_the_real_clock::purging::p2_a_grant_by_an_old_reading"),
    },
    Mutant {
        name: "redis-grant-whose-answer-came-late-counts",
        file: "crates/lessor-redis/src/store.rs",
        find: "Value::Nil if self.is_old(put.token) =>",
        replace: "Value::Nil if self.is_old(put.token) && put.records.is_empty() =>",
        test: ANSWERED_LATE,
    },
    Mutant {
        name: "redis-grant-that-arrived-late-is-recognised-by-reading",
        file: "crates/lessor-redis/src/store.rs",
        find: "record.filter(|record| !landing::is_late(record, answer.expires_ms));",
        replace: "record.filter(|record| landing::is_late(record, answer.expires_ms) || is_first(record) || true);",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_taken_when_its_writer_reads_it"),
    },
    Mutant {
        name: "redis-grant-that-arrived-late-is-handed-out-to-its-own-lease-id",
        file: "crates/lessor-redis/src/store.rs",
        find: "let is_in_doubt = may_be_late(&record, now) || put.record.same_holder(&record);",
        replace: "let is_in_doubt = record.is_held_by(&lessor_core::LeaseId::from_bytes([0; 16]));",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_handed_out_to_its_own_lease_id"),
    },
    Mutant {
        name: "redis-grant-that-arrived-late-is-listed",
        file: "crates/lessor-redis/src/scan.rs",
        find: "        self.leave_out_late(&mut entries, latest).await?;\n",
        replace: "        self.leave_out_late(&mut Vec::new(), latest).await?;\n",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_shown_nowhere"),
    },
    Mutant {
        name: "redis-fresh-grant-does-not-say-when-it-arrived",
        file: "crates/lessor-redis/src/store.rs",
        find: ".arg(\"PX\").arg(lifetime);",
        replace: ".arg(\"PXAT\").arg(put.expires_ms.max(lifetime));",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_taken_when_its_writer_reads_it"),
    },
    Mutant {
        name: "redis-grant-that-arrived-late-stays-in-the-way",
        file: "crates/lessor-redis/src/scripts.rs",
        find: "redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[2]) then",
        replace: "redis.call('PEXPIRETIME', KEYS[1]) == tonumber(ARGV[2]) then",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_handed_out_to_its_own_lease_id"),
    },
    Mutant {
        name: "redis-script-makes-a-grant-that-arrives-late",
        file: "crates/lessor-redis/src/store.rs",
        find: "let latest = if is_fresh { token.checked_add(LATEST) } else { None };",
        replace: "let latest = if is_fresh { token.checked_add(LATEST * 1000) } else { None };",
        test: redis(LATE, "p2_a_script_does_not_make_a_grant_that_arrives_late"),
    },
    Mutant {
        name: "redis-commands-are-not-tried-out",
        file: "crates/lessor-redis/src/link.rs",
        find: "        probe::probe(self, place, &mut wire, |_| true).await?;\n",
        replace: "        probe::probe(self, place, &mut wire, |_| false).await?;\n",
        test: redis(REFUSED, "a_server_that_does_not_know_a_command"),
    },
    Mutant {
        name: "redis-eviction-is-looked-at-only-once",
        file: "crates/lessor-redis/src/link.rs",
        find: "if round % CHECK_EVERY == 0 {",
        replace: "if round % CHECK_EVERY == CHECK_EVERY {",
        test: redis(CHECKS, "eviction_that_is_switched_on_later"),
    },
    Mutant {
        name: "redis-answers-at-login-have-no-limit",
        file: "crates/lessor-redis/src/wire/line.rs",
        find: "longest: AtomicUsize::new(UNTRUSTED),",
        replace: "longest: AtomicUsize::new(UNTRUSTED * 1000),",
        test: redis(REFUSED, "a_hostile_server_cannot"),
    },
    Mutant {
        name: "redis-error-repeats-arguments",
        file: "crates/lessor-redis/src/failure.rs",
        find: "detail.split(\"with args beginning with\").next()",
        replace: "detail.split(\"\\0\").next()",
        test: unit("failure::tests::what_a_server_refuses"),
    },
    Mutant {
        name: "redis-calls-have-no-limit",
        file: "crates/lessor-redis/src/budget.rs",
        find: "before.saturating_add(charge.bytes) > MOST {",
        replace: "before.saturating_add(charge.bytes) > MOST * 1000 {",
        test: unit("budget::tests::calls_have_room"),
    },
    Mutant {
        name: "redis-answers-that-nobody-takes-have-no-limit",
        file: "crates/lessor-redis/src/wire/waiting.rs",
        find: "before.saturating_add(bytes) > MOST {",
        replace: "before.saturating_add(bytes) > MOST * 1000 {",
        test: unit("wire::tests::answers_that_nobody_takes"),
    },
    Mutant {
        name: "redis-write-has-the-whole-deadline",
        file: "crates/lessor-redis/src/link/exchange.rs",
        find: "self.settings.deadline / 2",
        replace: "self.settings.deadline / 1",
        test: redis(OUTAGES, "an_operation_and_the_look"),
    },
    Mutant {
        name: "redis-forked-child-uses-the-connection",
        file: "crates/lessor-redis/src/link.rs",
        find: "if process == std::process::id() {",
        replace: "if process > 0 {",
        test: unit("link::tests::a_store_is_of_use_only"),
    },
    Mutant {
        name: "redis-purge-begins-at-the-first-name-again",
        file: "crates/lessor-redis/src/scan.rs",
        find: "*self.purging.lock() = Some(purge);",
        replace: "drop(purge);",
        test: redis(OUTAGES, "a_purge_in_many_calls"),
    },
    Mutant {
        name: "redis-names-are-not-escaped",
        file: "crates/lessor-redis/src/names.rs",
        find: "'%' => out.push_str(\"%25\"),",
        replace: "",
        test: NAMES,
    },
    Mutant {
        name: "redis-names-have-a-clusters-tags",
        file: "crates/lessor-redis/src/names.rs",
        find: "if !key.bytes().any(|byte| b\"%{}\".contains(&byte)) {",
        replace: "if !key.bytes().any(|byte| b\"%\".contains(&byte)) {",
        test: NAMES,
    },
    Mutant {
        name: "redis-prefixes-may-meet",
        file: "crates/lessor-redis/src/names.rs",
        find: "b\"-_.\".contains(&byte)",
        replace: "b\"-_.:\".contains(&byte)",
        test: unit("names::tests::a_prefix_that_could_meet_another_one"),
    },
    Mutant {
        name: "redis-full-server-hides-what-is-there",
        file: "crates/lessor-redis/src/store.rs",
        find: "if seen.record.is_some() { Ok(Swap::Conflict(seen)) } else { Err(full) }",
        replace: "let _ = seen;\n        Err(full)",
        test: redis(OUTAGES, "a_full_server_says_so"),
    },
    Mutant {
        name: "redis-deadline-is-not-kept",
        file: "crates/lessor-redis/src/link/exchange.rs",
        find: "Poll::Pending => Pin::new(&mut expiry).poll(context).map(|()| None),",
        replace: "Poll::Pending => match Pin::new(&mut expiry).poll(context) {\n                    _ => Poll::Pending,\n                },",
        test: redis(OUTAGES, "a_server_that_is_busy_for_longer"),
    },
    Mutant {
        name: "redis-connection-with-a-late-answer-is-kept",
        file: "crates/lessor-redis/src/link/exchange.rs",
        find: "                // Answers come in order, so those behind this one would be late as well.\n                self.drop_wire(&sent, &reason);\n",
        replace: "                let _ = &sent;\n",
        test: redis(OUTAGES, "p6_nothing_is_sent_behind"),
    },
    Mutant {
        name: "redis-connection-to-a-replica-is-kept",
        file: "crates/lessor-redis/src/link/exchange.rs",
        find: "                if failure.is_broken {",
        replace: "                if failure.is_broken && error.code().is_none() {",
        test: redis(OUTAGES, "a_write_that_a_replica_refuses"),
    },
    Mutant {
        name: "redis-refusal-by-a-replica-does-not-count",
        file: "crates/lessor-redis/src/failure.rs",
        find: "error: unavailable(\"is a replica and takes no writes\"), is_broken: true",
        replace: "error: unavailable(\"is a replica and takes no writes\"), is_broken: false",
        test: unit("failure::tests::what_a_server_refuses"),
    },
    Mutant {
        name: "redis-hints-are-not-heard",
        file: "crates/lessor-redis/src/hints.rs",
        find: "if said.kind != PushKind::Invalidate {",
        replace: "if said.kind == PushKind::Invalidate {",
        test: redis(WAITERS, "a_waiter_is_woken_by_another_stores_write"),
    },
    Mutant {
        name: "redis-server-does-not-report-what-the-store-itself-changes",
        file: "crates/lessor-redis/src/server.rs",
        find: "tracking.arg(\"TRACKING\").arg(\"ON\").arg(\"OPTIN\");",
        replace: "tracking.arg(\"TRACKING\").arg(\"ON\").arg(\"OPTIN\").arg(\"NOLOOP\");",
        test: redis(WAITERS, "a_waiter_is_woken_by_another_store_after_an_extension_by_its_own"),
    },
    Mutant {
        name: "redis-waker-that-panics-ends-a-thread",
        file: "crates/lessor-core/src/notifier.rs",
        find: "if caller.in_place {",
        replace: "if caller.in_place || true {",
        test: unit("wake::tests::a_waker_that_panics_keeps_nobody_else"),
    },
    Mutant {
        name: "redis-waiters-are-not-told-of-a-new-connection",
        file: "crates/lessor-redis/src/link.rs",
        find: "        // What changed in between was not told.\n        self.listeners.all_changed();\n",
        replace: "",
        test: redis(WAITERS, "after_its_connection_was_cut"),
    },
    Mutant {
        name: "redis-load-does-not-ask-to-be-told-with-the-script-in-full",
        file: "crates/lessor-redis/src/store.rs",
        find: "Box::pin(self.link.call_script(&in_full, effect, args.is_told, limit))",
        replace: "Box::pin(self.link.call_script(&in_full, effect, false, limit))",
        test: redis(WAITERS, "a_waiter_that_looked_on_a_server_without_scripts"),
    },
    Mutant {
        name: "redis-slot-is-that-of-the-script",
        file: "crates/lessor-redis/src/cluster.rs",
        find: "arg(if arg(0).starts_with(b\"EVAL\") { 3 } else { 1 })",
        replace: "arg(if arg(0).starts_with(b\"EVAL\") { 1 } else { 1 })",
        test: unit("cluster::tests::slots_are_those_of_the_servers"),
    },
    Mutant {
        name: "redis-slot-on-its-way-counts-as-moved",
        file: "crates/lessor-redis/src/cluster.rs",
        find: "true => To::Ask(next),",
        replace: "true => {\n                    self.learn(slot, next);\n                    To::Owner\n                }",
        test: SLOT_MOVES,
    },
    Mutant {
        name: "redis-node-that-gets-a-slot-is-not-told-who-asks",
        file: "crates/lessor-redis/src/cluster.rs",
        find: "To::Ask(_) => Some(cmd(\"ASKING\")),",
        replace: "To::Ask(_) => Some(cmd(\"TIME\")),",
        test: SLOT_MOVES,
    },
    Mutant {
        name: "redis-node-that-hangs-is-said-to-have-changed-nothing",
        file: "crates/lessor-redis/src/cluster.rs",
        find: "            let mark = || *sent = Some(place);",
        replace: "            let mark = || drop((place, &sent));",
        test: redis(CLUSTER, "p5_a_node_that_hangs"),
    },
    Mutant {
        name: "redis-error-shows-the-password",
        file: "crates/lessor-redis/src/address.rs",
        find: "place: hosts.to_owned()",
        replace: "place: rest.to_owned()",
        test: unit("address::tests::p11_no_error_and_no_debug_shows_a_password"),
    },
    Mutant {
        name: "redis-replica-passes-for-a-master",
        file: "crates/lessor-redis/src/server.rs",
        find: "            server.role == \"master\",\n",
        replace: "            !server.role.is_empty(),\n",
        test: UNFIT,
    },
    Mutant {
        name: "redis-server-that-evicts-passes",
        file: "crates/lessor-redis/src/server.rs",
        find: "let is_kept = !server.is_bounded || server.maxmemory_policy == \"noeviction\";",
        replace: "let is_kept = !server.is_bounded || !server.maxmemory_policy.starts_with(\"allkeys\");",
        test: UNFIT,
    },
    Mutant {
        name: "redis-file-that-is-synced-every-second-passes",
        file: "crates/lessor-redis/src/server.rs",
        find: "fsync.is_none_or(|fsync| fsync == \"always\")",
        replace: "fsync.is_none_or(|fsync| fsync != \"no\")",
        test: UNFIT,
    },
    Mutant {
        name: "redis-late-answer-shows-a-lease-that-ended-as-it-was",
        file: "crates/lessor-redis/src/store.rs",
        find: "if is_in_doubt || (from..=now).contains(&record.expires_at()) {",
        replace: "if is_in_doubt || (from..=from).contains(&record.expires_at()) {",
        test: redis(PROXY, "p7_p8_a_lease_that_was_renewed"),
    },
    Mutant {
        name: "redis-wire-answer-that-nobody-asked-for-is-passed-over",
        file: "crates/lessor-redis/src/wire/reading.rs",
        find: "let entry = waiting.front_mut().ok_or(ErrorKind::InvalidData)?;",
        replace: "let Some(entry) = waiting.front_mut() else { continue };",
        test: unit("wire::tests::p6_a_server_that_says_what_nobody_asked_for"),
    },
    Mutant {
        name: "redis-wire-thread-waits-for-a-leader-that-is-not-polled",
        file: "crates/lessor-redis/src/wire/thread.rs",
        find: "let is_stuck = queue.leader != Leader::Thread && idle.is_over(queue.reads, context);",
        replace: "let is_stuck = queue.leader == Leader::Nobody && idle.is_over(queue.reads, context);",
        test: unit("wire::tests::a_caller_that_is_not_polled_any_more_holds_nobody_up"),
    },
    Mutant {
        name: "redis-wire-caller-that-gives-up-leaves-its-answer-to-the-next",
        file: "crates/lessor-redis/src/wire/waiting.rs",
        find: "    fn drop(&mut self) {\n        self.line.follow(self.leader());",
        replace: "    fn drop(&mut self) {\n        self.line.queue.lock().waiting.retain(|entry| !Arc::ptr_eq(&entry.slot, &self.slot));\n        self.line.follow(self.leader());",
        test: WIRE,
    },
    Mutant {
        name: "redis-wire-takes-on-whatever-the-server-does-not-take",
        file: "crates/lessor-redis/src/wire/line.rs",
        find: "if queue.waiting.len() >= WAITING || queue.out.len() >= UNSENT {",
        replace: "if queue.waiting.len() >= WAITING {",
        test: unit("wire::tests::p6_what_a_server_does_not_take_yet_waits_and_is_bounded"),
    },
    Mutant {
        name: "redis-wire-end-of-a-connection-is-told-to-nobody",
        file: "crates/lessor-redis/src/wire/line.rs",
        find: "filter_map(|entry| entry.slot.fill(Err(kind), None)).collect();",
        replace: "filter_map(|entry| entry.slot.fill(Err(kind), None).filter(|_| false)).collect();",
        test: unit("wire::tests::the_end_of_a_connection_wakes_everybody"),
    },
    Mutant {
        name: "redis-callers-wakers-run-on-the-thread-that-reads",
        file: "crates/lessor-core/src/notifier.rs",
        find: "if caller.in_place {",
        replace: "if caller.in_place || true {",
        test: redis(&["--test", "wakers"], "rule_15_a_waker_that_blocks_holds_up_neither"),
    },
];
