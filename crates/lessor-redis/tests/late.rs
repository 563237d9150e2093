//! A `SET` is delayed in the network for longer than a purge takes. The record that it writes is
//! not a grant.
//!
//! The server's clock is set by the tests, so that ten minutes take no time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::{CasResult, ConditionalWrite, Scan};
use lessor_core::{Acquisition, Engine, LeaseId, Settings, Store, StoreError};
use lessor_redis::RedisStore;
use records::{granted, is_there, key, now, put};
use support::clocked::ClockedServer;
use support::proxy::{Fault, Proxy};
use tap::Tap;
use tools::eventually;

#[path = "support/records.rs"]
mod records;
mod support;
#[path = "support/tap.rs"]
mod tap;
#[path = "support/tools.rs"]
mod tools;

const MINUTE: i64 = 60_000_000;
const KEY: &str = "key";

/// A server, a store whose first `SET` is held by the proxy, and a second store without the proxy.
struct World {
    server: ClockedServer,
    proxy: Proxy,
    prefix: String,
    victim: Arc<RedisStore>,
    rival: Arc<RedisStore>,
}

impl World {
    fn new() -> Option<Self> {
        let server = support::is_available().then(ClockedServer::start)??;
        let prefix = support::prefix();
        let proxy = Proxy::start(server.port, Duration::ZERO);
        let mut settings = support::settings(&prefix);
        let open =
            |settings, url: &str| Arc::new(RedisStore::builder().settings(settings).open(url).unwrap());
        let rival = open(settings.clone(), &server.url());
        settings.deadline = Duration::from_millis(600);
        let victim = open(settings, &proxy.url());
        proxy.plan(&[(1, Fault::SetHeld)]);
        Some(Self { server, proxy, prefix, victim, rival })
    }

    fn rival(&self) -> Engine {
        let mut settings = Settings::default();
        settings.limits.retention = Duration::from_secs(1);
        Engine::with_settings(Arc::clone(&self.rival) as Arc<dyn Store>, settings).unwrap()
    }

    /// Another process acquires the key, completes it and purges the record. Then the held `SET`
    /// arrives. Returns the other process's token.
    fn undercut(&self) -> u64 {
        let rival = self.rival();
        let Acquisition::Acquired(lease) = rival.acquire(KEY).wait().unwrap() else { panic!("it is taken") };
        let token = lease.token().as_u64();
        lease.complete(&1).wait().unwrap();
        self.server.clock.set_off(11 * MINUTE);
        eventually("the record is purged", || {
            // The store samples the time with it.
            let _ = rival.status(KEY).wait().unwrap();
            let _ = rival.purge(10).wait().unwrap();
            self.server.command(&["EXISTS", &self.name()]) == ":0"
        });
        self.proxy.release();
        eventually("the SET has arrived", || self.server.command(&["EXISTS", &self.name()]) == ":1");
        token
    }

    fn name(&self) -> String {
        format!("{}:{KEY}", self.prefix)
    }
}

/// The story: a process acquires a key. Its request is delayed in the network, and the process is
/// suspended. Another process acquires the key with a higher token, completes it and purges the
/// record. Then the request arrives, and its reply is lost. The first process continues, reads the
/// record, recognises its own write and takes the lease, with a token below the other's.
#[test]
fn p2_a_grant_that_arrived_after_a_purge_is_not_taken_when_its_writer_reads_it() {
    let Some(world) = World::new() else { return };
    let world = Arc::new(world);
    let (theirs, token) = (Arc::clone(&world), Arc::new(std::sync::OnceLock::new()));
    let rival_token = Arc::clone(&token);
    let tap = Tap::new(&world.victim).on_indeterminate(move || {
        rival_token.get_or_init(|| theirs.undercut());
    });
    let victim = Engine::new(tap.store()).unwrap();
    let lease_id = LeaseId::random().unwrap();
    // On a busy machine, the read may take too long as well.
    let acquire = || victim.acquire(KEY).lease_id(lease_id).ttl(Duration::from_hours(1)).wait();
    let Acquisition::Acquired(lease) = tools::retry_while_down(acquire) else { panic!("it is taken") };
    let undercut = *token.get().expect("the write was indeterminate");
    assert!(lease.token().as_u64() > undercut, "{} after {undercut}", lease.token());
}

/// The story: as above, but the first process sends its acquire again with the same lease id. The
/// conflict returns the record with that lease id, so the engine reports the lease as granted.
#[test]
fn p2_a_grant_that_arrived_after_a_purge_is_not_handed_out_to_its_own_lease_id() {
    let Some(world) = World::new() else { return };
    let (grant, lease_id) = granted(now(&world.victim));
    let lost = put(&world.victim, KEY, &grant);
    assert!(matches!(lost, Err(StoreError::Indeterminate(_))), "{lost:?}");
    let undercut = world.undercut();
    let engine = Engine::new(Arc::clone(&world.victim) as Arc<dyn Store>).unwrap();
    let again = tools::retry_while_down(|| engine.acquire(KEY).lease_id(lease_id).wait());
    let Acquisition::Acquired(lease) = again else { panic!("{again:?}") };
    assert!(lease.token().as_u64() > undercut, "{} after {undercut}", lease.token());
    assert!(!lease.is_duplicate());
}

/// No operation of the store returns such a record to any caller.
#[test]
fn p2_a_grant_that_arrived_after_a_purge_is_never_returned() {
    let Some(world) = World::new() else { return };
    let (grant, _) = granted(now(&world.victim));
    assert!(put(&world.victim, KEY, &grant).is_err());
    world.undercut();
    let store = &world.rival;
    assert!(!is_there(store, KEY).unwrap(), "load");
    let page = store.scan(Scan::new("", None, 10)).wait().unwrap();
    assert_eq!(page.entries.len(), 0, "scan");
    // A write by the script returns a conflicting record as well.
    let (other, _) = granted(now(store).saturating_sub(Duration::from_secs(1)));
    let (next, _) = granted(now(store));
    let change = ConditionalWrite::new(Some(&other), &next);
    match lessor_testkit::swap(&**store, &key(KEY), &change).wait().unwrap() {
        CasResult::Conflict(seen) => assert!(seen.record.is_none(), "swap"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.server.command(&["EXISTS", &world.name()]), ":1", "the late record is on the server");
}

/// A grant without an expected record that depends on the clock is written by a script, which
/// checks the age of the token itself.
#[test]
fn p2_a_script_does_not_make_a_grant_that_arrives_late() {
    let Some(world) = World::new() else { return };
    let store = &world.rival;
    for (age, is_made) in [(0, true), (4, true), (6, false)] {
        let text = format!("{age}");
        let (grant, _) = granted(now(store).saturating_sub(Duration::from_mins(age)));
        let not_before = Some(lessor_core::Timestamp::EPOCH);
        let change = ConditionalWrite::new(None, &grant).with_window(not_before, None);
        let swap = lessor_testkit::swap(&**store, &key(&text), &change).wait().unwrap();
        assert_eq!(matches!(swap, CasResult::Written), is_made, "{age}: {swap:?}");
        assert_eq!(is_there(store, &text).unwrap(), is_made);
    }
}
