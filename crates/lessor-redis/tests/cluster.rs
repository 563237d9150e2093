//! The Redis store keeps every promise of the contract on a real cluster of three nodes too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lessor_core::rules::{Command, HolderCommand};
use lessor_core::store::{CasResult, ConditionalWrite, Scan};
use lessor_core::{Acquisition, Engine, Lease, Store, StoreError};
use lessor_redis::RedisStore;
use lessor_testkit::{Subject, conformance};
use nodes::{Cluster, NODES};
use records::{granted, is_there, key, now, over, put, put_old, written};
use support::Server;

#[path = "support/cluster.rs"]
mod nodes;
#[path = "support/records.rs"]
mod records;
mod support;

/// One cluster for all promises of the contract. Each promise uses its own prefix.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&[]))
}

fn open(cluster: &Cluster, prefix: &str) -> RedisStore {
    RedisStore::builder().settings(support::settings(prefix)).open(&cluster.url()).unwrap()
}

fn redis_cluster() -> Subject {
    Subject::on_real_clock(Arc::new(open(cluster(), &support::prefix())))
}

conformance!(redis_cluster);

/// Long enough for a few calls, and short enough to keep an outage short.
const DEADLINE: Duration = Duration::from_millis(1_500);

fn open_with_short_deadline(cluster: &Cluster, prefix: &str) -> RedisStore {
    let mut settings = support::settings(prefix);
    settings.deadline = DEADLINE;
    RedisStore::builder().settings(settings).open(&cluster.url()).unwrap()
}

fn name(prefix: &str, key: &str) -> String {
    format!("{prefix}:{}", key.replace('%', "%25").replace('{', "%7B").replace('}', "%7D"))
}

fn list(store: &RedisStore, limit: usize) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan(Scan::new("", after, limit)).wait().unwrap();
        keys.extend(page.entries.iter().map(|(key, _)| key.to_string()));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

#[test]
fn keys_are_distributed_listed_and_purged_on_all_nodes() {
    if !support::is_available() {
        return;
    }
    let cluster = Cluster::start(&[]);
    let store = open(&cluster, "spread");
    // If these names had hash tags, all of them would be on one node.
    let mut keys: Vec<String> = (0..60).map(|number| format!("{{tag}}{number:02}")).collect();
    keys.extend(["{}", "}{", "{", "%7Btag%7D00", "é{漢}", "{a}{b}"].map(str::to_owned));
    for key in &keys {
        put_old(&store, key, &over(now(&store)));
    }
    let sizes: Vec<usize> = (0..NODES).map(|node| cluster.size(node)).collect();
    println!("records on the nodes: {sizes:?}");
    assert!(sizes.iter().all(|size| *size >= keys.len() / 10), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), keys.len());
    keys.sort();
    assert_eq!(list(&store, 7), keys);
    let mut dropped = 0;
    for _ in 0..100 {
        dropped += store.purge(10).wait().unwrap().dropped;
    }
    assert_eq!(dropped, keys.len());
    assert_eq!((0..NODES).map(|node| cluster.size(node)).sum::<usize>(), 0);
}

/// Returns several keys of one slot.
fn keys_of_one_slot(cluster: &Cluster, prefix: &str, count: usize) -> (String, Vec<String>) {
    let slot = cluster.slot(&name(prefix, "k0"));
    let mut keys = vec!["k0".to_owned()];
    for number in 1_u64.. {
        if keys.len() == count {
            break;
        }
        let key = format!("k{number}");
        if nodes::slot_of(&name(prefix, &key)).to_string() == slot {
            keys.push(key);
        }
    }
    (slot, keys)
}

const PERMITTED: &str = "+get +set +del +pexpiretime +scan +eval +evalsha +eval_ro +evalsha_ro +time +info \
                         +client|tracking +client|caching +cluster|slots +cluster|nodes +asking";

#[test]
fn p5_a_slot_that_migrates_keeps_its_leases() {
    if !support::is_available() {
        return;
    }
    let mut cluster = Cluster::start(&[]);
    // The user has the documented permissions only.
    let permit = |node: &Server| {
        let user = format!("ACL SETUSER lessor on >word ~moving:* {PERMITTED}");
        assert_eq!(node.command(&user.split(' ').collect::<Vec<_>>()), "+OK");
    };
    cluster.nodes.iter().for_each(permit);
    let url = cluster.url().replace("://", "://lessor:word@");
    let store = Arc::new(RedisStore::builder().settings(support::settings("moving")).open(&url).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    let (slot, keys) = keys_of_one_slot(&cluster, "moving", 6);
    let from = cluster.owner(&name("moving", "k0"));
    // A node that no client knows.
    cluster.add(&[]);
    let to = cluster.nodes.len() - 1;
    permit(&cluster.nodes[to]);
    let take = |key: &str| match engine.acquire(key).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    };
    let is_held = |key: &str| matches!(engine.acquire(key).wait().unwrap(), Acquisition::InProgress(_));
    let early: Vec<Lease> = keys[..3].iter().map(|key| take(key)).collect();
    cluster.begin_to_move(&slot, from, to);
    // Existing keys are still on the old node. New keys go to the new node.
    assert!(keys[..3].iter().all(|key| is_held(key)));
    let late = take(&keys[3]);
    assert_eq!(cluster.size(to), 1);
    assert!(is_held(&keys[3]));
    assert_eq!(list(&store, 100), sorted(&keys[..4]));
    assert_eq!(cluster.move_records(&slot, from, to), 3);
    assert_eq!(cluster.size(to), 4);
    assert!(keys[..4].iter().all(|key| is_held(key)));
    assert_eq!(list(&store, 100), sorted(&keys[..4]));
    for lease in early.iter().chain([&late]) {
        lease.extend(Duration::from_secs(1000)).wait().unwrap();
    }
    let last = take(&keys[4]);
    cluster.end_move(&slot, from, to);
    assert!(keys[..5].iter().all(|key| is_held(key)));
    assert_eq!(list(&store, 100), sorted(&keys[..5]));
    for lease in early.into_iter().chain([late, last]) {
        lease.complete_bytes(b"done").wait().unwrap();
    }
    for key in &keys[..5] {
        assert!(matches!(engine.acquire(key).wait().unwrap(), Acquisition::Completed(_)), "{key}");
    }
    drop(take(&keys[5]));
    assert_eq!(cluster.size(to), 6);
}

fn sorted(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys
}

#[test]
fn p1_p6_leases_are_granted_once_while_slots_migrate_back_and_forth() {
    if !support::is_available() {
        return;
    }
    let rounds = number("LESSOR_MOVES", 10);
    let cluster = Cluster::start(&[]);
    let (slot, keys) = keys_of_one_slot(&cluster, "fro", 8);
    let first = cluster.owner(&name("fro", "k0"));
    let (is_over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let busy: Vec<AtomicBool> = keys.iter().map(|_| AtomicBool::new(false)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let engine = Engine::new(Arc::new(open(&cluster, "fro"))).unwrap();
                while !is_over.load(Ordering::SeqCst) {
                    for (key, busy) in keys.iter().zip(&busy) {
                        let acquired = engine.acquire(key.as_str()).wait().unwrap();
                        let Acquisition::Acquired(lease) = acquired else { continue };
                        assert!(!busy.swap(true, Ordering::SeqCst), "{key} was granted to two");
                        lease.extend(Duration::from_secs(1000)).wait().unwrap();
                        busy.store(false, Ordering::SeqCst);
                        lease.release().wait().unwrap();
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let (mut from, mut to) = (first, (first + 1) % NODES);
        for _ in 0..rounds {
            let before = done.load(Ordering::SeqCst);
            cluster.begin_to_move(&slot, from, to);
            // Keys that are created meanwhile are on the new node already.
            while cluster.move_records(&slot, from, to) > 0 {}
            cluster.end_move(&slot, from, to);
            (from, to) = (to, (to + 1) % NODES);
            nodes::wait_for("leases after a move", || done.load(Ordering::SeqCst) > before + 20);
        }
        is_over.store(true, Ordering::SeqCst);
    });
    println!("{rounds} moves, {} leases", done.load(Ordering::SeqCst));
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// Returns keys that are on one node, and keys that are on the others.
fn split(cluster: &Cluster, prefix: &str, node: usize) -> (Vec<String>, Vec<String>) {
    let keys = (0..40).map(|number| format!("key {number}"));
    keys.partition(|key| cluster.owner(&name(prefix, key)) == node)
}

#[test]
fn p5_a_node_that_is_down_makes_only_its_own_keys_unavailable_until_it_returns() {
    if !support::is_available() {
        return;
    }
    // Otherwise the remaining nodes would reject every command.
    let mut cluster = Cluster::start(&[DURABLE, &["--cluster-require-full-coverage", "no"]].concat());
    let store = open_with_short_deadline(&cluster, "down");
    let (lost, kept) = split(&cluster, "down", 1);
    for key in lost.iter().chain(&kept) {
        assert!(matches!(put(&store, key, &granted(now(&store)).0), Ok(CasResult::Written)));
    }
    cluster.nodes[1].kill();
    let error = is_there(&store, &lost[0]).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    for key in &kept {
        assert_eq!(is_there(&store, key).ok(), Some(true), "{key}");
    }
    let new = granted(now(&store)).0;
    let error = put(&store, &format!("{} new", lost[0]), &new);
    assert!(matches!(error, Ok(CasResult::Written) | Err(StoreError::Unavailable(_))), "{error:?}");
    // A listing without the keys of one node would be incomplete, so it fails.
    let query = Scan::new("", None, 10);
    assert!(matches!(store.scan(query).wait(), Err(StoreError::Unavailable(_))));
    // A store that is opened now can still use the other nodes.
    let late = open_with_short_deadline(&cluster, "down");
    assert_eq!(is_there(&late, &kept[0]).ok(), Some(true));
    cluster.nodes[1].restart();
    for store in [&store, &late] {
        nodes::wait_for("the node to be found again", || is_there(store, &lost[0]).is_ok());
        for key in lost.iter().chain(&kept) {
            nodes::wait_for("every key", || is_there(store, key).is_ok_and(|it| it));
        }
        assert!(list(store, 10).len() >= lost.len() + kept.len());
    }
}

#[test]
fn p5_a_node_that_hangs_delays_only_its_own_keys_and_at_most_until_the_deadline() {
    if !support::is_available() {
        return;
    }
    let options = ["--cluster-require-full-coverage", "no", "--cluster-node-timeout", "60000"];
    let cluster = Cluster::start(&options);
    let store = open_with_short_deadline(&cluster, "hang");
    let (lost, kept) = split(&cluster, "hang", 2);
    let (grant, lease_id) = granted(now(&store));
    let extend = Command::Holder(lease_id, HolderCommand::Extend { ttl: Duration::from_secs(9_000) });
    let next = written(Some(&grant), &extend, now(&store), Duration::from_secs(60));
    for key in lost[..2].iter().chain(&kept) {
        assert!(matches!(put(&store, key, &grant), Ok(CasResult::Written)));
    }
    // From now on the server has the script.
    put_old(&store, &lost[2], &next);
    cluster.nodes[2].signal("-STOP");
    let change = ConditionalWrite::new(Some(&grant), &next);
    // The write was sent. It is executed once the node continues.
    let error = lessor_testkit::swap(&store, &key(&lost[0]), &change).wait();
    assert!(matches!(error, Err(StoreError::Indeterminate(_))), "{error:?}");
    for key in &kept {
        assert_eq!(is_there(&store, key).ok(), Some(true), "{key}");
    }
    let error = is_there(&store, &lost[1]);
    assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
    let error = lessor_testkit::swap(&store, &key(&lost[1]), &change).wait();
    assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
    cluster.nodes[2].signal("-CONT");
    nodes::wait_for("the node to go on", || is_there(&store, &lost[0]).is_ok_and(|it| it));
    let read = |text: &str| store.load(&key(text)).wait().unwrap().record.unwrap();
    assert_eq!(read(&lost[0]), next, "the request that had arrived was executed");
    assert_eq!(read(&lost[1]), grant, "the unavailable writes were not executed");
}

const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// Regression: the client library's cluster connections send a command again when the connection
/// breaks, although it may have been executed. If the second attempt was rejected, because the
/// cluster was down meanwhile, a write that had taken effect was reported as unavailable.
#[test]
fn p5_results_are_reported_correctly_when_a_node_is_killed() {
    if !support::is_available() {
        return;
    }
    let rounds = number("LESSOR_KILLS", 3);
    let mut cluster = Cluster::start(DURABLE);
    let (mut outcomes, mut kinds) = (Vec::new(), [0; 3]);
    for round in 0..rounds {
        let store = &open_with_short_deadline(&cluster, "kill");
        let is_over = &AtomicBool::new(false);
        let stored = &AtomicU64::new(0);
        let writers = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..6)
                .map(|writer| {
                    scope.spawn(move || {
                        let mut outcomes = Vec::new();
                        while !is_over.load(Ordering::SeqCst) {
                            let key = format!("{round} {writer} {}", outcomes.len());
                            let outcome = put(store, &key, &granted(now(store)).0);
                            stored.fetch_add(u64::from(outcome.is_ok()), Ordering::SeqCst);
                            outcomes.push((key, outcome));
                        }
                        outcomes
                    })
                })
                .collect();
            nodes::wait_for("some writes", || stored.load(Ordering::SeqCst) > 300);
            let node = usize::try_from(round).unwrap() % NODES;
            cluster.nodes[node].kill();
            std::thread::park_timeout(Duration::from_millis(700 * (round % 4)));
            cluster.nodes[node].restart();
            let before = stored.load(Ordering::SeqCst);
            cluster.wait_until_ok();
            nodes::wait_for("writes again", || stored.load(Ordering::SeqCst) > before + 300);
            is_over.store(true, Ordering::SeqCst);
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        outcomes.extend(writers);
    }
    let store = open(&cluster, "kill");
    for (key, outcome) in outcomes {
        // A node that was started again may report the cluster as down once more.
        let read = std::cell::Cell::new(None);
        nodes::wait_for("the record can be read", || {
            read.set(is_there(&store, &key).ok());
            read.get().is_some()
        });
        let is_there = read.get().unwrap();
        match &outcome {
            Ok(CasResult::Written) => assert!(is_there, "{key} was acknowledged and is lost"),
            Err(StoreError::Unavailable(cause)) => {
                let reason = cause.reason();
                assert!(!is_there, "{key} was not to happen: {reason}");
            }
            Err(StoreError::Indeterminate(_)) => {}
            other => panic!("{key}: {other:?}"),
        }
        kinds[match outcome {
            Ok(_) => 0,
            Err(StoreError::Unavailable(_)) => 1,
            Err(_) => 2,
        }] += 1;
    }
    println!("{rounds} kills; writes stored, unavailable, indeterminate: {kinds:?}");
}

#[test]
fn waiters_on_every_node_are_woken_by_writes_of_another_process() {
    if !support::is_available() {
        return;
    }
    let cluster = cluster();
    let prefix = support::prefix();
    let mut settings = lessor_core::Settings::default();
    // Polling alone would take two minutes for all waiters.
    settings.schedule.poll_every = Duration::from_secs(5);
    let waiting = Engine::with_settings(Arc::new(open(cluster, &prefix)), settings).unwrap();
    let working = Engine::new(Arc::new(open(cluster, &prefix))).unwrap();
    let woken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let waiters = scope.spawn(|| {
            for number in 0..24 {
                let acquired = working.acquire(&format!("{number}")).wait().unwrap();
                let Acquisition::Acquired(lease) = acquired else { panic!("{acquired:?}") };
                std::thread::scope(|scope| {
                    let run = || {
                        waiting.once(format!("{number}")).run(|_| Ok::<_, String>(0)).unwrap().into_value()
                    };
                    let waiter = scope.spawn(run);
                    std::thread::park_timeout(Duration::from_millis(20));
                    lease.complete(&1).wait().unwrap();
                    assert_eq!(waiter.join().unwrap(), 1);
                });
                woken.fetch_add(1, Ordering::SeqCst);
            }
        });
        nodes::wait_for("all to be woken", || woken.load(Ordering::SeqCst) == 24 || waiters.is_finished());
    });
    assert_eq!(woken.load(Ordering::SeqCst), 24);
}

#[test]
fn a_wrong_cluster_address_is_a_clear_error() {
    if !support::is_available() {
        return;
    }
    let single = Server::volatile();
    let open = |url: &str| {
        RedisStore::builder().settings(support::settings("none")).open(url).unwrap_err().to_string()
    };
    let error = open(&format!("redis+cluster://127.0.0.1:{}", single.port));
    assert!(error.contains("is not part of a cluster"), "{error}");
    let error = open(&format!("redis+cluster://127.0.0.1:{}", support::free_port()));
    assert!(error.contains("no connection to 127.0.0.1"), "{error}");
    // A node of a cluster is opened as if it were a single server.
    let store = RedisStore::builder().settings(support::settings("one")).open(&cluster().nodes[0].url());
    let store = store.unwrap();
    let keys: Vec<String> = (0..10).map(|number| format!("{number}")).collect();
    let errors = keys.iter().filter_map(|key| is_there(&store, key).err());
    let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
    assert!(errors.iter().any(|error| error.contains("redis+cluster://")), "{errors:?}");
}
