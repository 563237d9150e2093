//! Namespaces and quotas, together with clocks, lost replies, waiters and renewals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod switched;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lessor_core::{
    Acquisition, Engine, Error, ErrorKind, Lease, LeaseId, Limits, Month, OnceError, Pending, Quota, State,
    Store, Timestamp, block_on,
};
use lessor_memory::MemoryStore;
use lessor_testkit::{Fault, Faults, Level, ManualClock};
use switched::switched;

const TTL: Duration = Duration::from_secs(60);

fn memory() -> (ManualClock, Arc<dyn Store>, Engine) {
    let clock = ManualClock::new();
    let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
    let engine = Engine::new(Arc::clone(&store)).unwrap();
    (clock, store, engine)
}

fn take(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).ttl(TTL).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

fn used(engine: &Engine) -> u64 {
    engine.usage().wait().unwrap().used()
}

fn over_quota<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(error) if error.kind() == ErrorKind::QuotaExceeded)
}

/// Lets time pass until shortly before the end of the month.
fn to_the_end_of_the_month(clock: &ManualClock, engine: &Engine) {
    let end = engine.usage().wait().unwrap().resets_at();
    clock.advance(end.saturating_since(engine.now().wait().unwrap()) - Duration::from_millis(1));
}

/// A block was charged in one month and used in the next, in which nothing was charged for it.
#[test]
fn units_of_one_month_pay_for_no_grant_of_the_next() {
    let (clock, _, engine) = memory();
    let tenant = engine.namespace("tenant").quota(Quota::monthly(2)).open().unwrap();
    let month = tenant.usage().wait().unwrap().month();
    to_the_end_of_the_month(&clock, &tenant);
    let _first = take(&tenant, "a");
    assert_eq!(used(&tenant), 1);
    let _second = take(&tenant, "b");
    assert!(over_quota(tenant.acquire("c").wait()));
    clock.advance(Duration::from_millis(1));
    for key in ["c", "d"] {
        drop(take(&tenant, key));
    }
    assert!(over_quota(tenant.acquire("e").wait()));
    let usage = tenant.usage().wait().unwrap();
    assert_eq!((usage.month(), usage.used(), usage.earlier()), (month.next(), 2, &[(month, 2)][..]));
    assert_eq!(usage.resets_at(), Month::of(engine.now().wait().unwrap()).next().start());
}

#[test]
fn a_block_that_is_left_at_the_end_of_the_month_is_not_used_in_the_next() {
    let (clock, _, engine) = memory();
    let tenant = engine.namespace("tenant").quota(Quota::unlimited().block(10)).open().unwrap();
    let month = tenant.usage().wait().unwrap().month();
    to_the_end_of_the_month(&clock, &tenant);
    drop(take(&tenant, "a"));
    clock.advance(Duration::from_millis(1));
    drop(take(&tenant, "b"));
    let usage = tenant.usage().wait().unwrap();
    assert_eq!((usage.used(), usage.earlier()), (1, &[(month, 10)][..]), "nine units are lost");
}

/// The reply to a write that grants a lease, or that charges a block, is lost in every position.
#[test]
fn p6_lost_replies_never_lead_to_a_grant_without_a_charge() {
    for (lost, fault) in (0..16).flat_map(|lost| FAULTS.map(|fault| (lost, fault))) {
        for level in [Level::Swaps, Level::Operations] {
            let clock = ManualClock::new();
            let below: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
            let (store, faults) = Faults::over(below, level);
            let engine = Engine::new(store).unwrap();
            let tenant = engine.namespace("tenant").quota(Quota::monthly(20).block(2)).open().unwrap();
            faults.script(std::iter::repeat_n(Fault::None, lost).chain([fault]));
            let mut leases = Vec::new();
            for number in 0..6 {
                if let Ok(Acquisition::Acquired(lease)) = tenant.acquire(&number.to_string()).ttl(TTL).wait()
                {
                    leases.push(lease);
                }
            }
            faults.clear();
            // A lease whose reply was lost is abandoned, and was granted nevertheless.
            let granted = tenant.list().wait().unwrap().entries.len() as u64;
            let charged = used(&tenant);
            assert!(granted >= leases.len() as u64);
            assert!(charged >= granted, "{charged} charged, {granted} granted, {lost} {fault:?} {level:?}");
            assert!(
                charged <= granted + 2,
                "{charged} charged, {granted} granted, {lost} {fault:?} {level:?}"
            );
        }
    }
}

const FAULTS: [Fault; 3] = [Fault::LostReply, Fault::LostRequest, Fault::Unavailable];

/// A request that was decided in one month and reached the store in the next used a unit of the first.
#[test]
fn a_grant_or_a_charge_that_is_written_in_the_next_month_counts_for_it() {
    // The calls of the first acquire: a read, a read and the write of the charge, and the grant.
    for held in 0..6 {
        let clock = ManualClock::new();
        let (store, faults) =
            Faults::over(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), Level::Swaps);
        let engine = Engine::new(store).unwrap();
        let tenant = engine.namespace("tenant").quota(Quota::monthly(100).block(4)).open().unwrap();
        to_the_end_of_the_month(&clock, &tenant);
        faults.script(std::iter::repeat_n(Fault::None, held).chain([Fault::HeldRequest]));
        let mut sent = pin!(tenant.acquire("a").ttl(TTL).send());
        let answer = sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        clock.advance(Duration::from_millis(1));
        faults.release_first();
        faults.clear();
        let answer = match answer {
            Poll::Ready(answer) => answer,
            Poll::Pending => block_on(sent.as_mut()),
        };
        let Ok(Acquisition::Acquired(lease)) = answer else { panic!("{answer:?}") };
        let granted_in = Month::of(Timestamp::from_micros(lease.token().as_u64()).unwrap());
        let usage = tenant.usage().wait().unwrap();
        match granted_in == usage.month() {
            true => assert_eq!(usage.used(), 1, "the call {held} is held"),
            false => assert_eq!((usage.used(), usage.earlier().len()), (0, 1), "the call {held} is held"),
        }
    }
}

/// Two processes charge the same units at the same instant. Each must recognise its own write, if the
/// reply to it is lost.
#[test]
fn p6_a_charge_is_not_mistaken_for_that_of_another_process() {
    let clock = ManualClock::new();
    let records: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(Arc::new(clock.clone())));
    let open = |store: Arc<dyn Store>| {
        let engine = Engine::new(store).unwrap();
        engine.namespace("tenant").quota(Quota::unlimited().block(4)).open().unwrap()
    };
    let (store, faults) = Faults::over(Arc::clone(&records), Level::Swaps);
    let (tenant, other) = (open(store), open(records));
    // A read of the key, a read of the count, the charge, and a read that finds out what happened.
    faults.script([Fault::None, Fault::None, Fault::LostRequest, Fault::HeldRequest]);
    let mut sent = pin!(tenant.acquire("a").ttl(TTL).send());
    assert!(sent.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(take(&other, "b"));
    assert!(faults.release_first());
    let Acquisition::Acquired(_lease) = block_on(sent.as_mut()).unwrap() else { panic!("it is a new key") };
    assert_eq!(
        (used(&tenant), used(&other)),
        (5, 5),
        "both blocks are charged, and three units of each are left"
    );
}

/// Charged twice, a caller that repeats an acquire after a lost reply would pay for retries.
#[test]
fn p6_an_acquire_that_is_sent_again_is_charged_once() {
    let (_, _, engine) = memory();
    let tenant = engine.namespace("tenant").quota(Quota::unlimited()).open().unwrap();
    let id = LeaseId::random().unwrap();
    let mut leases = Vec::new();
    for sent in 0..3 {
        let Acquisition::Acquired(lease) = tenant.acquire("a").ttl(TTL).lease_id(id).wait().unwrap() else {
            panic!("it is the caller's own grant");
        };
        assert_eq!(lease.is_duplicate(), sent > 0);
        leases.push(lease);
        assert_eq!(used(&tenant), 1);
    }
}

#[test]
fn refusals_and_failures_of_the_store_give_their_unit_back() {
    let clock = ManualClock::new();
    let (switches, store) = switched(&clock);
    let engine = Engine::new(store).unwrap();
    let tenant = engine.namespace("tenant").quota(Quota::unlimited()).open().unwrap();
    let lease = take(&tenant, "a");
    let _other = tenant.acquire("b").ttl(TTL).fingerprint("request").wait().unwrap();
    for _ in 0..5 {
        assert!(matches!(tenant.acquire("a").wait().unwrap(), Acquisition::InProgress(_)));
        let mismatch = tenant.acquire("b").fingerprint("another").wait();
        assert!(matches!(mismatch, Err(Error::FingerprintMismatch)));
        switches.failing_swaps.store(1, Ordering::SeqCst);
        assert!(tenant.acquire("c").wait().is_err());
        assert!(tenant.acquire("").wait().is_err());
    }
    assert_eq!(used(&tenant), 2);
    lease.complete("done").wait().unwrap();
    assert!(matches!(tenant.acquire("a").wait().unwrap(), Acquisition::Completed(_)));
    assert_eq!(used(&tenant), 2);
}

/// Every grant is charged: that of a takeover, of a retry and of a waiter as well.
#[test]
fn takeovers_and_grants_after_a_wait_are_charged() {
    let (clock, _, engine) = memory();
    let tenant = engine.namespace("tenant").quota(Quota::monthly(3)).open().unwrap();
    let first = take(&tenant, "a");
    let waiter = {
        let tenant = tenant.clone();
        std::thread::spawn(move || tenant.once::<String, String>("a").run(|_| Ok("by the waiter".to_owned())))
    };
    while tenant.stats().in_progress == 0 {
        std::thread::yield_now();
    }
    first.release().wait().unwrap();
    assert_eq!(waiter.join().unwrap().unwrap().into_value(), "by the waiter");
    assert_eq!(used(&tenant), 2);
    let lapsing = take(&tenant, "b");
    assert_eq!(used(&tenant), 3);
    clock.advance(2 * TTL);
    let refused = tenant.once::<String, String>("b").run(|_| unreachable!());
    assert!(matches!(refused, Err(OnceError::Engine(Error::QuotaExceeded(_)))));
    // The late holder can still deliver.
    lapsing.complete("late").wait().unwrap();
    assert_eq!(tenant.status("b").wait().unwrap().unwrap().state(), State::Completed);
}

/// A future that is dropped while its block is charged must not leave others waiting for it.
#[test]
fn a_dropped_acquire_loses_at_most_its_block_and_blocks_nobody() {
    let clock = ManualClock::new();
    let (store, faults) =
        Faults::over(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), Level::Swaps);
    let engine = Engine::new(store).unwrap();
    let tenant = engine.namespace("tenant").quota(Quota::monthly(1000).block(4)).open().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    for dropped_after in 0..8 {
        for held in [Fault::HeldRequest, Fault::HeldReply] {
            let before = used(&tenant);
            faults.script([held; 8]);
            let key = format!("{dropped_after}:{held:?}");
            let mut sent = pin!(tenant.acquire(&key).ttl(TTL).send());
            for _ in 0..dropped_after {
                let _ = sent.as_mut().poll(&mut context);
                faults.release_first();
            }
            sent.set(Pending::later(std::future::pending()));
            faults.clear();
            while faults.release_first() {}
            drop(take(&tenant, &format!("after {key}")));
            assert!((before + 1..=before + 6).contains(&used(&tenant)), "{} after {before}", used(&tenant));
        }
    }
}

/// A caller began to charge a block, and was neither polled nor dropped afterwards, as in a loop that
/// selects. All others waited for it.
#[test]
fn a_caller_that_is_not_polled_keeps_no_other_from_a_unit() {
    let clock = ManualClock::new();
    let (store, faults) =
        Faults::over(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))), Level::Swaps);
    let engine = Engine::new(store).unwrap();
    let tenant = engine.namespace("tenant").quota(Quota::unlimited().block(4)).open().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    // A read of the key, a read of the count, and the charge.
    for held in 0..3 {
        faults.script(std::iter::repeat_n(Fault::None, held).chain([Fault::HeldRequest]));
        let key = format!("a:{held}");
        let mut sent = pin!(tenant.acquire(&key).ttl(TTL).send());
        assert!(sent.as_mut().poll(&mut context).is_pending());
        faults.clear();
        assert!(faults.release_first());
        let others: Vec<_> = (0..5).map(|number| take(&tenant, &format!("other:{held}:{number}"))).collect();
        let Ok(Acquisition::Acquired(lease)) = block_on(sent.as_mut()) else { panic!("it is a new key") };
        assert_eq!(used(&tenant), 8 * held as u64 + 6);
        // The next round needs a charge again.
        let rest: Vec<_> = (0..2).map(|number| take(&tenant, &format!("rest:{held}:{number}"))).collect();
        for lease in others.into_iter().chain(rest).chain([lease]) {
            lease.complete("done").wait().unwrap();
        }
    }
}

/// Renewals and abandons used the retention and the limits of the engine instead of the namespace's.
#[test]
fn a_namespace_has_its_own_limits_defaults_and_retention() {
    let (clock, store, engine) = memory();
    let day = Duration::from_secs(86_400);
    let limits = Limits::new().default_ttl(TTL).max_ttl(2 * TTL).retention(day).max_result(5);
    let tenant = engine.namespace("tenant").limits(limits.clone()).holder("tenant's").open().unwrap();
    assert_eq!((tenant.settings().limits.clone(), tenant.namespace_name()), (limits, Some("tenant")));
    assert!(tenant.acquire("a").ttl(3 * TTL).wait().is_err());
    assert!(engine.acquire("a").ttl(3 * TTL).wait().is_ok());
    let lease = tenant.acquire("a").wait().unwrap();
    let Acquisition::Acquired(lease) = lease else { panic!("{lease:?}") };
    assert!(matches!(lease.complete("too long").wait(), Err(Error::TooLarge { .. })));
    assert_eq!(tenant.status("a").wait().unwrap().unwrap().holder(), Some("tenant's"));
    let kept_for = |engine: &Engine| {
        let page = store.scan(lessor_core::store::Scan::new("\u{1}tenant\u{1}", None, 10)).wait().unwrap();
        let now = engine.now().wait().unwrap();
        page.entries.iter().map(|(_, record)| record.purge_at().saturating_since(now)).max().unwrap()
    };
    assert_eq!(kept_for(&tenant), day + TTL);
    lease.extend(2 * TTL).wait().unwrap();
    assert_eq!(kept_for(&tenant), day + 2 * TTL);
    drop(lease);
    while tenant.status("a").wait().unwrap().unwrap().state() != State::Lapsed {
        std::thread::yield_now();
    }
    assert_eq!(kept_for(&tenant), day);
    clock.advance(day);
    assert!(tenant.status("a").wait().unwrap().is_none());
}

#[test]
fn the_events_of_a_namespace_are_counted_in_it_and_in_the_engine() {
    let (_, _, engine) = memory();
    let tenant = engine.namespace("tenant").open().unwrap();
    let other = engine.namespace("other").open().unwrap();
    take(&tenant, "a").complete("done").wait().unwrap();
    take(&engine, "a").complete("done").wait().unwrap();
    let _ = tenant.acquire("a").wait().unwrap();
    // Opened again, it is the same namespace.
    let stats = engine.namespace("tenant").open().unwrap().stats();
    assert_eq!((stats.first_grants, stats.completed, stats.replayed_results), (1, 1, 1));
    assert_eq!(other.stats().first_grants, 0);
    let stats = engine.stats();
    assert_eq!((stats.first_grants, stats.completed, stats.replayed_results), (2, 2, 1));
}

/// Two namespaces were opened within each other, and the inner one met another's keys.
#[test]
fn p12_names_and_quotas_out_of_range_and_nested_namespaces_are_refused() {
    let (_, _, engine) = memory();
    for name in ["", " ", "a\u{1}b", "a\nb", &"x".repeat(65)] {
        let error = engine.namespace(name).open().unwrap_err();
        assert!(error.to_string().starts_with("invalid namespace"), "{error}");
    }
    assert!(engine.namespace("a").quota(Quota::monthly(1).block(0)).open().is_err());
    assert!(engine.namespace("a").limits(Limits::new().max_result(0)).open().is_err());
    let error = engine.namespace("a").open().unwrap().namespace("b").open().unwrap_err();
    assert!(error.to_string().contains("\"a/b\""), "{error}");
    assert!(engine.usage().wait().is_err());
    assert!(engine.namespaces(None, 0).wait().is_err());
    assert!(engine.namespaces(Some("\u{1}"), 1).wait().is_err());
    let tenant = engine.namespace("a").open().unwrap();
    for key in ["\u{1}b\u{1}k", "", "k\u{1}"] {
        assert!(matches!(tenant.acquire(key).wait(), Err(Error::Key(_))));
        assert!(matches!(tenant.status(key).wait(), Err(Error::Key(_))));
        assert!(matches!(tenant.lease_handle(key, LeaseId::random().unwrap()), Err(Error::Key(_))));
    }
}

/// Operators work on a key of a namespace through its engine, and holders in it learn of that.
#[test]
fn operators_and_handles_work_within_a_namespace() {
    let (_, _, engine) = memory();
    let tenant = engine.namespace("tenant").open().unwrap();
    let lease = take(&tenant, "a");
    let handle = tenant.lease_handle("a", *lease.lease_id()).unwrap();
    handle.checkpoint("half").wait().unwrap();
    assert!(engine.resolve("a").forced().completed("no such key").wait().is_err());
    tenant.resolve("a").forced().completed("by an operator").wait().unwrap();
    lease.lost().wait();
    assert_eq!(tenant.wait_for("a", TTL).wait().unwrap().unwrap().state(), State::Completed);
    assert!(tenant.explain("a").wait().unwrap().to_string().contains("The key \"a\" was completed"));
    let debugged = format!("{lease:?} {handle:?} {tenant:?}");
    assert!(!debugged.contains('\u{1}'), "{debugged}");
    tenant.cancel("a", None).wait().unwrap_err();
    assert!(tenant.forget("a").wait().unwrap());
}
