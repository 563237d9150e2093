//! The store's clock.

use std::time::Duration;

use super::Factory;
use super::tools::*;
use crate::subject::Subject;

/// Advances a manual clock.
fn tick(subject: &Subject) {
    if let Some(clock) = subject.manual_clock() {
        clock.advance(Duration::from_micros(7));
    }
}

/// The time never runs backwards, even between threads.
pub fn p7_now_never_runs_backwards_between_threads(factory: Factory<'_>) {
    let subject = factory();
    let (store, clock) = (&**subject.store(), subject.manual_clock());
    let high = High::default();
    race(RACERS, |number| {
        for _ in 0..500 {
            if let Some(clock) = clock.filter(|_| number == 0) {
                clock.advance(Duration::from_micros(3));
            }
            let before = high.get();
            let now = store.now().wait().expect("the store tells the time").as_micros();
            assert!(now >= before, "it was {before} µs, then {now}");
            high.raise(now);
        }
    });
}

/// The times that come with records never run backwards.
pub fn p7_times_of_replies_never_run_backwards(factory: Factory<'_>) {
    let subject = factory();
    let (store, there) = (&**subject.store(), key("k"));
    put(store, &there, &some(subject.now()));
    let mut last = load(store, &there).now;
    for round in 0..300 {
        tick(&subject);
        let now = match round % 4 {
            0 => load(store, &there).now,
            1 => conflict(swap(store, &there, change(None, &some(last)))).now,
            2 => page(store, "", None, 10).now,
            _ => load(store, &key("absent")).now,
        };
        assert!(now >= last, "it was {last:?}, then {now:?}");
        last = now;
    }
}

/// `now` may be ahead of the clock that decides writes, but is never behind it.
pub fn p7_now_is_never_behind_the_time_of_a_reply(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    put(store, &key, &some(subject.now()));
    for _ in 0..300 {
        tick(&subject);
        for seen in [
            load(store, &key).now,
            conflict(swap(store, &key, change(None, &some(subject.now())))).now,
            page(store, "", None, 1).now,
        ] {
            let now = subject.now();
            assert!(now >= seen, "a record was read at {seen:?}, and later it is {now:?}");
        }
    }
}

/// The store's time advances.
pub fn p7_time_passes(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    let before = load(store, &key).now;
    subject.advance(Duration::from_millis(30));
    let passed = load(store, &key).now.saturating_since(before);
    assert!(passed >= Duration::from_millis(30), "30 ms have passed, but for the store it was {passed:?}");
}
