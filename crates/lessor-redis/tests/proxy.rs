//! A proxy between stores and their server spoils what passes: connections are cut before, amid and after each message, requests and
//! replies are lost or late. Callers send again, as the contract has it, and every answer is right.
//!
//! The environment's `LESSOR_PROXY` says how many stories are told, by default 400.

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
    Ack, Acquisition, Engine, Error, Held, Lease, LeaseId, OnFailed, OnLapsed, State, StoreError, View,
};
use lessor_redis::{Opener, RedisStore};
use support::Server;
use support::dice::{Dice, number_from_env};
use support::proxy::{FAULTS, Fault, Proxy};

/// Each request has half of it.
const DEADLINE: Duration = Duration::from_millis(120);
/// Long enough that the caller has given up, and has come back.
const LATE: Duration = Duration::from_millis(90);
const LONG: Duration = Duration::from_hours(1);
/// Far more often than any run of faults asks for.
const MOST_SENT: u32 = 200;

/// Opening may meet a fault as well, and has nothing that sends again.
fn open(url: &str, prefix: &str) -> RedisStore {
    let mut settings = support::settings(prefix);
    settings.deadline = DEADLINE;
    let open = || Opener::new().settings(settings.clone()).open(url);
    (0..MOST_SENT).find_map(|_| open().ok()).expect("a store can be opened")
}

/// Two engines behind the proxy, each on a store of its own, and one that looks at the server itself.
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

    /// What is stored, past the proxy.
    fn view(&self, key: &str) -> View {
        self.truth.status(key).wait().unwrap().expect("the record is there")
    }

    fn version(&self, key: &str) -> u64 {
        self.truth.status(key).wait().unwrap().map_or(0, |view| view.version().as_u64())
    }
}

/// Sends it again until there is an answer, which may be a refusal. What is said to have changed nothing has changed nothing, unless
/// it is in doubt: because of what was sent before, or because others write to the same key.
fn until_told<T>(
    world: &World,
    key: &str,
    mut is_in_doubt: bool,
    send: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..MOST_SENT {
        let before = world.version(key);
        match send() {
            Err(Error::Store(StoreError::Indeterminate { .. })) => is_in_doubt = true,
            Err(Error::Store(StoreError::Unavailable { .. })) if is_in_doubt => {}
            Err(Error::Store(StoreError::Unavailable { reason })) => {
                assert_eq!(world.version(key), before, "{key}: nothing was changed, it says: {reason}");
            }
            told => return told,
        }
    }
    panic!("{key}: no answer although it was sent {MOST_SENT} times");
}

fn acquire(world: &World, engine: &Engine, key: &str, ttl: Duration) -> Lease {
    let id = LeaseId::random().unwrap();
    let send = || engine.acquire(key).lease_id(id).ttl(ttl).wait();
    match until_told(world, key, false, send) {
        Ok(Acquisition::Acquired(lease)) => {
            assert_eq!(*lease.lease_id(), id);
            lease
        }
        other => panic!("{key}: {other:?}"),
    }
}

/// One outcome, delivered until it is acknowledged, and then once more.
fn deliver(world: &World, key: &str, held: &Held, what: impl Fn(&Held) -> Result<Ack, Error>) {
    let before = world.version(key);
    for round in 0..2 {
        let ack = until_told(world, key, false, || what(held)).unwrap();
        assert_eq!(ack.version().as_u64(), before + 1, "{key}");
        assert!(round == 0 || ack.is_repeated(), "{key}");
        assert_eq!(world.version(key), before + 1, "{key}: written at most once");
    }
}

/// Extensions and checkpoints are not recognised when they are sent again, by this or by the engine: each fault may add a write.
fn go_on(world: &World, key: &str, held: &Held, what: impl Fn(&Held) -> Result<Ack, Error>) {
    let (before, faults) = (world.version(key), world.proxy.counts().2);
    let ack = until_told(world, key, false, || what(held)).unwrap();
    let (version, faults) = (ack.version().as_u64(), world.proxy.counts().2 - faults);
    assert!((before + 1..=before + 1 + faults).contains(&version), "{key}: {before} to {version}");
    assert_eq!(world.version(key), version, "{key}");
}

fn told_of_newer(key: &str, token: u64, told: Result<Ack, Error>) {
    match told {
        Err(Error::NotHolder { token: told }) => assert_eq!(told.as_u64(), token, "{key}"),
        other => panic!("{key}: a stale holder was told {other:?}"),
    }
}

/// Everything that may be done with a lease, under keys that nobody else has.
fn story(world: &World, name: &str, dice: &mut Dice) {
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
    match until_told(world, key, false, || other.acquire(key).wait()).unwrap() {
        Acquisition::InProgress(view) => assert_eq!(view.version().as_u64(), 1, "{key}"),
        told => panic!("{key}: {told:?}"),
    }
    // Through the lease, and as a process would that knows its id alone.
    let by_id = one.held(key, *lease.lease_id()).unwrap();
    let held: &Held = if dice.below(2) == 0 { &lease } else { &by_id };
    go_on(world, key, held, |held| held.extend(LONG * 2).wait());
    go_on(world, key, held, |held| held.checkpoint_bytes(b"half").wait());
    let result = key.repeat(1 + usize::try_from(dice.below(300)).unwrap());
    deliver(world, key, held, |held| held.complete_bytes(result.as_bytes()).wait());
    for engine in [one, other] {
        match until_told(world, key, false, || engine.acquire(key).wait()).unwrap() {
            Acquisition::Completed(view) => assert_eq!(view.result_bytes(), Some(result.as_bytes())),
            told => panic!("{key}: {told:?}"),
        }
    }
}

fn fails(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let lease = acquire(world, one, key, LONG);
    deliver(world, key, &lease, |held| held.fail_with("code", "why").wait());
    match until_told(world, key, false, || other.acquire(key).wait()).unwrap() {
        Acquisition::Failed(view) => assert_eq!(view.error_code(), Some("code"), "{key}"),
        told => panic!("{key}: {told:?}"),
    }
    let retry = OnFailed::Retry { max_attempts: 2, backoff: lessor_core::Backoff::NONE };
    let id = LeaseId::random().unwrap();
    let again = || other.acquire(key).lease_id(id).on_failed(retry).ttl(LONG).wait();
    let Ok(Acquisition::Acquired(second)) = until_told(world, key, false, again) else {
        panic!("{key}: it is not tried again")
    };
    assert!(second.token() > lease.token() && second.attempt() == 2, "{key}");
    assert_eq!(world.version(key), 3, "{key}");
    told_of_newer(key, second.token().as_u64(), until_told(world, key, false, || lease.fail("code").wait()));
    deliver(world, key, &second, |held| held.complete_bytes(b"").wait());
}

fn releases(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let lease = acquire(world, one, key, LONG);
    deliver(world, key, &lease, |held| held.release().wait());
    let second = acquire(world, other, key, LONG);
    assert!(second.token() > lease.token() && second.attempt() == 2, "{key}");
    assert_eq!(world.version(key), 3, "{key}");
    deliver(world, key, &second, |held| held.cancel(None).wait());
}

/// Two rivals are after it.
fn lapses(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let id = LeaseId::random().unwrap();
    let first =
        until_told(world, key, false, || one.acquire(key).lease_id(id).ttl(Duration::from_millis(5)).wait());
    // Dropped, it would be given up; and so would a rival's.
    let _first = match first {
        Ok(Acquisition::Acquired(lease)) => Some(lease),
        // It had lapsed by the time that it was asked for again.
        Err(Error::LeaseIdReused) => None,
        told => panic!("{key}: {told:?}"),
    };
    while world.view(key).state() == State::InProgress {
        thread::park_timeout(Duration::from_millis(1));
    }
    let before = world.view(key);
    assert_eq!((before.version().as_u64(), before.attempt()), (1, 1), "{key}");
    let race = |engine: &Engine| {
        let id = LeaseId::random().unwrap();
        until_told(world, key, true, || engine.acquire(key).lease_id(id).ttl(LONG).wait())
    };
    let told = thread::scope(|scope| {
        let rival = scope.spawn(|| race(other));
        [race(one), rival.join().unwrap()]
    });
    let leases: Vec<Lease> = told
        .into_iter()
        .filter_map(|told| match told {
            Ok(Acquisition::Acquired(lease)) => Some(lease),
            Ok(Acquisition::InProgress(_)) => None,
            told => panic!("{key}: {told:?}"),
        })
        .collect();
    let [lease] = &leases[..] else { panic!("{key}: {} were granted it", leases.len()) };
    assert_eq!((world.version(key), lease.attempt()), (2, 2), "{key}");
    let stale = one.held(key, id).unwrap();
    let token = lease.token().as_u64();
    let tell = |act: &dyn Fn() -> Result<Ack, Error>| {
        told_of_newer(key, token, until_told(world, key, false, act));
    };
    tell(&|| stale.extend(LONG).wait());
    tell(&|| stale.complete_bytes(b"stale").wait());
    tell(&|| stale.release().wait());
    assert_eq!(world.version(key), 2, "{key}: a stale holder changes nothing");
    deliver(world, key, lease, |held| held.complete_bytes(b"fresh").wait());
}

/// Once for each message of the story and each fault, as far as the number goes; from then on with a second fault, in the middle of
/// what comes after the first one.
#[test]
fn p1_p2_p6_p10_whatever_fails_at_whichever_message_each_answer_is_right_and_written_once() {
    if !support::is_there() {
        return;
    }
    let world = World::new();
    let mut dice = Dice(1);
    let (requests, ..) = world.proxy.counts();
    story(&world, "clean", &mut dice);
    let messages = world.proxy.counts().0 - requests;
    assert!(messages > 25, "{messages}");

    let stories = number_from_env("LESSOR_PROXY", 400);
    let mut met = [0_u64; FAULTS.len()];
    for number in 0..stories {
        let kind = usize::try_from(number).unwrap() % FAULTS.len();
        let round = number / FAULTS.len() as u64;
        // Evenly over the story, should there be too few for each message.
        let at = 1 + (round * (messages * FAULTS.len() as u64 / stories).max(1)) % messages;
        let mut plan = vec![(at, FAULTS[kind])];
        if number >= messages * FAULTS.len() as u64 {
            plan.push((1 + dice.below(16), FAULTS[usize::try_from(dice.below(8)).unwrap()]));
        }
        let (.., before) = world.proxy.counts();
        world.proxy.plan(&plan);
        story(&world, &format!("{number}"), &mut dice);
        world.proxy.quiet();
        met[kind] += world.proxy.counts().2 - before;
    }
    let all = world.proxy.counts();
    println!("{stories} stories of {messages} requests: {} faults, as {FAULTS:?}: {met:?}; {all:?}", all.2);
    assert!(stories < 8 || met.iter().all(|met| *met > 0));
}

/// What each key's result is, so that nobody takes another's for its own.
fn result_of(key: &str) -> Vec<u8> {
    let size = 1 + key.bytes().map(usize::from).sum::<usize>() % 7_000;
    key.bytes().cycle().take(size).collect()
}

/// Callers give up on their calls at any moment, and connections are cut amid it: no answer is ever somebody else's.
#[test]
fn p6_no_reply_is_handed_to_another_call_when_calls_are_dropped_and_connections_cut() {
    if !support::is_there() {
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
                let (mut told, mut dropped, mut failed) = (0_u64, 0_u64, 0_u64);
                for round in 0..rounds {
                    let key = format!("key {}", dice.below(KEYS));
                    let answer = async {
                        match dice.below(3) {
                            // Somebody else's in between, which is a write.
                            0 => {
                                let key = format!("{number}/{round}");
                                let answer = engine.acquire(&key).send().await;
                                answer.map(|answer| match answer {
                                    Acquisition::Acquired(lease) => assert_eq!(lease.key().as_str(), key),
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
                            Error::Store(
                                StoreError::Unavailable { .. } | StoreError::Indeterminate { .. },
                            ) => {}
                            error => panic!("{number}/{round}: {error}"),
                        })
                        .is_ok()
                    };
                    let patience = match Dice(number * rounds + round).below(2) {
                        0 => Duration::from_micros(Dice(round * CALLERS + number).below(2_000)),
                        _ => Duration::from_mins(1),
                    };
                    let given_up = async {
                        smol::Timer::after(patience).await;
                        None
                    };
                    match smol::future::or(async { Some(answer.await) }, given_up).await {
                        Some(true) => told += 1,
                        Some(false) => failed += 1,
                        None => dropped += 1,
                    }
                }
                (told, dropped, failed)
            })
        })
        .collect();
    let mut sum = (0, 0, 0);
    smol::block_on(executor.run(async {
        for caller in callers {
            let (told, dropped, failed) = caller.await;
            sum = (sum.0 + told, sum.1 + dropped, sum.2 + failed);
        }
    }));
    let (.., faults) = world.proxy.counts();
    let (told, dropped, failed) = sum;
    println!(
        "{told} answers, each its caller's; {dropped} calls dropped, {failed} failed over {faults} faults"
    );
    assert!(told > 0 && dropped > 0 && faults > 0);
}

/// The answer to an acquire was late. It showed a lease that was live, and the time had gone on when it came: the caller was told that the
/// key was in doubt, though the holder had renewed its lease in good time, and it never had been.
#[test]
fn p7_p8_a_lease_that_was_renewed_is_not_said_to_be_in_doubt_because_an_answer_was_late() {
    const TTL: Duration = Duration::from_millis(200);
    if !support::is_there() {
        return;
    }
    let server = Server::volatile();
    let prefix = support::prefix();
    let proxy = Proxy::start(server.port, TTL * 2);
    let opener = Opener::new().settings(support::settings(&prefix));
    let observer = Engine::new(Arc::new(opener.open(&proxy.url()).unwrap())).unwrap();
    let holder = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    for round in 0..6 {
        let key = round.to_string();
        let Acquisition::Acquired(lease) = holder.acquire(&key).ttl(TTL).wait().unwrap() else {
            panic!("{key}")
        };
        proxy.plan(&[(1, Fault::ReplyLate)]);
        let told = thread::scope(|scope| {
            let late = scope.spawn(|| observer.acquire(&key).on_lapsed(OnLapsed::InDoubt).wait().unwrap());
            // The answer is on its way, with the lease as it was.
            thread::park_timeout(TTL / 4);
            let extended = lease.extend(LONG).wait();
            (extended, late.join().unwrap())
        });
        proxy.quiet();
        match told {
            (Ok(_), Acquisition::InProgress(_)) => {}
            // This machine stood still for a while.
            (Err(Error::Lapsed), _) => {}
            told => panic!("{key}: {told:?}"),
        }
    }
}

/// Each is counted among others, since the store looks at the clock now and then as well.
#[test]
fn every_operation_is_one_round_trip_and_a_takeover_two() {
    const ROUNDS: usize = 20;
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let proxy = Proxy::start(server.port, LATE);
    let opener = Opener::new().settings(support::settings(&prefix));
    let engine = Engine::new(Arc::new(opener.open(&proxy.url()).unwrap())).unwrap();
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
            told => panic!("{key}: {told:?}"),
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

#[test]
fn a_thousand_callers_share_one_connection() {
    const CALLERS: usize = 1_000;
    if !support::is_there() {
        return;
    }
    let (server, prefix) = (Server::volatile(), support::prefix());
    let mut settings = support::settings(&prefix);
    settings.deadline = Duration::from_mins(1);
    let store = Opener::new().settings(settings).open(&server.url()).unwrap();
    let engine = Engine::new(Arc::new(store)).unwrap();
    // While the server stands still, all of them are under way at once.
    server.signal("-STOP");
    let executor = smol::Executor::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| executor.spawn(engine.acquire(&format!("key {number}")).ttl(LONG).send()))
        .collect();
    while executor.try_tick() {}
    server.signal("-CONT");
    smol::block_on(executor.run(async {
        for caller in callers {
            assert!(matches!(caller.await.unwrap(), Acquisition::Acquired(_)));
        }
    }));
    let clients = support::ask_for_all(server.port, &["CLIENT", "LIST"]).concat();
    assert_eq!(clients.lines().count(), 2, "the store's and the one that asks: {clients}");
}
