//! A proxy between stores and their server spoils what passes: connections are cut before, amid and after each message, requests and
//! replies are lost or late. Callers send again, as the contract has it, and every answer is right.
//!
//! The environment's `LESSOR_PROXY` says how many stories are told, by default 320.

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

use lessor_core::{Acquisition, Engine, Error, Held, Lease, LeaseId, OnFailed, State, StoreError, View};
use lessor_redis::{Opener, RedisStore};
use support::Server;
use support::dice::{Dice, number_from_env};
use support::proxy::{FAULTS, Fault, Proxy};

const DEADLINE: Duration = Duration::from_millis(60);
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

/// How often something was sent, and how often of those it stayed open whether it had happened.
#[derive(Default)]
struct Sent {
    times: u64,
    in_doubt: u64,
}

/// Sends it again until there is an answer, which may be a refusal. Whatever is said to have changed nothing has to have changed
/// nothing.
fn until_told<T>(
    world: &World,
    key: &str,
    sent: &mut Sent,
    send: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..MOST_SENT {
        let before = world.version(key);
        sent.times += 1;
        match send() {
            Err(Error::Store(StoreError::Indeterminate { .. })) => sent.in_doubt += 1,
            Err(Error::Store(StoreError::Unavailable { .. })) if sent.in_doubt > 0 => {}
            Err(Error::Store(StoreError::Unavailable { reason })) => {
                assert_eq!(world.version(key), before, "{key}: nothing was changed, it says: {reason}");
            }
            told => return told,
        }
    }
    panic!("{key}: no answer although it was sent {MOST_SENT} times");
}

fn acquire(world: &World, engine: &Engine, key: &str, ttl: Duration) -> (Lease, Sent) {
    let id = LeaseId::random().unwrap();
    let mut sent = Sent::default();
    let told = until_told(world, key, &mut sent, || engine.acquire(key).lease_id(id).ttl(ttl).wait());
    match told {
        Ok(Acquisition::Acquired(lease)) => {
            assert_eq!(*lease.lease_id(), id);
            assert!(!lease.is_resent() || sent.in_doubt > 0 || sent.times == 1, "{key}");
            (lease, sent)
        }
        other => panic!("{key}: {other:?}"),
    }
}

/// One outcome, delivered until it is acknowledged, and then once more.
fn deliver(world: &World, key: &str, held: &Held, what: impl Fn(&Held) -> Result<lessor_core::Ack, Error>) {
    let before = world.version(key);
    for round in 0..2 {
        let ack = until_told(world, key, &mut Sent::default(), || what(held)).unwrap();
        assert_eq!(ack.version().as_u64(), before + 1, "{key}");
        assert!(round == 0 || ack.is_repeated(), "{key}");
        assert_eq!(world.version(key), before + 1, "{key}: written at most once");
    }
}

/// Extensions and checkpoints are new writes when they are sent again, so they may take effect as often as their outcome was left open.
fn go_on(world: &World, key: &str, held: &Held, what: impl Fn(&Held) -> Result<lessor_core::Ack, Error>) {
    let before = world.version(key);
    let mut sent = Sent::default();
    let ack = until_told(world, key, &mut sent, || what(held)).unwrap();
    let version = ack.version().as_u64();
    assert!((before + 1..=before + 1 + sent.in_doubt).contains(&version), "{key}: {before} to {version}");
    assert_eq!(world.version(key), version, "{key}");
}

fn told_of_newer(key: &str, token: u64, told: Result<lessor_core::Ack, Error>) {
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
    let (lease, _) = acquire(world, one, key, LONG);
    let view = world.view(key);
    assert_eq!((view.state(), view.version().as_u64(), view.attempt()), (State::InProgress, 1, 1), "{key}");
    match until_told(world, key, &mut Sent::default(), || other.acquire(key).wait()).unwrap() {
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
        match until_told(world, key, &mut Sent::default(), || engine.acquire(key).wait()).unwrap() {
            Acquisition::Completed(view) => assert_eq!(view.result_bytes(), Some(result.as_bytes())),
            told => panic!("{key}: {told:?}"),
        }
    }
}

fn fails(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let (lease, _) = acquire(world, one, key, LONG);
    deliver(world, key, &lease, |held| held.fail_with("code", "why").wait());
    match until_told(world, key, &mut Sent::default(), || other.acquire(key).wait()).unwrap() {
        Acquisition::Failed(view) => assert_eq!(view.error_code(), Some("code"), "{key}"),
        told => panic!("{key}: {told:?}"),
    }
    let retry = OnFailed::Retry { max_attempts: 2, backoff: lessor_core::Backoff::NONE };
    let id = LeaseId::random().unwrap();
    let again = || other.acquire(key).lease_id(id).on_failed(retry).ttl(LONG).wait();
    let Ok(Acquisition::Acquired(second)) = until_told(world, key, &mut Sent::default(), again) else {
        panic!("{key}: it is not tried again")
    };
    assert!(second.token() > lease.token() && second.attempt() == 2, "{key}");
    assert_eq!(world.version(key), 3, "{key}");
    told_of_newer(
        key,
        second.token().as_u64(),
        until_told(world, key, &mut Sent::default(), || lease.fail("code").wait()),
    );
    deliver(world, key, &second, |held| held.complete_bytes(b"").wait());
}

fn releases(world: &World, key: &str) {
    let World { one, other, .. } = world;
    let (lease, _) = acquire(world, one, key, LONG);
    deliver(world, key, &lease, |held| held.release().wait());
    let (second, _) = acquire(world, other, key, LONG);
    assert!(second.token() > lease.token() && second.attempt() == 2, "{key}");
    assert_eq!(world.version(key), 3, "{key}");
    deliver(world, key, &second, |held| held.cancel(None).wait());
}

/// Two rivals are after it.
fn lapses(world: &World, key: &str) {
    let World { one, other, truth, .. } = world;
    let id = LeaseId::random().unwrap();
    let first = until_told(world, key, &mut Sent::default(), || {
        one.acquire(key).lease_id(id).ttl(Duration::from_millis(5)).wait()
    });
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
        until_told(world, key, &mut Sent { times: 0, in_doubt: 1 }, || {
            engine.acquire(key).lease_id(id).ttl(LONG).wait()
        })
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
    let tell = |act: &dyn Fn() -> Result<lessor_core::Ack, Error>| {
        told_of_newer(key, token, until_told(world, key, &mut Sent::default(), act));
    };
    tell(&|| stale.extend(LONG).wait());
    tell(&|| stale.complete_bytes(b"stale").wait());
    tell(&|| stale.release().wait());
    assert_eq!(world.version(key), 2, "{key}: a stale holder changes nothing");
    deliver(world, key, lease, |held| held.complete_bytes(b"fresh").wait());
    let _ = truth;
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

    let stories = number_from_env("LESSOR_PROXY", 320);
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
    let _ = Fault::ReplyLate;
}
