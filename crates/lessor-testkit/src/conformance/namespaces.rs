//! Namespaces and their quotas.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::{Engine, Error, Key, OnceError, Quota};

use super::Factory;
use super::stays_open::StaysOpen;
use super::tools::*;

fn names(engine: &Engine) -> Vec<String> {
    engine.namespaces(None, 100).wait().unwrap()
}

fn keys(engine: &Engine, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut after = None;
    loop {
        let page = engine.list().prefix(prefix).limit(1).after(after).wait().unwrap();
        keys.extend(page.entries.into_iter().map(|(key, _)| key.as_str().to_owned()));
        match page.next {
            None => return keys,
            next => after = next,
        }
    }
}

/// The same key of two namespaces, and outside of them, is granted to three holders at once. Each
/// has its own state, and a listing shows no key of another namespace.
pub fn keys_of_different_namespaces_never_meet(factory: Factory<'_>) {
    let subject = factory();
    let plain = subject.engine();
    let opened: Vec<Engine> =
        ["a", "a:", "{b}%"].iter().map(|name| plain.namespace(name).open().unwrap()).collect();
    let engines: Vec<&Engine> = std::iter::once(&plain).chain(&opened).collect();
    let (key, other) = ("a:{k}% é", "k2");
    let leases: Vec<_> = engines.iter().map(|engine| take(engine.acquire(key).ttl(LONG))).collect();
    for (number, (engine, lease)) in engines.iter().zip(&leases).enumerate() {
        assert_eq!(lease.key(), key);
        refused(engine.acquire(key).ttl(LONG));
        lease.complete(&number).wait().unwrap();
        for later in &engines[number + 1..] {
            assert!(later.status(key).wait().unwrap().unwrap().result::<usize>().is_err());
        }
        let _ = take(engine.acquire(other).ttl(LONG));
    }
    for (number, engine) in engines.iter().enumerate() {
        assert_eq!(status(engine, key).result::<usize>().unwrap(), number);
        assert_eq!(keys(engine, ""), [key, other]);
        assert_eq!(keys(engine, "k"), [other]);
        for hostile in ["\u{1}", "\u{1}a\u{1}", "\u{2}"] {
            assert_eq!(keys(engine, hostile), [""; 0]);
        }
    }
    assert!(opened[0].forget(key).wait().unwrap());
    assert_eq!(opened[0].status(key).wait().unwrap().map(|view| view.state()), None);
    assert_eq!(status(&plain, key).result::<usize>().unwrap(), 0);
    assert_eq!(names(&plain), ["a", "a:", "{b}%"]);
    assert_eq!(names(&opened[0]), names(&plain));
}

/// The texts of keys of namespaces with long names are stored and listed unchanged.
pub fn the_longest_keys_of_namespaces_can_be_stored(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let longest = |one: &str, count: usize| one.repeat(count);
    for one in ["x", "\u{1F980}"] {
        let tenant = engine.namespace(&longest(one, 64)).open().unwrap();
        let key = longest(one, 256);
        take(tenant.acquire(&key).ttl(LONG)).complete("done").wait().unwrap();
        assert_eq!(status(&tenant, &key).result::<String>().unwrap(), "done");
        assert_eq!(keys(&tenant, ""), [key]);
    }
    let texts: Vec<Key> = list(&**subject.store(), "", 10).into_iter().map(|(key, _)| key).collect();
    for text in texts {
        assert_eq!(Key::from_stored(text.as_str()).unwrap(), text);
    }
}

/// Many callers of two engines compete for the units of one quota. Exactly as many grants are made
/// as the quota allows, replays and refusals cost nothing, and the count is never below the grants.
pub fn a_quota_is_never_exceeded_and_used_up_completely(factory: Factory<'_>) {
    const LIMIT: u64 = 150;
    let subject = factory();
    let roots = [subject.engine(), subject.engine()];
    let engines: Vec<Engine> = roots
        .iter()
        .map(|engine| engine.namespace("tenant").quota(Quota::monthly(LIMIT).block(16)).open().unwrap())
        .collect();
    let granted = AtomicU64::new(0);
    race(RACERS, |racer| {
        let engine = &engines[racer % engines.len()];
        for number in 0.. {
            // Half of the keys are asked for twice.
            let key = format!("{}:{number}", racer / 2);
            match engine.once::<u64, String>(&key).run(|_| {
                granted.fetch_add(1, Ordering::SeqCst);
                Ok(number)
            }) {
                Ok(outcome) => assert_eq!(outcome.into_value(), number),
                Err(OnceError::Engine(Error::QuotaExceeded(_))) => break,
                Err(error) => panic!("{error}"),
            }
            let used = engine.usage().wait().unwrap().used();
            assert!(used <= LIMIT && granted.load(Ordering::SeqCst) <= LIMIT, "{used}");
        }
    });
    assert_eq!(granted.load(Ordering::SeqCst), LIMIT);
    // A racer that starts late may be granted nothing.
    let distinct: BTreeSet<String> = keys(&engines[0], "").into_iter().collect();
    let finished = distinct.first().unwrap();
    for engine in &engines {
        let usage = engine.usage().wait().unwrap();
        assert_eq!((usage.used(), usage.left()), (LIMIT, Some(0)));
        // A finished key is answered without a unit.
        assert!(engine.once::<u64, String>(finished).run(|_| unreachable!()).unwrap().is_replay());
        let error = refusal(engine.acquire("another").wait());
        assert!(matches!(&error, Error::QuotaExceeded(usage) if usage.used() == LIMIT), "{error}");
        assert_eq!(engine.status("another").wait().unwrap().map(|view| view.state()), None);
    }
    assert_eq!(distinct.len() as u64, LIMIT);
}

/// A process that closes its engine gives back what it has not used. One that crashes loses at most
/// a block, and never makes a grant that is not counted.
pub fn unused_units_are_given_back_by_close_and_lost_by_a_crash(factory: Factory<'_>) {
    let subject = factory().map_store(StaysOpen::over);
    let open =
        |engine: &Engine| engine.namespace("tenant").quota(Quota::unlimited().block(8)).open().unwrap();
    let observer = open(&subject.engine());
    let used = || observer.usage().wait().unwrap().used();
    {
        let engine = open(&subject.engine());
        let _leases = ["a", "b", "a"].map(|key| engine.acquire(key).ttl(LONG).wait().unwrap());
        assert_eq!((engine.usage().wait().unwrap().used(), used()), (2, 8));
        // Dropped without `close`, as after a crash.
    }
    assert_eq!(used(), 8);
    let engine = open(&subject.engine());
    take(engine.acquire("c").ttl(LONG)).complete("done").wait().unwrap();
    assert_eq!((engine.usage().wait().unwrap().used(), used()), (9, 16));
    engine.close(LONG).wait().unwrap();
    assert_eq!(used(), 9);
}
