//! Histories of racing threads over a store.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::{LeaseId, OnFailed, OnLapsed};

use super::checker::{Recorder, check};
use crate::actor::Actor;
use crate::conformance::Factory;
use crate::environment::number_from_env;
use crate::faulty::splitmix;
use crate::model::{AcquireArgs, Model, Op, Resolution};

const THREADS: u64 = 4;
const KEYS: u64 = 2;
const OPS_PER_THREAD: usize = 12;
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// The extent of a check.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The number of histories, each of several threads and keys.
    pub histories: usize,
    /// The number of operations in all histories.
    pub operations: usize,
}

/// Runs threads that race through engines over a shared store while the clock advances, and checks
/// the answers for each key. The number of histories is `LESSOR_HISTORIES`, by default 100.
/// Requires a manual clock.
///
/// # Errors
/// The first history that is not linearizable, as text.
pub fn check_races(factory: Factory<'_>) -> Result<Summary, String> {
    let mut summary = Summary::default();
    for seed in 0..u64::from(number_from_env("LESSOR_HISTORIES", 100)) {
        let subject = factory();
        let Some(clock) = subject.exact_clock("histories of real threads") else { return Ok(summary) };
        let recorder = Recorder::new(clock.clone());
        let mut actors: Vec<_> = Vec::new();
        for pair in 0..THREADS / 2 {
            // Two threads share an engine, and all share the store.
            let engine = subject.engine_with(|settings| settings.limits.retention = RETENTION);
            actors.push((2 * pair, Actor::new(engine.clone())));
            actors.push((2 * pair + 1, Actor::new(engine)));
        }
        run(&recorder, &mut actors, seed);
        summary.histories += 1;
        for (key, history) in recorder.into_events() {
            summary.operations += history.len();
            check(&history, &Model::new(RETENTION)).map_err(|why| format!("seed {seed}, {key}: {why}"))?;
        }
    }
    println!("{} histories, {} operations are linearizable", summary.histories, summary.operations);
    Ok(summary)
}

fn run(recorder: &Recorder, actors: &mut [(u64, Actor)], seed: u64) {
    let start = Barrier::new(actors.len() + 1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let racers: Vec<_> = actors
            .iter_mut()
            .map(|(number, actor)| {
                let start = &start;
                scope.spawn(move || {
                    let mut random = seed.wrapping_mul(THREADS).wrapping_add(*number);
                    start.wait();
                    for _ in 0..OPS_PER_THREAD {
                        let key = format!("key {}", splitmix(&mut random) % KEYS);
                        let op = draw(&mut random, *number);
                        let by_id = splitmix(&mut random).is_multiple_of(2);
                        recorder.record(&key, op, |op| actor.perform(&key, op, by_id));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            start.wait();
            while !done.load(Ordering::SeqCst) {
                recorder.advance(Duration::from_millis(1));
                crate::subject::sleep(Duration::from_micros(50));
            }
        });
        let ends: Vec<_> = racers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::SeqCst);
        assert!(ends.iter().all(Result::is_ok), "a racing thread panicked");
    });
}

/// Returns a random operation of one thread: mostly under one of its own lease ids, sometimes under
/// another thread's.
fn draw(random: &mut u64, thread: u64) -> Op {
    let mut roll = |sides: u64| splitmix(random) % sides;
    let owner = if roll(5) == 0 { roll(THREADS) } else { thread };
    let id = LeaseId::from_bytes(u128::from(owner * 8 + roll(3) + 1).to_be_bytes());
    let ttl = Duration::from_millis(match roll(4) {
        3 => 1000,
        short => 1 + 2 * short,
    });
    match roll(22) {
        0..=7 => Op::Acquire(AcquireArgs {
            id,
            ttl,
            holder: Some(format!("thread {thread}")),
            metadata: None,
            fingerprint: None,
            on_failed: match roll(2) {
                0 => OnFailed::Replay,
                _ => OnFailed::Retry { max_attempts: 9, backoff: lessor_core::Backoff::NONE },
            },
            backoff: Duration::ZERO,
            on_lapsed: match roll(5) {
                0 => OnLapsed::InDoubt,
                1 => OnLapsed::Reconcile,
                _ => OnLapsed::TakeOver,
            },
        }),
        8 | 9 => Op::Extend { id, ttl },
        10 => Op::Checkpoint { id, bytes: roll(256).to_be_bytes().to_vec() },
        11 => Op::Complete { id, result: roll(3).to_be_bytes().to_vec(), hash: None },
        12 | 13 => Op::Fail { id, code: "code".to_owned(), detail: None },
        14 | 15 => Op::Release { id },
        16 => Op::Abandon { id },
        17 => Op::Forget { force: roll(2) == 0 },
        18 => Op::Resolve { resolution: Resolution::Released, force: roll(2) == 0 },
        19 => Op::LeaveInDoubt { id },
        20 => Op::FailFor { id, code: "code".to_owned(), wait: ttl },
        _ => Op::Status,
    }
}
