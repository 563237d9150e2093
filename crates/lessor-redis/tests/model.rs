//! The engine over the Redis store and the reference model agree on every answer. The server's clock is set by hand.
//!
//! The environment's `LESSOR_STEPS` says how many steps of a clock are made while stores are at work, by default 40.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::{Acquisition, Clock, Engine, Error, Lease, State, Timestamp};
use lessor_testkit::{ManualClock, Subject, history, state_machine};
use parking_lot::Mutex;
use support::dice::{Dice, number_from_env};
use support::faked::{ClockFile, Faked, FakedServer, Hand};

/// Makes fresh stores. The time of each begins long after whatever came before: the server's clock does not run backwards.
struct Stores {
    server: FakedServer,
    file: Arc<Mutex<ClockFile>>,
    next: AtomicU64,
}

impl Stores {
    fn new() -> Option<Self> {
        if !support::is_there() {
            return None;
        }
        let server = FakedServer::start()?;
        let file = Arc::new(Mutex::new(ClockFile::open(&server.clock_path())));
        let next = AtomicU64::new(ManualClock::new().now().as_micros());
        Some(Self { server, file, next })
    }

    fn fresh(&self) -> Subject {
        const YEAR: Duration = Duration::from_hours(365 * 24);
        let year = u64::try_from(YEAR.as_micros()).unwrap() / 50;
        let start = Timestamp::from_micros(self.next.fetch_add(year, Ordering::Relaxed)).unwrap();
        self.file.lock().stand_at(start);
        let clock = ManualClock::starting_at(start);
        let opener = lessor_redis::Opener::new().settings(support::settings(&support::prefix()));
        let store = Arc::new(opener.open(&self.server.url()).unwrap());
        let hand = Hand::Manual(clock.clone(), Arc::clone(&self.file));
        Subject::on_manual_clock(Arc::new(Faked { store, hand }), clock)
    }
}

#[test]
fn p1_p2_p3_p4_p6_p10_every_answer_is_the_models() {
    let Some(stores) = Stores::new() else { return };
    let tally = state_machine::check(&|| stores.fresh(), "tests/model.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p6_every_answer_is_the_models_although_replies_are_lost() {
    let Some(stores) = Stores::new() else { return };
    let tally = state_machine::check_with_lost_replies(&|| stores.fresh(), "tests/lost_replies.regressions");
    assert!(tally.commands > tally.cases);
}

#[test]
fn p8_histories_of_real_threads_are_linearizable_per_key() {
    let Some(stores) = Stores::new() else { return };
    let tally = history::check_races(&|| stores.fresh()).unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.operations > tally.histories);
}

/// Forward and backward by up to two hours, under leases of ten minutes. Stores that know the time from before go on beside one that is
/// opened after each step.
#[test]
fn p1_p2_p7_tokens_rise_and_nothing_runs_backwards_while_the_servers_clock_makes_steps() {
    const TTL: Duration = Duration::from_mins(10);
    const HOUR: u64 = 3_600_000_000;
    if !support::is_there() {
        return;
    }
    let Some(server) = FakedServer::start() else { return };
    let prefix = support::prefix();
    let open = || {
        let opener = lessor_redis::Opener::new().settings(support::settings(&prefix));
        Engine::new(Arc::new(opener.open(&server.url()).unwrap())).unwrap()
    };
    let old = [open(), open()];
    let steps = number_from_env("LESSOR_STEPS", 40);
    let mut dice = Dice(1);
    let (mut told, mut token) = ([Timestamp::EPOCH; 2], 0);
    let mut held: Option<Lease> = None;
    let (mut taken_over, mut refused) = (0, 0);
    for step in 0..steps {
        let off = i64::try_from(dice.below(2 * HOUR)).unwrap();
        server.clock.set_off(off);
        let fresh = open();
        // Those that were told of a later time go on from there, and so do their leases.
        let engine = old.get(usize::try_from(dice.below(8)).unwrap()).unwrap_or(&fresh);
        let is_over = || fresh.status("key").wait().unwrap().is_none_or(|view| view.state() == State::Lapsed);
        let lease = loop {
            for (engine, told) in old.iter().zip(&mut told) {
                let now = engine.now().wait().unwrap();
                assert!(now >= *told, "step {step}: {now:?} after {told:?}");
                *told = now;
            }
            match engine.acquire("key").ttl(TTL).wait().unwrap() {
                Acquisition::Acquired(lease) => break lease,
                // The estimate of a store may be a second old.
                Acquisition::InProgress(_) if is_over() => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Acquisition::InProgress(_) => {
                    refused += 1;
                    let held = held.take().unwrap();
                    let before = fresh.status("key").wait().unwrap().unwrap();
                    let end = held.extend(TTL).wait().unwrap().expires_at();
                    let after = fresh.status("key").wait().unwrap().unwrap();
                    assert!(
                        after.ttl_left() >= before.ttl_left().map(|left| left.saturating_sub(TTL)),
                        "{end:?}"
                    );
                    held.release().wait().unwrap();
                }
                other => panic!("step {step}: {other:?}"),
            }
        };
        assert!(lease.token().as_u64() > token, "step {step}: {} after {token}", lease.token());
        token = lease.token().as_u64();
        if let Some(stale) = held.take() {
            taken_over += 1;
            match stale.complete(&"stale").wait() {
                Err(Error::NotHolder { token: newer }) => assert_eq!(newer, lease.token()),
                told => panic!("step {step}: {told:?}"),
            }
        }
        // An end is not before its begin, whatever the clock says.
        let key = format!("ends {step}");
        let Acquisition::Acquired(ends) = engine.acquire(&key).wait().unwrap() else { panic!("{key}") };
        server.clock.set_off(off - i64::try_from(HOUR).unwrap());
        ends.complete(&1).wait().unwrap();
        let view = fresh.status(&key).wait().unwrap().unwrap();
        assert!(view.done_at().unwrap() >= view.first_seen_at(), "{view:?}");
        server.clock.set_off(off);
        held = Some(lease);
    }
    println!("{steps} steps of the server's clock: {taken_over} leases ended by one, {refused} did not");
    assert!(taken_over > 0 && refused > 0);
}

/// The store's clock stood still until the server's had caught up with it, and a wait of a second lasted as long.
#[test]
fn p7_a_timeout_comes_although_the_servers_clock_was_set_back() {
    if !support::is_there() {
        return;
    }
    let Some(server) = FakedServer::start() else { return };
    let prefix = support::prefix();
    let opener = lessor_redis::Opener::new().settings(support::settings(&prefix));
    let engine = Engine::new(Arc::new(opener.open(&server.url()).unwrap())).unwrap();
    let Acquisition::Acquired(lease) = engine.acquire("key").wait().unwrap() else { panic!("it is taken") };
    server.clock.set_off(-2 * 3_600_000_000);
    // The store knows of it.
    lease.extend(Duration::from_hours(1)).wait().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(engine.wait_for("key", Duration::from_secs(1)).wait().unwrap().unwrap().state());
    });
    assert_eq!(receiver.recv_timeout(Duration::from_mins(1)), Ok(State::InProgress));
}
