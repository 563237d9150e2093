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
const WINDOW: Test = redis(CLOCK, "p7_a_time_window_is_checked_with_the_servers_clock");
const ANSWERED_LATE: Test = redis(OUTAGES, "p2_a_fresh_grant_with_a_late_reply");
const SENT_ONCE: Test = redis(OUTAGES, "p6_a_request_is_sent_once_whatever_happens");
const NAMES: Test = unit("config::prefix::tests::names_of_different_keys_differ_and_decode_to_the_same_keys");
const UNFIT: Test = redis(CHECKS, "opening_a_store_rejects_reports_or_accepts");
const WIRE: Test =
    unit("transport::tests::p6_every_reply_reaches_its_own_caller_whichever_party_writes_and_reads");
const SLOT_MOVES: Test = redis(CLUSTER, "p5_a_slot_that_migrates");

pub(crate) const REDIS: &[Mutant] = &[
    Mutant {
        name: "redis-script-does-not-compare-the-record",
        file: "crates/lessor-redis/src/protocol/scripts.rs",
        find: "if current ~= expected then",
        replace: "if not current and expected then",
        test: redis(CONFORMANCE, "on_the_real_clock::swapping::swap_compares_the_version"),
    },
    Mutant {
        name: "redis-script-ignores-not-after",
        file: "crates/lessor-redis/src/protocol/scripts.rs",
        find: "if now < tonumber(ARGV[4]) or now >= tonumber(ARGV[5]) then",
        replace: "if now < tonumber(ARGV[4]) then",
        test: redis(CONFORMANCE, "on_a_manual_clock::windows::"),
    },
    Mutant {
        name: "redis-script-ignores-not-before",
        file: "crates/lessor-redis/src/protocol/scripts.rs",
        find: "if now < tonumber(ARGV[4]) or now >= tonumber(ARGV[5]) then",
        replace: "if now >= tonumber(ARGV[5]) then",
        test: redis(CONFORMANCE, "on_a_manual_clock::windows::"),
    },
    Mutant {
        name: "redis-window-is-checked-with-the-callers-clock",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "        if let Some((not_before, not_after)) = change.window {",
        replace: "        let now = self.manager.context.clock.now();\n        if let Some((not_before, not_after)) = change.window\n            && (now < not_before || not_after.is_some_and(|end| now >= end))\n        {",
        test: WINDOW,
    },
    Mutant {
        name: "redis-timed-out-write-is-reported-as-unavailable",
        file: "crates/lessor-redis/src/manager/calls.rs",
        find: "                Err(no_reply(effect, cause))",
        replace: "                Err(no_reply(Effect::Read, cause))",
        test: redis(OUTAGES, "p6_no_request_follows_one_whose_reply_is_late"),
    },
    Mutant {
        name: "redis-broken-connection-is-reported-as-unavailable",
        file: "crates/lessor-redis/src/protocol/errors.rs",
        find: "error: no_reply(effect, cause), breaks_connection: true",
        replace: "error: no_reply(Effect::Read, cause), breaks_connection: effect == Effect::Read || effect == Effect::Write",
        test: SENT_ONCE,
    },
    Mutant {
        name: "redis-unknown-script-is-not-sent-in-full",
        file: "crates/lessor-redis/src/manager/calls.rs",
        find: "if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),",
        replace: "if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) && effect == Effect::Read => Ok(None),",
        test: redis(OUTAGES, "a_server_that_loses_its_scripts"),
    },
    Mutant {
        name: "redis-command-is-sent-again-after-the-connection-broke",
        file: "crates/lessor-redis/src/store/shared.rs",
        find: "let value = match self.manager.call_script(&command, effect, call.tracking, deadline).await? {",
        replace: "let value = match self.manager.call_script(&command, effect, call.tracking, deadline).await {\n            Err(StoreError::Indeterminate(_)) => Box::pin(self.manager.call_script(&command, effect, call.tracking, deadline)).await?,\n            other => other?,\n        };\n        let value = match value {",
        test: SENT_ONCE,
    },
    Mutant {
        name: "redis-fresh-grant-is-sent-again-after-the-connection-broke",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "            reply => reply?,\n        };\n        match reply {",
        replace: "            Err(StoreError::Indeterminate(_)) => Box::pin(self.manager.call(&command, Effect::Write, deadline)).await?,\n            reply => reply?,\n        };\n        match reply {",
        test: SENT_ONCE,
    },
    Mutant {
        name: "redis-clock-counts-from-the-reply",
        file: "crates/lessor-redis/src/node/clock.rs",
        find: "(offset_of(server_time, received), offset_of(server_time, sent))",
        replace: "(offset_of(server_time, received), offset_of(server_time, received.max(sent)))",
        test: unit("node::clock::tests::p7_now_is_not_behind_the_server_when_its_reply_is_delayed"),
    },
    Mutant {
        name: "redis-clock-runs-backwards",
        file: "crates/lessor-redis/src/node/clock.rs",
        find: "self.last_returned = self.last_returned.max(self.latest(local).saturating_add(lead));",
        replace: "self.last_returned = self.latest(local).saturating_add(lead);",
        test: unit("node::clock::tests::p7_now_never_runs_backwards"),
    },
    Mutant {
        name: "redis-clock-ignores-drift",
        file: "crates/lessor-redis/src/node/clock.rs",
        find: "i64::try_from(passed.div_ceil(DRIFT))",
        replace: "i64::try_from(passed / DRIFT)",
        test: unit("node::clock::tests::p7_now_is_not_behind_a_fast_server"),
    },
    Mutant {
        name: "redis-clock-follows-the-node-that-is-furthest-behind",
        file: "crates/lessor-redis/src/node/clock.rs",
        find: "all.map(|(_, most)| local.saturating_add_signed(most)).max()",
        replace: "all.map(|(_, most)| local.saturating_add_signed(most)).min()",
        test: unit("node::clock::tests::p7_now_is_not_behind_the_node_that_is_furthest_ahead"),
    },
    Mutant {
        name: "redis-server-expires-records-at-the-end-of-retention",
        file: "crates/lessor-redis/src/protocol/arrival.rs",
        find: "purge_at(record).saturating_add(EXPIRY_MARGIN)",
        replace: "purge_at(record).saturating_add(EXPIRY_MARGIN / 3600)",
        test: redis(CLOCK, "p9_the_server_expires_a_record"),
    },
    Mutant {
        name: "redis-purge-ignores-the-age-of-tokens",
        file: "crates/lessor-redis/src/protocol/arrival.rs",
        find: "record.purge_at().max(token_time(record).saturating_add(MIN_PURGE_AGE))",
        replace: "record.purge_at().max(token_time(record))",
        test: redis(CLOCK, "p2_a_record_is_purged_once_its_token"),
    },
    Mutant {
        name: "redis-purge-uses-the-callers-clock",
        file: "crates/lessor-redis/src/protocol/scripts.rs",
        find: "if at < 0 or at - tonumber(ARGV[1]) > time[1] * 1000 + math.floor(time[2] / 1000) then",
        replace: "if at < 0 then",
        test: redis(CLOCK, "p9_no_record_is_purged_early"),
    },
    Mutant {
        name: "redis-purge-ignores-writes",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "self.next_purge.fetch_min(change.purge_at.as_micros(), Ordering::Relaxed);",
        replace: "let _ = self.next_purge.load(Ordering::Relaxed);",
        test: redis(CLOCK, "p2_a_record_is_purged_once_its_token"),
    },
    Mutant {
        name: "redis-old-token-is-granted",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "saturating_since(token) >= MAX_ARRIVAL_DELAY",
        replace: "saturating_since(token) >= MAX_ARRIVAL_DELAY * 1000",
        test: redis(CONFORMANCE, "on_the_real_clock::purging::p2_a_delayed_grant"),
    },
    Mutant {
        name: "redis-grant-with-a-late-reply-counts",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "Value::Nil if self.is_too_old(change.token) =>",
        replace: "Value::Nil if self.is_too_old(change.token) && change.records.is_empty() =>",
        test: ANSWERED_LATE,
    },
    Mutant {
        name: "redis-late-grant-is-accepted-by-reading",
        file: "crates/lessor-redis/src/store/shared.rs",
        find: "record.filter(|record| !arrived_late(record, reply.expires_ms));",
        replace: "record.filter(|record| arrived_late(record, reply.expires_ms) || true);",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_taken_when_its_writer_reads_it"),
    },
    Mutant {
        name: "redis-late-grant-is-returned-to-its-lease-id",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "let is_in_doubt = may_have_arrived_late(&record, now) || change.record.same_holder(&record);",
        replace: "let is_in_doubt = record.is_held_by(&lessor_core::LeaseId::from_bytes([0; 16]));",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_handed_out_to_its_own_lease_id"),
    },
    Mutant {
        name: "redis-late-grant-is-listed",
        file: "crates/lessor-redis/src/store/scan.rs",
        find: "        self.drop_late_grants(&mut entries, latest).await?;\n",
        replace: "        self.drop_late_grants(&mut Vec::new(), latest).await?;\n",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_never_returned"),
    },
    Mutant {
        name: "redis-fresh-grant-has-no-arrival-time",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: ".arg(\"PX\").arg(lifetime);",
        replace: ".arg(\"PXAT\").arg(change.expires_ms.max(lifetime));",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_taken_when_its_writer_reads_it"),
    },
    Mutant {
        name: "redis-late-grant-blocks-other-grants",
        file: "crates/lessor-redis/src/protocol/scripts.rs",
        find: "redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[2]) then",
        replace: "redis.call('PEXPIRETIME', KEYS[1]) == tonumber(ARGV[2]) then",
        test: redis(LATE, "p2_a_grant_that_arrived_after_a_purge_is_not_handed_out_to_its_own_lease_id"),
    },
    Mutant {
        name: "redis-script-makes-a-late-grant",
        file: "crates/lessor-redis/src/store/encoded_change.rs",
        find: "let latest = if is_fresh { token.checked_add(MAX_ARRIVAL_DELAY) } else { None };",
        replace: "let latest = if is_fresh { token.checked_add(MAX_ARRIVAL_DELAY * 1000) } else { None };",
        test: redis(LATE, "p2_a_script_does_not_make_a_grant_that_arrives_late"),
    },
    Mutant {
        name: "redis-server-is-not-probed",
        file: "crates/lessor-redis/src/manager/connection_manager.rs",
        find: "        probe(context, endpoint, &mut connection, |_| true).await?;\n",
        replace: "        probe(context, endpoint, &mut connection, |_| false).await?;\n",
        test: redis(REFUSED, "a_server_without_a_required_command"),
    },
    Mutant {
        name: "redis-eviction-is-checked-only-once",
        file: "crates/lessor-redis/src/manager/connection_manager.rs",
        find: "if round % CHECK_EVERY == 0 {",
        replace: "if round % CHECK_EVERY == CHECK_EVERY {",
        test: redis(CHECKS, "eviction_enabled_later"),
    },
    Mutant {
        name: "redis-replies-before-the-check-have-no-limit",
        file: "crates/lessor-redis/src/transport/socket.rs",
        find: "max_reply_len: AtomicUsize::new(MAX_REPLY_BEFORE_CHECK),",
        replace: "max_reply_len: AtomicUsize::new(MAX_REPLY_BEFORE_CHECK * 1000),",
        test: redis(REFUSED, "a_hostile_server_cannot"),
    },
    Mutant {
        name: "redis-error-quotes-arguments",
        file: "crates/lessor-redis/src/protocol/errors.rs",
        find: "detail.split(\"with args beginning with\").next()",
        replace: "detail.split(\"\\0\").next()",
        test: unit("protocol::errors::tests::an_error_reply_is_never_indeterminate"),
    },
    Mutant {
        name: "redis-calls-have-no-limit",
        file: "crates/lessor-redis/src/store/budget.rs",
        find: "before.saturating_add(charge.bytes) > MAX_BYTES {",
        replace: "before.saturating_add(charge.bytes) > MAX_BYTES * 1000 {",
        test: unit("store::budget::tests::calls_are_admitted"),
    },
    Mutant {
        name: "redis-abandoned-calls-have-no-limit",
        file: "crates/lessor-redis/src/transport/reply.rs",
        find: "before.saturating_add(bytes) > MAX_UNCLAIMED {",
        replace: "before.saturating_add(bytes) > MAX_UNCLAIMED * 1000 {",
        test: unit("transport::tests::unclaimed_replies_are_limited"),
    },
    Mutant {
        name: "redis-write-takes-the-whole-deadline",
        file: "crates/lessor-redis/src/manager/calls.rs",
        find: "self.context.settings.deadline / 2",
        replace: "self.context.settings.deadline / 1",
        test: redis(OUTAGES, "a_write_and_the_read"),
    },
    Mutant {
        name: "redis-forked-child-uses-the-connection",
        file: "crates/lessor-redis/src/manager/connection_manager.rs",
        find: "if process == std::process::id() {",
        replace: "if process > 0 {",
        test: unit("manager::connection_manager::tests::a_store_works_only"),
    },
    Mutant {
        name: "redis-purge-begins-at-the-first-name-again",
        file: "crates/lessor-redis/src/store/purge.rs",
        find: "*self.purging.lock() = Some(pass);",
        replace: "drop(pass);",
        test: redis(OUTAGES, "a_purge_in_many_calls"),
    },
    Mutant {
        name: "redis-names-are-not-escaped",
        file: "crates/lessor-redis/src/config/prefix.rs",
        find: "'%' => out.push_str(\"%25\"),",
        replace: "",
        test: NAMES,
    },
    Mutant {
        name: "redis-names-have-a-clusters-tags",
        file: "crates/lessor-redis/src/config/prefix.rs",
        find: "if !key.bytes().any(|byte| b\"%{}\".contains(&byte)) {",
        replace: "if !key.bytes().any(|byte| b\"%\".contains(&byte)) {",
        test: NAMES,
    },
    Mutant {
        name: "redis-prefixes-may-collide",
        file: "crates/lessor-redis/src/config/prefix.rs",
        find: "b\"-_.\".contains(&byte)",
        replace: "b\"-_.:\".contains(&byte)",
        test: unit("config::prefix::tests::a_prefix_whose_names_could_collide"),
    },
    Mutant {
        name: "redis-full-server-cannot-be-read",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "if seen.record.is_some() { Ok(CasResult::Conflict(seen)) } else { Err(full) }",
        replace: "let _ = seen;\n        Err(full)",
        test: redis(OUTAGES, "a_full_server_is_a_clear_error"),
    },
    Mutant {
        name: "redis-deadline-is-ignored",
        file: "crates/lessor-redis/src/manager/calls.rs",
        find: "Poll::Pending => Pin::new(&mut expiry).poll(context).map(|()| None),",
        replace: "Poll::Pending => match Pin::new(&mut expiry).poll(context) {\n                    _ => Poll::Pending,\n                },",
        test: redis(OUTAGES, "a_server_busy_beyond_the_deadline"),
    },
    Mutant {
        name: "redis-connection-with-a-late-reply-is-kept",
        file: "crates/lessor-redis/src/manager/calls.rs",
        find: "                // Replies arrive in order, so the later ones on this connection would be late too.\n                self.drop_connection(&sent, cause.clone());\n",
        replace: "                let _ = &sent;\n",
        test: redis(OUTAGES, "p6_no_request_follows_one_whose_reply_is_late"),
    },
    Mutant {
        name: "redis-connection-to-a-replica-is-kept",
        file: "crates/lessor-redis/src/manager/calls.rs",
        find: "                if failure.breaks_connection {",
        replace: "                if failure.breaks_connection && error.code().is_none() {",
        test: redis(OUTAGES, "a_write_rejected_by_a_replica"),
    },
    Mutant {
        name: "redis-refusal-by-a-replica-does-not-count",
        file: "crates/lessor-redis/src/protocol/errors.rs",
        find: "error: unavailable(\"is a replica and rejects writes\"), breaks_connection: true",
        replace: "error: unavailable(\"is a replica and rejects writes\"), breaks_connection: false",
        test: unit("protocol::errors::tests::an_error_reply_is_never_indeterminate"),
    },
    Mutant {
        name: "redis-invalidation-messages-are-ignored",
        file: "crates/lessor-redis/src/node/invalidation.rs",
        find: "if push.kind != PushKind::Invalidate {",
        replace: "if push.kind == PushKind::Invalidate {",
        test: redis(WAITERS, "a_waiter_is_woken_by_another_stores_write"),
    },
    Mutant {
        name: "redis-own-changes-are-not-reported",
        file: "crates/lessor-redis/src/node/tracking.rs",
        find: "tracking.arg(\"TRACKING\").arg(\"ON\").arg(\"OPTIN\");",
        replace: "tracking.arg(\"TRACKING\").arg(\"ON\").arg(\"OPTIN\").arg(\"NOLOOP\");",
        test: redis(WAITERS, "a_waiter_is_woken_by_another_store_after_an_extension_by_its_own"),
    },
    Mutant {
        name: "redis-waker-that-panics-ends-a-thread",
        file: "crates/lessor-core/src/sync/wakers.rs",
        find: "if caller.in_place {",
        replace: "if caller.in_place || true {",
        test: unit("transport::wake::tests::a_panicking_waker_does_not_keep_others"),
    },
    Mutant {
        name: "redis-waiters-are-not-notified-of-a-new-connection",
        file: "crates/lessor-redis/src/manager/connection_manager.rs",
        find: "        // Changes made while there was no connection were not reported.\n        self.context.invalidation.engines.notify_all();\n",
        replace: "",
        test: redis(WAITERS, "during_and_after_a_lost_connection"),
    },
    Mutant {
        name: "redis-load-with-the-full-script-is-not-tracked",
        file: "crates/lessor-redis/src/store/shared.rs",
        find: "Box::pin(self.manager.call_script(&full, effect, call.tracking, deadline))",
        replace: "Box::pin(self.manager.call_script(&full, effect, false, deadline))",
        test: redis(WAITERS, "a_waiter_that_read_from_a_server_without_the_scripts"),
    },
    Mutant {
        name: "redis-slot-is-that-of-the-script",
        file: "crates/lessor-redis/src/cluster/slot.rs",
        find: "arg(if arg(0).starts_with(b\"EVAL\") { 3 } else { 1 })",
        replace: "arg(if arg(0).starts_with(b\"EVAL\") { 1 } else { 1 })",
        test: unit("cluster::slot::tests::slots_match_those_of_redis_servers"),
    },
    Mutant {
        name: "redis-migrating-slot-counts-as-moved",
        file: "crates/lessor-redis/src/cluster/router.rs",
        find: "true => Target::Ask(next),",
        replace: "true => {\n                    self.set_owner(slot, next);\n                    Target::Owner\n                }",
        test: SLOT_MOVES,
    },
    Mutant {
        name: "redis-importing-node-gets-no-asking",
        file: "crates/lessor-redis/src/cluster/router.rs",
        find: "Target::Ask(_) => Some(cmd(\"ASKING\")),",
        replace: "Target::Ask(_) => Some(cmd(\"TIME\")),",
        test: SLOT_MOVES,
    },
    Mutant {
        name: "redis-hanging-node-is-reported-as-unavailable",
        file: "crates/lessor-redis/src/cluster/router.rs",
        find: "            let mark = || *sent = Some(sent_to);",
        replace: "            let mark = || drop((sent_to, &sent));",
        test: redis(CLUSTER, "p5_a_node_that_hangs"),
    },
    Mutant {
        name: "redis-error-shows-the-password",
        file: "crates/lessor-redis/src/config/address.rs",
        find: "endpoint: hosts.to_owned()",
        replace: "endpoint: rest.to_owned()",
        test: unit("config::address::tests::p11_no_error_and_no_debug_shows_a_password"),
    },
    Mutant {
        name: "redis-replica-is-accepted-as-a-master",
        file: "crates/lessor-redis/src/node/inspect.rs",
        find: "            server.role == \"master\",\n",
        replace: "            !server.role.is_empty(),\n",
        test: UNFIT,
    },
    Mutant {
        name: "redis-evicting-server-is-accepted",
        file: "crates/lessor-redis/src/node/inspect.rs",
        find: "let is_kept = !server.has_memory_limit || server.maxmemory_policy == \"noeviction\";",
        replace: "let is_kept = !server.has_memory_limit || !server.maxmemory_policy.starts_with(\"allkeys\");",
        test: UNFIT,
    },
    Mutant {
        name: "redis-appendfsync-everysec-is-accepted",
        file: "crates/lessor-redis/src/node/inspect.rs",
        find: "fsync.is_none_or(|fsync| fsync == \"always\")",
        replace: "fsync.is_none_or(|fsync| fsync != \"no\")",
        test: UNFIT,
    },
    Mutant {
        name: "redis-late-reply-shows-an-ended-lease-as-live",
        file: "crates/lessor-redis/src/store/writes.rs",
        find: "if is_in_doubt || (from..=now).contains(&record.expires_at()) {",
        replace: "if is_in_doubt || (from..=from).contains(&record.expires_at()) {",
        test: redis(PROXY, "p7_p8_a_late_reply"),
    },
    Mutant {
        name: "redis-wire-unexpected-reply-is-ignored",
        file: "crates/lessor-redis/src/transport/reply_buffer.rs",
        find: "let entry = in_flight.front_mut().ok_or(ErrorKind::InvalidData)?;",
        replace: "let Some(entry) = in_flight.front_mut() else { continue };",
        test: unit("transport::tests::p6_unsolicited_and_malformed_replies"),
    },
    Mutant {
        name: "redis-wire-thread-waits-for-an-unpolled-reader",
        file: "crates/lessor-redis/src/transport/driver.rs",
        find: "let is_stuck = queue.reader != Reader::Thread && stall.is_stalled(queue.read_count, context);",
        replace: "let is_stuck = queue.reader == Reader::None && stall.is_stalled(queue.read_count, context);",
        test: unit("transport::tests::a_reading_caller_that_is_no_longer_polled_delays_no_other_caller"),
    },
    Mutant {
        name: "redis-wire-abandoned-reply-goes-to-the-next-caller",
        file: "crates/lessor-redis/src/transport/pending_reply.rs",
        find: "    fn drop(&mut self) {\n        self.socket.release_reader(self.reader_role());",
        replace: "    fn drop(&mut self) {\n        self.socket.queue.lock().in_flight.retain(|entry| !Arc::ptr_eq(&entry.slot, &self.slot));\n        self.socket.release_reader(self.reader_role());",
        test: WIRE,
    },
    Mutant {
        name: "redis-wire-unsent-requests-have-no-limit",
        file: "crates/lessor-redis/src/transport/socket.rs",
        find: "if queue.in_flight.len() >= MAX_IN_FLIGHT || queue.outgoing.len() >= MAX_UNSENT {",
        replace: "if queue.in_flight.len() >= MAX_IN_FLIGHT {",
        test: unit("transport::tests::p6_unsent_requests_wait_and_are_limited"),
    },
    Mutant {
        name: "redis-wire-end-of-a-connection-wakes-no-caller",
        file: "crates/lessor-redis/src/transport/socket.rs",
        find: "filter_map(|entry| entry.slot.fill(Err(kind), None)).collect();",
        replace: "filter_map(|entry| entry.slot.fill(Err(kind), None).filter(|_| false)).collect();",
        test: unit("transport::tests::the_end_of_a_connection_wakes_every_caller"),
    },
    Mutant {
        name: "redis-wakers-run-on-the-reading-thread",
        file: "crates/lessor-core/src/sync/wakers.rs",
        find: "if caller.in_place {",
        replace: "if caller.in_place || true {",
        test: redis(&["--test", "wakers"], "rule_15_a_blocking_waker_delays_neither"),
    },
];
