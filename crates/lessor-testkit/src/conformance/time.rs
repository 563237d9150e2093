//! The store's clock.

use std::time::Duration;

use super::Factory;
use super::tools::*;
use crate::subject::Subject;

/// Moves a clock that does not run by itself.
fn tick(subject: &Subject) {
    if let Some(clock) = subject.manual_clock() {
        clock.advance(Duration::from_micros(7));
    }
}

/// Whatever thread asks, the time is never before what any thread was told.
pub fn p7_now_never_runs_backwards_over_threads(factory: Factory<'_>) {
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

/// The times that come with records never run backwards either.
pub fn p7_what_was_seen_never_runs_backwards(factory: Factory<'_>) {
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

/// `now` may run ahead of the clock that changes are judged by, but never lags behind it.
pub fn p7_now_does_not_lag_behind_what_was_seen(factory: Factory<'_>) {
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

/// The store's time goes on.
pub fn p7_time_passes(factory: Factory<'_>) {
    let subject = factory();
    let (store, key) = (&**subject.store(), key("k"));
    let before = load(store, &key).now;
    subject.advance(Duration::from_millis(30));
    let passed = load(store, &key).now.saturating_since(before);
    assert!(passed >= Duration::from_millis(30), "30 ms have passed, but for the store it was {passed:?}");
}
