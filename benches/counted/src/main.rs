//! Runs one operation COUNT times on one thread, for a program that counts instructions.
//!
//! The preparation depends on OF alone, so the difference between two runs is the operation itself.
//! The process ends without dropping anything, since the time that takes would depend on COUNT.

use std::mem::ManuallyDrop;
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Acquisition, Clock, Engine, Lease, Settings, Timestamp};
use lessor_counted::{Guard, HandDashMap, Outcome, Receipt, TTL, key};
use lessor_memory::MemoryStore;

const USAGE: &str = "usage: lessor-counted PATH COUNT OF, where PATH is one of\nfresh refused replayed extended lapsed once \
     rival-fresh rival-refused rival-replayed";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count, of] = &arguments[..] else { return usage() };
    let (Ok(count), Ok(of)) = (count.parse(), of.parse::<usize>()) else { return usage() };
    if count > of {
        return usage();
    }
    let keys: Vec<String> = (0..).map(|n| key(0, n)).take(of).collect();
    let (all, run) = (&keys[..], &keys[..count]);
    match path.as_str() {
        "fresh" => fresh(run),
        "refused" => refused(run),
        "replayed" => replayed(all, run),
        "extended" => extended(all, count),
        "lapsed" => lapsed(all, run),
        "once" => once(run),
        "rival-fresh" => rival_fresh(run),
        "rival-refused" => rival_refused(run),
        "rival-replayed" => rival_replayed(all, run),
        _ => return usage(),
    }
    exit(0)
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}

/// Leaks the value: the cost of dropping it depends on the number of records.
fn kept<T>(guard: T) -> &'static T {
    Box::leak(Box::new(guard))
}

/// Returns the engine that the benchmarks measure: in memory, on the machine's clock.
fn engine() -> &'static Engine {
    engine_over(MemoryStore::new())
}

fn engine_over(store: MemoryStore) -> &'static Engine {
    let mut settings = Settings::default();
    settings.limits.default_ttl = TTL;
    kept(Engine::with_settings(Arc::new(store), settings).expect("the settings are valid"))
}

fn acquire(engine: &Engine, key: &str) -> Acquisition {
    engine.acquire(key).wait().expect("acquire")
}

fn granted(engine: &Engine, key: &str) -> Lease {
    match acquire(engine, key) {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn complete(engine: &Engine, key: &str, receipt: &Receipt) {
    granted(engine, key).complete(receipt).wait().expect("complete");
}

fn fresh(run: &[String]) {
    let (engine, receipt) = (engine(), Receipt::new(1));
    for key in run {
        complete(engine, key, &receipt);
    }
}

fn refused(run: &[String]) {
    let engine = engine();
    let hot = key(1, 0);
    kept(granted(engine, &hot));
    for _ in run {
        assert!(matches!(acquire(engine, &hot), Acquisition::InProgress(view) if view.ttl_left().is_some()));
    }
}

fn replayed(all: &[String], run: &[String]) {
    let (engine, receipt) = (engine(), Receipt::new(1));
    for key in all {
        complete(engine, key, &receipt);
    }
    for key in run {
        let Acquisition::Completed(view) = acquire(engine, key) else { panic!("not completed") };
        assert_eq!(view.result::<Receipt>().expect("a receipt"), receipt);
    }
}

fn extended(all: &[String], count: usize) {
    let engine = engine();
    let leases: &Vec<Lease> = kept(all.iter().map(|key| granted(engine, key)).collect());
    for lease in &leases[..count] {
        lease.extend(TTL).wait().expect("extend");
    }
}

fn lapsed(all: &[String], run: &[String]) {
    let clock = Arc::new(HandClock(AtomicU64::new(1_767_225_600_000_000)));
    let engine = engine_over(MemoryStore::with_clock(clock.clone()));
    for key in all {
        kept(granted(engine, key));
    }
    clock.0.fetch_add(u64::try_from((TTL * 2).as_micros()).expect("minutes"), Ordering::Relaxed);
    for key in run {
        // The background thread releases abandoned leases.
        let lease = ManuallyDrop::new(granted(engine, key));
        assert_eq!(lease.attempt(), 2);
    }
}

/// Requests each key for the first time, and once again.
fn once(run: &[String]) {
    let (engine, receipt) = (engine(), Receipt::new(1));
    let once = |key| engine.once(key).run(|_| Ok::<_, String>(receipt.clone())).expect("once");
    for key in run {
        assert!(!once(key).is_replay());
        assert!(once(key).is_replay());
    }
}

fn rival_fresh(run: &[String]) {
    let (guard, receipt) = (kept(HandDashMap::default()), Receipt::new(1));
    for key in run {
        assert_eq!(guard.run(key, &receipt), Outcome::Done);
    }
}

fn rival_refused(run: &[String]) {
    let (guard, receipt) = (kept(HandDashMap::default()), Receipt::new(1));
    let hot = key(1, 0);
    guard.hold(&hot);
    for _ in run {
        assert!(matches!(guard.run(&hot, &receipt), Outcome::Refused(left) if left > Duration::ZERO));
    }
}

fn rival_replayed(all: &[String], run: &[String]) {
    let (guard, receipt) = (kept(HandDashMap::default()), Receipt::new(1));
    for key in all {
        guard.run(key, &receipt);
    }
    for key in run {
        assert_eq!(guard.run(key, &receipt), Outcome::Replayed(receipt.clone()));
    }
}

/// A clock that advances only when it is set.
#[derive(Debug)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed)).expect("before 2255")
    }
}
