//! Functions that `#[lessor::once]` guards.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lessor::{
    Backoff, Engine, FailureClass, Key, KeyPart, OnFailed, OnLapsed, OnceError, Outcome, PartWriter,
    Reconciled,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    token: u64,
    cents: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Declined(String);

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn engine() -> Engine {
    lessor::open("memory:").unwrap()
}

/// Asserts that the only key is this one.
fn assert_key(engine: &Engine, key: &str) {
    let listing = engine.list().limit(10).wait().unwrap();
    let keys: Vec<&str> = listing.entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, [key]);
}

#[lessor::once(engine = engine, key(order_id, tenant), ttl = "30s", lease = lease)]
fn charge(engine: &Engine, tenant: &str, order_id: u64, cents: u32) -> Result<Receipt, Declined> {
    if cents == 0 {
        return Err(Declined("nothing to pay".to_owned()));
    }
    Ok(Receipt { token: lease.token().as_u64(), cents })
}

#[test]
fn a_guarded_function_runs_once_per_key_and_replays_its_value() {
    let engine = engine();
    let first = charge(&engine, "acme", 42, 100).unwrap();
    let second = charge(&engine, "acme", 42, 999).unwrap();
    assert!(!first.is_replay() && second.is_replay());
    assert_eq!(first.value().cents, 100);
    assert_eq!(first.into_value(), second.into_value());
    assert!(!charge(&engine, "acme", 43, 1).unwrap().is_replay());
    assert!(!charge(&engine, "acm", 42, 1).unwrap().is_replay());
}

#[test]
fn a_guarded_function_returns_the_error_of_its_body_and_replays_it() {
    let engine = engine();
    for replayed in [false, true] {
        let declined = charge(&engine, "acme", 42, 0);
        let Err(OnceError::Work { error, is_replay, .. }) = declined else { panic!("{declined:?}") };
        assert_eq!((error, is_replay), (Declined("nothing to pay".to_owned()), replayed));
    }
    let view = engine.status(&Key::of_call("charge", &[&42, &"acme"])).wait().unwrap().unwrap();
    assert_eq!((view.state(), view.attempt()), (lessor::State::Failed, 1));
    assert!(charge(&engine, "acme", 42, 1).is_err());
}

#[test]
fn the_key_is_the_call_with_the_parts_in_the_order_of_the_option() {
    let engine = engine();
    let _ = charge(&engine, "acme", 42, 100);
    assert_key(&engine, r#"charge(42,"acme")"#);
}

#[lessor::once(engine = engine, key(order_id), ttl = "30s")]
async fn fetch(engine: &Engine, runs: &AtomicU32, order_id: u64) -> Result<u32, String> {
    tokio::task::yield_now().await;
    Ok(runs.fetch_add(1, Ordering::Relaxed) + 1)
}

#[test]
fn the_future_of_a_guarded_async_function_runs_on_any_thread_and_once_for_all_tasks() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (engine, runs) = (engine(), Arc::new(AtomicU32::new(0)));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (engine, runs) = (engine.clone(), Arc::clone(&runs));
            runtime.spawn(async move { fetch(&engine, &runs, 7).await.unwrap().into_value() })
        })
        .collect();
    for task in tasks {
        assert_eq!(runtime.block_on(task).unwrap(), 1);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

struct Order {
    number: u32,
    shop: String,
}

struct Amount(u32);

impl KeyPart for Amount {
    fn write_part(&self, writer: PartWriter<'_>) {
        self.0.write_part(writer);
    }
}

struct Payments {
    engine: Arc<Engine>,
    prefix: &'static str,
}

impl Payments {
    /// The policies, the fingerprint, and a part that begins with an argument.
    #[lessor::once(
        engine = self.engine,
        key(order.number, order.shop.to_lowercase(), self.prefix, amount),
        name = "pay",
        fingerprint(order.number, memo),
        ttl = Duration::from_secs(10),
        wait_timeout = "0s",
        holder = "worker-1",
        on_failed = OnFailed::Retry { max_attempts: 2, backoff: Backoff::NONE },
        on_lapsed = OnLapsed::InDoubt,
        lease = lease,
        with = |once| once.metadata(&[("memo", memo)].into_iter().collect::<std::collections::BTreeMap<_, _>>()),
    )]
    pub(crate) fn pay(&self, order: &Order, amount: Amount, memo: &str, fail: bool) -> Result<u32, String> {
        if fail {
            return Err("declined".to_owned());
        }
        Ok(lease.attempt())
    }

    #[lessor::once(engine = self.engine, key(id), ttl = "1m 30s", lease = lease)]
    async fn crash(&self, id: u32, doubt: bool) -> Result<(), String> {
        std::future::pending::<()>().await;
        Err(format!("not reached by {} ({doubt})", lease.token()))
    }
}

#[test]
fn the_options_of_a_method_reach_its_request() {
    let payments = Payments { engine: Arc::new(engine()), prefix: "eu" };
    let order = Order { number: 7, shop: "Berlin".to_owned() };
    let key = r#"pay(7,"berlin","eu",100)"#;

    assert!(matches!(payments.pay(&order, Amount(100), "rent", true), Err(OnceError::Work { .. })));
    assert_key(&payments.engine, key);
    let view = payments.engine.status(key).wait().unwrap().unwrap();
    assert_eq!(view.holder(), Some("worker-1"));
    assert_eq!(view.metadata_json(), Some(r#"{"memo":"rent"}"#));

    let other = payments.pay(&order, Amount(100), "salary", false).unwrap_err();
    assert!(matches!(other, OnceError::Engine(lessor::Error::FingerprintMismatch)), "{other}");
    // The failure is retried once.
    assert_eq!(payments.pay(&order, Amount(100), "rent", false).unwrap().into_value(), 2);

    // Another holder has the lease of another amount, and crashes.
    let key = r#"pay(7,"berlin","eu",200)"#;
    let held = payments.engine.acquire(key).wait().unwrap();
    let pay = || payments.pay(&order, Amount(200), "rent", false);
    assert!(matches!(pay(), Err(OnceError::InProgress(_))));
    drop(held);
    payments.engine.wait_for(key, Duration::from_secs(60)).wait().unwrap();
    assert!(matches!(pay(), Err(OnceError::InDoubt { .. })));
}

#[lessor::once(
    engine = engine,
    key(id),
    stall_after = "1h",
    classify = |error| if error.0.is_empty() { FailureClass::release() } else { FailureClass::keep() },
    reconcile = move |_lease| if is_done { Reconciled::Done(0) } else { Reconciled::NotDone },
)]
fn send(engine: &Engine, id: u32, is_done: bool, work: Result<u32, String>) -> Result<u32, Declined> {
    work.map_err(Declined)
}

#[test]
fn errors_are_classified_and_a_lapsed_lease_is_reconciled_by_functions_in_the_options() {
    let engine = engine();
    assert!(send(&engine, 1, false, Err(String::new())).is_err());
    assert_eq!(send(&engine, 1, false, Ok(7)).unwrap().into_value(), 7);
    assert!(send(&engine, 2, false, Err("declined".to_owned())).is_err());
    assert!(send(&engine, 2, false, Ok(7)).is_err());

    for (id, is_done, value) in [(3, true, 0), (4, false, 7)] {
        let key = Key::of_call("send", &[&id]);
        drop(engine.acquire(&key).wait().unwrap());
        engine.wait_for(&key, Duration::from_secs(60)).wait().unwrap();
        assert_eq!(send(&engine, id, is_done, Ok(7)).unwrap().into_value(), value);
    }
}

#[test]
fn a_dropped_guarded_future_leaves_its_key_to_the_next_callers_policy() {
    let payments = Payments { engine: Arc::new(engine()), prefix: "" };
    let mut call = Box::pin(payments.crash(1, false));
    let waker = std::task::Waker::noop();
    assert!(call.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    let ttl_left = payments.engine.status("crash(1)").wait().unwrap().unwrap().ttl_left().unwrap();
    assert!(Duration::from_secs(60) < ttl_left && ttl_left <= Duration::from_secs(90), "{ttl_left:?}");
    drop(call);
    payments.engine.wait_for("crash(1)", Duration::from_secs(60)).wait().unwrap();
    let view = payments.engine.status("crash(1)").wait().unwrap().unwrap();
    assert_eq!(view.state(), lessor::State::Lapsed);
}

/// Names of the generated code in the arguments, values that the body consumes, patterns, generic
/// parameters, attributes, and another path of the crate.
mod unusual {
    pub(super) use lessor as renamed;

    use super::*;

    #[lessor::once(engine = engine, key(key, text, value.0), crate = renamed, lease = r#in, name = "unusual")]
    #[inline]
    pub(super) async fn consumes<'a, T>(
        engine: Engine,
        key: Key,
        text: &'a str,
        mut value: (u8, Vec<T>),
        Order { number, shop: _ }: Order,
    ) -> core::result::Result<(String, usize), String>
    where
        T: Clone + 'a,
    {
        let first = value.1.first().cloned().ok_or("none")?;
        value.1.push(first);
        let all = value.1.len();
        drop(value);
        // The body can use the names of items that the generated code uses.
        fn with(text: String) -> String {
            text
        }
        let _ = (engine.durability(), r#in.token());
        Ok((with(format!("{key}{text}{number}")), all))
    }

    pub(super) struct Shared(pub(super) Engine);

    impl Shared {
        #[lessor::once(engine = self.0, key(names.len(), name.as_ref()))]
        pub(super) fn appends<const N: u8, F>(
            self: Arc<Self>,
            names: &mut Vec<String>,
            name: impl AsRef<str>,
            length: F,
        ) -> Result<usize, String>
        where
            F: Fn(&[String]) -> usize,
        {
            names.push(name.as_ref().to_owned());
            Ok(length(names) + usize::from(N))
        }
    }

    #[lessor::once(engine = engine, key())]
    pub(super) fn r#match(engine: &Engine) -> Result<u8, String> {
        Ok(1)
    }
}

#[test]
fn the_body_can_consume_arguments_whatever_their_names_are() {
    let (engine, value) = (engine(), (1, vec![Rc::new(2)]));
    let order = Order { number: 5, shop: String::new() };
    let call = unusual::consumes(engine.clone(), Key::new("k").unwrap(), "o", value, order);
    let outcome: Outcome<(String, usize)> = lessor::block_on(call).unwrap();
    assert_eq!(outcome.into_value(), ("ko5".to_owned(), 2));
    assert_key(&engine, r#"unusual("k","o",1)"#);
}

#[test]
fn the_body_can_change_what_an_argument_refers_to() {
    let (shared, mut names) = (Arc::new(unusual::Shared(engine())), Vec::new());
    let lengths = |names: &[String]| names.iter().map(String::len).sum();
    let outcome = Arc::clone(&shared).appends::<3, _>(&mut names, "anna", lengths).unwrap();
    assert_eq!((outcome.into_value(), names.len()), (7, 1));
}

#[test]
fn a_function_without_parts_has_one_key_named_without_the_raw_prefix() {
    let engine = engine();
    assert_eq!(unusual::r#match(&engine).unwrap().into_value(), 1);
    assert!(unusual::r#match(&engine).unwrap().is_replay());
    assert_key(&engine, "match()");
}
