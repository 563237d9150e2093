//! The granting of leases, and their tokens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lessor_core::{Acquisition, State};

use super::Factory;
use super::tools::*;

const ROUNDS: usize = 40;

/// If many threads acquire a new key, exactly one is granted the lease. The others get *in
/// progress*.
pub fn p1_one_of_many_callers_is_granted_the_lease(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    for round in 0..ROUNDS {
        let key = format!("round {round}");
        let answers = race(RACERS, |_| engine.acquire(&key).ttl(LONG).wait().expect("the store works"));
        let granted = answers.iter().filter(|answer| matches!(answer, Acquisition::Acquired(_))).count();
        assert_eq!(granted, 1, "number of grants of {key}");
        for answer in &answers {
            assert!(matches!(answer, Acquisition::Acquired(_) | Acquisition::InProgress(_)), "{answer:?}");
        }
    }
}

/// The leases of threads that acquire and release one key repeatedly never overlap, and their
/// tokens rise.
pub fn p1_leases_of_a_key_never_overlap(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let inside = AtomicBool::new(false);
    let (grants, last_token) = (AtomicU64::new(0), AtomicU64::new(0));
    race(RACERS, |_| {
        while grants.load(Ordering::SeqCst) < 200 {
            let Acquisition::Acquired(lease) = engine.acquire("k").ttl(LONG).wait().expect("the store works")
            else {
                continue;
            };
            assert!(!inside.swap(true, Ordering::SeqCst), "two holders at the same time");
            grants.fetch_add(1, Ordering::SeqCst);
            let token = lease.token().as_u64();
            let former = last_token.swap(token, Ordering::SeqCst);
            assert!(token > former, "token {token} after {former}");
            inside.store(false, Ordering::SeqCst);
            lease.release().wait().expect("the holder may release it");
        }
    });
}

/// Engines over one store see each other's leases.
pub fn p1_engines_that_share_a_store_share_its_leases(factory: Factory<'_>) {
    let subject = factory();
    let engines: Vec<_> = (0..4).map(|_| subject.engine()).collect();
    for round in 0..ROUNDS {
        let key = format!("round {round}");
        let answers =
            race(4, |number| engines[number].acquire(&key).ttl(LONG).wait().expect("the store works"));
        let granted: Vec<_> = answers
            .iter()
            .filter_map(|answer| match answer {
                Acquisition::Acquired(lease) => Some(lease),
                _ => None,
            })
            .collect();
        assert_eq!(granted.len(), 1, "number of grants of {key}");
        for lease in granted {
            lease.complete(&round).wait().expect("the holder may complete it");
        }
        for engine in &engines {
            assert_eq!(status(engine, &key).result::<usize>().expect("there is a result"), round);
        }
    }
}

/// The token after a release is higher.
pub fn p2_tokens_rise_after_a_release(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let mut last = 0;
    for attempt in 1..=20 {
        let lease = take(engine.acquire("k").ttl(LONG));
        assert!(lease.token().as_u64() > last, "token {} after {last}", lease.token());
        assert_eq!(lease.attempt(), attempt);
        last = lease.token().as_u64();
        lease.release().wait().expect("the holder may release it");
    }
}

/// The token after a lapse is higher.
pub fn p2_tokens_rise_after_a_lapse(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(take(engine.acquire("k").ttl(SHORT)));
        subject.advance(OUTLIVE);
    }
    let tokens: Vec<_> = held.iter().map(|lease| lease.token()).collect();
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}

/// The token after the key was forgotten is higher, even if no time has passed.
pub fn p2_tokens_rise_after_forget_in_the_same_instant(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let mut last = 0;
    for _ in 0..20 {
        let lease = take(engine.acquire("k").ttl(LONG));
        assert!(lease.token().as_u64() > last, "token {} after {last}", lease.token());
        assert_eq!(lease.attempt(), 1, "the first grant after forget");
        last = lease.token().as_u64();
        assert!(engine.forget_forced("k").wait().expect("an operator may forget it"));
        assert!(engine.status("k").wait().expect("the key can be looked up").is_none());
        purge_all(&**subject.store());
    }
}

/// The token after the record was purged is higher.
pub fn p2_tokens_rise_after_the_record_was_purged(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine_with(|settings| settings.limits.retention = SHORT);
    let mut last = 0;
    for _ in 0..4 {
        let lease = take(engine.acquire("k").ttl(LONG));
        assert!(lease.token().as_u64() > last, "token {} after {last}", lease.token());
        last = lease.token().as_u64();
        lease.complete(&()).wait().expect("the holder may complete it");
        subject.advance(OUTLIVE);
        purge_all(&**subject.store());
    }
}

/// The token after the end of the retention is higher, whether or not the record was purged.
pub fn p2_tokens_rise_after_the_end_of_retention(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine_with(|settings| settings.limits.retention = SHORT);
    let mut last = 0;
    for _ in 0..4 {
        let lease = take(engine.acquire("k").ttl(LONG));
        assert!(lease.token().as_u64() > last, "token {} after {last}", lease.token());
        assert_eq!(lease.attempt(), 1, "the first grant after the retention");
        last = lease.token().as_u64();
        lease.fail("code").wait().expect("the holder may fail it");
        subject.advance(OUTLIVE);
    }
}

/// A token is the time of its grant in microseconds, or the previous token plus one.
pub fn p2_a_token_is_at_least_the_time(factory: Factory<'_>) {
    let subject = factory();
    let Some(clock) = subject.exact_clock("p2_a_token_is_at_least_the_time") else { return };
    let engine = subject.engine();
    for step in [0, 1, 5] {
        let now = clock.advance(std::time::Duration::from_secs(step)).as_micros();
        for more in 0..3 {
            let lease = take(engine.acquire(&format!("k{step}")));
            assert_eq!(lease.token().as_u64(), now + more);
            lease.release().wait().expect("the holder may release it");
        }
    }
}

/// Each write increments the record's version by one. Operations without a write do not change it.
pub fn p10_the_version_grows_by_one_with_every_write(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let version = |engine: &lessor_core::Engine| status(engine, "k").version().as_u64();
    let lease = take(engine.acquire("k").ttl(LONG));
    assert_eq!(version(&engine), 1);
    for step in 2..=10 {
        let ack = match step % 2 {
            0 => lease.checkpoint(&step).wait(),
            _ => lease.extend(LONG * step).wait(),
        };
        assert_eq!(ack.expect("the holder may").version().as_u64(), u64::from(step));
        assert_eq!(version(&engine), u64::from(step));
    }
    assert!(matches!(engine.acquire("k").wait(), Ok(Acquisition::InProgress(_))));
    assert_eq!(version(&engine), 10);
    assert_eq!(lease.complete(&1).wait().expect("the holder may").version().as_u64(), 11);
    assert_eq!(lease.complete(&1).wait().expect("again").version().as_u64(), 11);
    assert_eq!(version(&engine), 11);
}

/// Nothing that observers can print contains the lease id.
pub fn p11_no_view_shows_the_lease_id(factory: Factory<'_>) {
    let subject = factory();
    let engine = subject.engine();
    let lease = take(engine.acquire("k").ttl(LONG).holder("holder").metadata(&[("a", 1)].to_map()));
    let secret = lease.lease_id().reveal();
    let digits = secret.trim_start_matches("lease_").to_owned();
    let hidden = |what: &str, shown: String| {
        assert!(!shown.contains(&digits), "{what} shows the lease id");
    };
    hidden("a refusal", format!("{:?}", engine.acquire("k").wait()));
    hidden("the lease's own Debug", format!("{lease:?}"));
    hidden("the listing", format!("{:?}", engine.list().limit(10).wait()));
    hidden("the engine", format!("{engine:?}"));
    hidden("the record's Debug", format!("{:?}", stored(&**subject.store(), "k")));
    let stranger = engine.lease_handle("k", lease_id()).expect("a valid key");
    hidden("an error", format!("{:?}", stranger.complete(&1).wait()));
    hidden("an error's text", refusal(stranger.release().wait()).to_string());
    lease.complete(&1).wait().expect("the holder may");
    assert_eq!(status(&engine, "k").state(), State::Completed);
    hidden("the status", format!("{:?}", engine.status("k").wait()));
}

trait ToMap {
    fn to_map(&self) -> std::collections::BTreeMap<&str, i32>;
}

impl<const N: usize> ToMap for [(&'static str, i32); N] {
    fn to_map(&self) -> std::collections::BTreeMap<&str, i32> {
        self.iter().copied().collect()
    }
}
