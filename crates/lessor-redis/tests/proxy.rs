//! A proxy between stores and their server injects faults: it cuts connections before, during and
//! after each message, and loses or delays requests and replies. Callers send their operations
//! again, as the contract requires, and every answer is correct.
//!
//! The environment variable `LESSOR_PROXY` sets the number of runs. The default is 400.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lessor_core::{
    Ack, Acquisition, Engine, Error, Lease, LeaseHandle, LeaseId, OnFailed, OnLapsed, State, StoreError, View,
};
use lessor_redis::RedisStore;
use support::Server;
use support::dice::{Dice, number_from_env};
use support::proxy::{FAULTS, Fault, Proxy};

/// The deadline of an operation. Each request has half of it.
const DEADLINE: Duration = Duration::from_millis(120);
/// The delay of a late message: the caller has given up, and has sent its operation again.
const LATE: Duration = Duration::from_millis(90);
const LONG: Duration = Duration::from_hours(1);
/// The maximum number of attempts, far above what any run of faults needs.
const MOST_SENT: u32 = 200;

/// Opens a store. Opening may meet a fault too, and is not repeated by the store itself.
fn open(url: &str, prefix: &str) -> RedisStore {
    let mut settings = support::settings(prefix);
    settings.deadline = DEADLINE;
    let open = || RedisStore::builder().settings(settings.clone()).open(url);
    (0..MOST_SENT).find_map(|_| open().ok()).expect("a store can be opened")
}

/// Two engines behind the proxy, each on its own store, and one that uses the server directly.
struct World {
    proxy: Proxy,
    one: Engine,
    other: Engine,
    truth: Engine,
    _server: Server,
}

impl World {
    fn new() -> Self {
        let server = Server::volatile();
        let prefix = support::prefix();
        let proxy = Proxy::start(server.port, LATE);
        let engine = |url: &str| Engine::new(Arc::new(open(url, &prefix))).unwrap();
        let (one, other) = (engine(&proxy.url()), engine(&proxy.url()));
        let truth = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
        Self { proxy, one, other, truth, _server: server }
    }

    /// Returns the stored state, without the proxy.
    fn view(&self, key: &str) -> View {
        self.truth.status(key).wait().unwrap().expect("the record is there")
    }

    fn version(&self, key: &str) -> u64 {
        self.truth.status(key).wait().unwrap().map_or(0, |view| view.version().as_u64())
    }
}

/// Sends an operation again until it is answered, possibly by a refusal. An error that reports no
/// change means no change, unless the operation is in doubt: because of an earlier attempt, or
/// because other callers write to the same key.
fn until_answered<T>(
    world: &World,
    key: &str,
    mut is_in_doubt: bool,
    send: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..MOST_SENT {
        let before = world.version(key);
        match send() {
            Err(Error::Store(StoreError::Indeterminate(_))) => is_in_doubt = true,
            Err(Error::Store(StoreError::Unavailable(_))) if is_in_doubt => {}
            Err(Error::Store(StoreError::Unavailable(cause))) => {
                let reason = cause.reason();
                assert_eq!(
                    world.version(key),
                    before,
                    "{key}: nothing was changed, but the error is: {reason}"
                );
            }
            answer => return answer,
        }
    }
    panic!("{key}: no answer although it was sent {MOST_SENT} times");
}

fn acquire(world: &World, engine: &Engine, key: &str, ttl: Duration) -> Lease {
    let id = LeaseId::random().unwrap();
    let send = || engine.acquire(key).lease_id(id).ttl(ttl).wait();
    match until_answered(world, key, false, send) {
        Ok(Acquisition::Acquired(lease)) => {
            assert_eq!(*lease.lease_id(), id);
            lease
        }
        other => panic!("{key}: {other:?}"),
    }
}

/// Delivers an outcome until it is acknowledged, and then once more.
fn deliver(world: &World, key: &str, held: &LeaseHandle, what: impl Fn(&LeaseHandle) -> Result<Ack, Error>) {
    let before = world.version(key);
    for round in 0..2 {
        let ack = until_answered(world, key, false, || what(held)).unwrap();
        assert_eq!(ack.version().as_u64(), before + 1, "{key}");
        assert!(round == 0 || ack.is_duplicate(), "{key}");
        assert_eq!(world.version(key), before + 1, "{key}: written at most once");
    }
}

/// Sends an extension or a checkpoint again. These are not recognised as duplicates, so each fault
/// may add a write.
fn repeat(world: &World, key: &str, held: &LeaseHandle, what: impl Fn(&LeaseHandle) -> Result<Ack, Error>) {
    let (before, faults) = (world.version(key), world.proxy.counts().2);
    let ack = until_answered(world, key, false, || what(held)).unwrap();
    let (version, faults) = (ack.version().as_u64(), world.proxy.counts().2 - faults);
    assert!((before + 1..=before + 1 + faults).contains(&version), "{key}: {before} to {version}");
    assert_eq!(world.version(key), version, "{key}");
}

fn is_superseded(key: &str, token: u64, answer: Result<Ack, Error>) {
    match answer {
        Err(Error::NotHolder { token: newer, .. }) => assert_eq!(newer.as_u64(), token, "{key}"),
        other => panic!("{key}: a stale holder received {other:?}"),
    }
}

/// Performs every operation on leases, with keys that no other run uses.
fn scenario(world: &World, name: &str, dice: &mut Dice) {
    completes(world, &format!("{name}/completed"), dice);
    fails(world, &format!("{name}/failed"));
    releases(world, &format!("{name}/released"));
    lapses(world, &format!("{name}/lapsed"));
}

fn completes(world: &World, key: &str, dice: &mut Dice) {
    let World { one, other, .. } = world;
    let lease = acquire(world, one, key, LONG);
    let view = world.view(key);
    assert_eq!((view.state(), view.version().as_u64(), view.attempt()), (State::InProgress, 1, 1), "{key}");
    match until_answered(world, key, false, || other.acquire(key).wait()).unwrap() {
        Acquisition::InProgress(view) => assert_eq!(view.version().as_u64(), 1, "{key}"),
        answer => panic!("{key}: {answer:?}"),
    }
    // Through the lease, and by its id, as another process would.
    let by_id = one.lease_handle(key, *lease.lease_id()).unwrap();
    let held = if dice.below(2) == 0 { &lease.handle() } else { &by_id };
    repeat(world, key, held, |held| held.extend(LONG * 2).wait());
    repeat(world, key, held, |held| held.checkpoint_bytes(b"half").wait());
    let result = key.repeat(1 + usize::try_from(dice.below(300)).unwrap());
    deliver(world, key, held, |held| held.complete_bytes(result.as_bytes()).wait());
    for engine in [one, other] {
        match until_answered(world, key, false, || engine.acquire(key).wait()).unwrap() {
            Acquisition::Completed(view) => assert_eq!(view.result_bytes(), Some(result.as_bytes())),
            answer => panic!("{key}: {answer:?}"),
        }
    }
}

fn fails(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let lease = acquire(world, one, key, LONG);
    deliver(world, key, &lease.handle(), |held| held.fail_with("code", "why").wait());
    match until_answered(world, key, false, || other.acquire(key).wait()).unwrap() {
        Acquisition::Failed(view) => assert_eq!(view.error_code(), Some("code"), "{key}"),
        answer => panic!("{key}: {answer:?}"),
    }
    let retry = OnFailed::Retry { max_attempts: 2, backoff: lessor_core::Backoff::NONE };
    let id = LeaseId::random().unwrap();
    let again = || other.acquire(key).lease_id(id).on_failed(retry).ttl(LONG).wait();
    let Ok(Acquisition::Acquired(second)) = until_answered(world, key, false, again) else {
        panic!("{key}: it is not tried again")
    };
    assert!(second.token() > lease.token() && second.attempt() == 2, "{key}");
    assert_eq!(world.version(key), 3, "{key}");
    is_superseded(
        key,
        second.token().as_u64(),
        until_answered(world, key, false, || lease.fail("code").wait()),
    );
    deliver(world, key, &second.handle(), |held| held.complete_bytes(b"").wait());
}

fn releases(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let lease = acquire(world, one, key, LONG);
    deliver(world, key, &lease.handle(), |held| held.release().wait());
    let second = acquire(world, other, key, LONG);
    assert!(second.token() > lease.token() && second.attempt() == 2, "{key}");
    assert_eq!(world.version(key), 3, "{key}");
    deliver(world, key, &second.handle(), |held| held.cancel(None).wait());
}

/// Two rivals acquire a lease that has ended.
fn lapses(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let id = LeaseId::random().unwrap();
    let first = until_answered(world, key, false, || {
        one.acquire(key).lease_id(id).ttl(Duration::from_millis(5)).wait()
    });
    // Dropping the lease would release it, and so would dropping the rival's.
    let _first = match first {
        Ok(Acquisition::Acquired(lease)) => Some(lease),
        // The lease had ended when it was requested again.
        Err(Error::LeaseIdReused) => None,
        answer => panic!("{key}: {answer:?}"),
    };
    while world.view(key).state() == State::InProgress {
        thread::park_timeout(Duration::from_millis(1));
    }
    let before = world.view(key);
    assert_eq!((before.version().as_u64(), before.attempt()), (1, 1), "{key}");
    let race = |engine: &Engine| {
        let id = LeaseId::random().unwrap();
        until_answered(world, key, true, || engine.acquire(key).lease_id(id).ttl(LONG).wait())
    };
    let answer = thread::scope(|scope| {
        let rival = scope.spawn(|| race(other));
        [race(one), rival.join().unwrap()]
    });
    let leases: Vec<Lease> = answer
        .into_iter()
        .filter_map(|answer| match answer {
            Ok(Acquisition::Acquired(lease)) => Some(lease),
            Ok(Acquisition::InProgress(_)) => None,
            answer => panic!("{key}: {answer:?}"),
        })
        .collect();
    let [lease] = &leases[..] else { panic!("{key}: {} were granted it", leases.len()) };
    assert_eq!((world.version(key), lease.attempt()), (2, 2), "{key}");
    let stale = one.lease_handle(key, id).unwrap();
    let token = lease.token().as_u64();
    let refused = |act: &dyn Fn() -> Result<Ack, Error>| {
        is_superseded(key, token, until_answered(world, key, false, act));
    };
    refused(&|| stale.extend(LONG).wait());
    refused(&|| stale.complete_bytes(b"stale").wait());
    refused(&|| stale.release().wait());
    assert_eq!(world.version(key), 2, "{key}: a stale holder changes nothing");
    deliver(world, key, &lease.handle(), |held| held.complete_bytes(b"fresh").wait());
}

/// One run for each message and each fault, as far as the number of runs goes. Further runs have a
/// second fault, in the middle of what follows the first.
#[test]
fn p1_p2_p6_p10_a_fault_at_any_message_leaves_every_answer_correct_and_every_write_single() {
    if !support::is_available() {
        return;
    }
    let world = World::new();
    let mut dice = Dice(1);
    let (requests, ..) = world.proxy.counts();
    scenario(&world, "clean", &mut dice);
    let messages = world.proxy.counts().0 - requests;
    assert!(messages > 25, "{messages}");

    let runs = number_from_env("LESSOR_PROXY", 400);
    let mut met = [0_u64; FAULTS.len()];
    for number in 0..runs {
        let kind = usize::try_from(number).unwrap() % FAULTS.len();
        let round = number / FAULTS.len() as u64;
        // Evenly over the messages, if there are too few runs for each.
        let at = 1 + (round * (messages * FAULTS.len() as u64 / runs).max(1)) % messages;
        let mut plan = vec![(at, FAULTS[kind])];
        if number >= messages * FAULTS.len() as u64 {
            plan.push((1 + dice.below(16), FAULTS[usize::try_from(dice.below(8)).unwrap()]));
        }
        let (.., before) = world.proxy.counts();
        world.proxy.plan(&plan);
        scenario(&world, &format!("{number}"), &mut dice);
        world.proxy.quiet();
        met[kind] += world.proxy.counts().2 - before;
    }
    let all = world.proxy.counts();
    println!("{runs} runs of {messages} requests: {} faults, as {FAULTS:?}: {met:?}; {all:?}", all.2);
    assert!(runs < 8 || met.iter().all(|met| *met > 0));
}

/// Returns the result of each key, so that no result passes for another key's.
fn result_of(key: &str) -> Vec<u8> {
    let size = 1 + key.bytes().map(usize::from).sum::<usize>() % 7_000;
    key.bytes().cycle().take(size).collect()
}

/// Callers drop their calls at any moment while connections are cut. No caller receives the reply
/// to another call.
#[test]
fn p6_no_reply_reaches_another_call_when_calls_are_dropped_and_connections_cut() {
    if !support::is_available() {
        return;
    }
    const CALLERS: u64 = 24;
    const KEYS: u64 = 40;
    let world = World::new();
    for number in 0..KEYS {
        let key = format!("key {number}");
        let Acquisition::Acquired(lease) = world.truth.acquire(&key).wait().unwrap() else { panic!("{key}") };
        lease.complete_bytes(&result_of(&key)).wait().unwrap();
    }
    let rounds = number_from_env("LESSOR_PROXY", 400);
    world.proxy.at_random(7, 3);
    let executor = smol::Executor::new();
    let engine = &world.one;
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            executor.spawn(async move {
                let mut dice = Dice(number);
                let (mut answered, mut dropped, mut failed) = (0_u64, 0_u64, 0_u64);
                for round in 0..rounds {
                    let key = format!("key {}", dice.below(KEYS));
                    let answer = async {
                        match dice.below(3) {
                            // A call of another caller in between, which is a write.
                            0 => {
                                let key = format!("{number}/{round}");
                                let answer = engine.acquire(&key).send().await;
                                answer.map(|answer| match answer {
                                    Acquisition::Acquired(lease) => assert_eq!(lease.key(), key),
                                    other => panic!("{key}: {other:?}"),
                                })
                            }
                            1 => engine.acquire(&key).send().await.map(|answer| match answer {
                                Acquisition::Completed(view) => {
                                    assert_eq!(view.result_bytes(), Some(&*result_of(&key)), "{key}");
                                }
                                other => panic!("{key}: {other:?}"),
                            }),
                            _ => engine.result(&key).await.map(|view| {
                                assert_eq!(view.unwrap().result_bytes(), Some(&*result_of(&key)), "{key}");
                            }),
                        }
                        .map_err(|error| match error {
                            Error::Store(StoreError::Unavailable(_) | StoreError::Indeterminate(_)) => {}
                            error => panic!("{number}/{round}: {error}"),
                        })
                        .is_ok()
                    };
                    let timeout = match Dice(number * rounds + round).below(2) {
                        0 => Duration::from_micros(Dice(round * CALLERS + number).below(2_000)),
                        _ => Duration::from_mins(1),
                    };
                    let given_up = async {
                        smol::Timer::after(timeout).await;
                        None
                    };
                    match smol::future::or(async { Some(answer.await) }, given_up).await {
                        Some(true) => answered += 1,
                        Some(false) => failed += 1,
                        None => dropped += 1,
                    }
                }
                (answered, dropped, failed)
            })
        })
        .collect();
    let mut sum = (0, 0, 0);
    smol::block_on(executor.run(async {
        for caller in callers {
            let (answered, dropped, failed) = caller.await;
            sum = (sum.0 + answered, sum.1 + dropped, sum.2 + failed);
        }
    }));
    let (.., faults) = world.proxy.counts();
    let (answered, dropped, failed) = sum;
    println!(
        "{answered} answers, each to its own caller; {dropped} calls dropped, {failed} failed over {faults} faults"
    );
    assert!(answered > 0 && dropped > 0 && faults > 0);
}

/// Regression: the reply to an acquire came late. It returned a live lease, and time had passed
/// when it arrived. The caller received an in-doubt answer, although the holder had renewed the
/// lease in time.
#[test]
fn p7_p8_a_late_reply_does_not_make_a_renewed_lease_in_doubt() {
    const TTL: Duration = Duration::from_millis(200);
    if !support::is_available() {
        return;
    }
    let server = Server::volatile();
    let prefix = support::prefix();
    let proxy = Proxy::start(server.port, TTL * 2);
    let builder = RedisStore::builder().settings(support::settings(&prefix));
    let observer = Engine::new(Arc::new(builder.open(&proxy.url()).unwrap())).unwrap();
    let holder = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    for round in 0..6 {
        let key = round.to_string();
        let Acquisition::Acquired(lease) = holder.acquire(&key).ttl(TTL).wait().unwrap() else {
            panic!("{key}")
        };
        proxy.plan(&[(1, Fault::ReplyLate)]);
        let answer = thread::scope(|scope| {
            let late = scope.spawn(|| observer.acquire(&key).on_lapsed(OnLapsed::InDoubt).wait().unwrap());
            // The reply is on its way, with the state of the lease before the renewal.
            thread::park_timeout(TTL / 4);
            let extended = lease.extend(LONG).wait();
            (extended, late.join().unwrap())
        });
        proxy.quiet();
        match answer {
            (Ok(_), Acquisition::InProgress(_)) => {}
            // This machine was suspended for a while.
            (Err(Error::Lapsed), _) => {}
            answer => panic!("{key}: {answer:?}"),
        }
    }
}

/// The minimum over several rounds counts, because the store samples the clock now and then as
/// well.
#[test]
fn every_operation_takes_one_round_trip_and_a_takeover_two() {
    const ROUNDS: usize = 20;
    if !support::is_available() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let proxy = Proxy::start(server.port, LATE);
    let builder = RedisStore::builder().settings(support::settings(&prefix));
    let engine = Engine::new(Arc::new(builder.open(&proxy.url()).unwrap())).unwrap();
    let mut trips = std::collections::BTreeMap::<&str, u64>::new();
    let mut count = |what: &'static str, operate: &dyn Fn()| {
        let before = proxy.counts().0;
        operate();
        let count = proxy.counts().0 - before;
        let least = trips.entry(what).or_insert(count);
        *least = count.min(*least);
    };
    for round in 0..ROUNDS {
        let take = |key: &str, ttl| match engine.acquire(key).ttl(ttl).wait().unwrap() {
            Acquisition::Acquired(lease) => lease,
            answer => panic!("{key}: {answer:?}"),
        };
        let key = format!("key {round}");
        let held = std::cell::RefCell::new(None);
        count("fresh", &|| *held.borrow_mut() = Some(take(&key, LONG)));
        let lease = held.take().unwrap();
        count("refused", &|| {
            assert!(matches!(engine.acquire(&key).wait().unwrap(), Acquisition::InProgress(_)));
        });
        count("extend", &|| {
            lease.extend(LONG).wait().unwrap();
        });
        count("checkpoint", &|| {
            lease.checkpoint_bytes(b"half").wait().unwrap();
        });
        count("complete", &|| {
            lease.complete_bytes(b"done").wait().unwrap();
        });
        count("replayed", &|| {
            assert!(matches!(engine.acquire(&key).wait().unwrap(), Acquisition::Completed(_)));
        });
        let failing = take(&format!("{key} fails"), LONG);
        count("fail", &|| {
            failing.fail("code").wait().unwrap();
        });
        let released = take(&format!("{key} is released"), LONG);
        count("release", &|| {
            released.release().wait().unwrap();
        });
        let key = format!("{key} lapses");
        let _lapses = take(&key, Duration::from_millis(1));
        while engine.status(&key).wait().unwrap().unwrap().state() == State::InProgress {
            thread::park_timeout(Duration::from_millis(1));
        }
        count("takeover", &|| assert_eq!(take(&key, LONG).attempt(), 2));
    }
    let two = |what: &&str| if *what == "takeover" { 2 } else { 1 };
    assert_eq!(trips, trips.keys().map(|what| (*what, two(what))).collect());
}
