//! The fence in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_lite::future;
use lessor_fence::MemoryFence;

#[test]
fn a_lower_token_is_refused_and_an_equal_or_higher_one_is_accepted() {
    let fence = MemoryFence::new();
    assert_eq!(fence.run("a", 5_u64, || "first"), Ok("first"));
    assert_eq!(fence.run("a", 5_u64, || "again"), Ok("again"));
    let stale = fence.run("a", 4_u64, || panic!("a stale effect runs")).unwrap_err();
    assert_eq!((stale.token, stale.highest), (4, 5));
    assert_eq!(fence.check("a", 6_u64), Ok(()));
    assert_eq!(fence.check("a", 5_u64).unwrap_err().highest, 6);
    assert_eq!(fence.highest("a"), Some(6));
}

#[test]
fn a_token_of_one_key_does_not_count_for_another() {
    let fence = MemoryFence::new();
    fence.check("a", 9_u64).unwrap();
    fence.check("b", 1_u64).unwrap();
    assert_eq!((fence.highest("a"), fence.highest("b"), fence.len()), (Some(9), Some(1), 2));
}

#[test]
fn a_refused_token_of_an_unknown_key_takes_no_memory() {
    let fence = MemoryFence::new();
    fence.forget_below(100_u64);
    assert!(fence.check("a", 99_u64).is_err());
    assert!(fence.is_empty());
}

/// A sink that only checks lets a former holder act after the check of a newer one.
#[test]
fn an_effect_of_a_key_runs_while_no_other_effect_of_it_runs() {
    let fence = MemoryFence::new();
    let is_over = AtomicBool::new(false);
    let (begin, begun) = mpsc::channel();
    let (fence, is_over) = (&fence, &is_over);
    thread::scope(|scope| {
        scope.spawn(move || {
            begun.recv().unwrap();
            // A check waits as well. Otherwise the effect that follows it would not be ordered.
            fence.check("a", 8_u64).unwrap();
            assert!(is_over.load(Ordering::SeqCst), "a newer holder is accepted during an effect");
        });
        let earlier = || {
            begin.send(()).unwrap();
            (0..2000).for_each(|_| thread::yield_now());
            is_over.store(true, Ordering::SeqCst);
        };
        fence.run("a", 7_u64, earlier).unwrap();
    });
    assert_eq!(fence.highest("a"), Some(8));
}

#[test]
fn an_async_effect_of_a_key_runs_while_no_other_effect_of_it_runs() {
    let fence = MemoryFence::new();
    let log = RefCell::new(Vec::new());
    let effect = |name: &'static str| {
        let log = &log;
        async move {
            log.borrow_mut().push((name, "begins"));
            future::yield_now().await;
            log.borrow_mut().push((name, "ends"));
        }
    };
    future::block_on(async {
        let mut alice = Box::pin(fence.run_async("a", 7_u64, effect("alice")));
        let mut bob = Box::pin(fence.run_async("a", 8_u64, effect("bob")));
        assert!(future::poll_once(&mut alice).await.is_none());
        assert!(future::poll_once(&mut bob).await.is_none());
        assert_eq!((alice.await, bob.await), (Ok(()), Ok(())));
        assert_eq!(fence.run_async("a", 7_u64, effect("late")).await.unwrap_err().highest, 8);
    });
    let order = [("alice", "begins"), ("alice", "ends"), ("bob", "begins"), ("bob", "ends")];
    assert_eq!(*log.borrow(), order);
}

/// The effect may have happened in part, so a former holder must not follow it.
#[test]
fn a_token_counts_although_its_async_effect_is_dropped() {
    let fence = MemoryFence::new();
    // Boxed as an effect that any executor can run.
    let mut effect: Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(fence.run_async("a", 5_u64, future::pending::<()>()));
    assert!(future::block_on(future::poll_once(&mut effect)).is_none());
    drop(effect);
    assert!(fence.check("a", 4_u64).is_err());
    fence.check("a", 5_u64).unwrap();
}

#[test]
fn an_effect_does_not_delay_those_of_other_keys() {
    let fence = MemoryFence::new();
    let nested = fence.run("a", 1_u64, || fence.run("b", 1_u64, || fence.highest("a")));
    assert_eq!(nested, Ok(Ok(Some(1))));
}

/// The effect may have happened in part, so a former holder must not follow it.
#[test]
fn a_token_counts_although_its_effect_panics() {
    let fence = MemoryFence::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| fence.run("a", 5_u64, || panic!("planted"))));
    assert!(panicked.is_err());
    assert!(fence.check("a", 4_u64).is_err());
    fence.check("a", 5_u64).unwrap();
}

#[test]
fn a_forgotten_key_is_accepted_with_no_token_below_the_floor() {
    let fence = MemoryFence::new();
    for (key, token) in [("a", 10_u64), ("b", 19), ("c", 20), ("d", 30)] {
        fence.check(key, token).unwrap();
    }
    assert_eq!(fence.forget_below(20_u64), 2);
    assert_eq!((fence.len(), fence.highest("a"), fence.highest("c")), (2, None, Some(20)));
    // The former holder of the forgotten key had token 9.
    assert_eq!(fence.check("a", 9_u64).unwrap_err().highest, 20);
    assert!(fence.check("b", 19_u64).is_err() && fence.check("new", 19_u64).is_err());
    fence.check("new", 20_u64).unwrap();
    // A lower floor would let former holders of forgotten keys through.
    assert_eq!(fence.forget_below(5_u64), 0);
    assert!(fence.check("b", 19_u64).is_err());
}

#[test]
fn an_age_counts_back_from_the_newest_token_in_microseconds() {
    let fence = MemoryFence::new();
    for (key, token) in [("a", 1_000_000_u64), ("b", 4_999_999), ("c", 5_000_000), ("d", 8_000_000)] {
        fence.check(key, token).unwrap();
    }
    assert_eq!(fence.forget_older_than(Duration::MAX), 0);
    assert_eq!(fence.forget_older_than(Duration::from_secs(3)), 2);
    assert!(fence.check("new", 4_999_999_u64).is_err());
    assert!(fence.check("new", 5_000_000_u64).is_ok());
}

#[test]
fn a_refusal_tells_both_tokens() {
    let fence = MemoryFence::new();
    fence.check("a", 8_u64).unwrap();
    let text = fence.check("a", 7_u64).unwrap_err().to_string();
    assert!(text.contains("token 7 is stale") && text.contains('8'), "{text}");
}
