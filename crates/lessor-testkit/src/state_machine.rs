//! Drives a store, through engines, against the model.

use std::cell::Cell;
use std::collections::HashMap;

use lessor_core::{Key, LeaseId};
use proptest::arbitrary::any;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use crate::actor::Actor;
use crate::conformance::Factory;
use crate::environment::number_from_env;
use crate::faulty::{Chances, Faults, Level};
use crate::model::{Ask, Model, Op, Refusal, Said, Verdict};
use crate::strategies::{ENGINES, HOLDERS, KEYS, RETENTION, Step, What, on_failed, steps};
use crate::subject::Subject;

/// How many sequences are tried: the environment's `LESSOR_CASES`, by default 256.
#[must_use]
pub fn cases() -> u32 {
    number_from_env("LESSOR_CASES", 256)
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Sequences.
    pub cases: usize,
    /// Commands in all of them.
    pub commands: usize,
}

/// Runs random sequences of commands over the store and the model, and compares every answer, what observers see of every
/// key, and the record's bytes wherever nothing may have changed. Needs a clock that is set by hand.
///
/// `seeds` is the file, relative to the package's folder, that keeps the seeds of sequences that failed once. They are
/// run first; commit the file.
///
/// # Panics
/// If the store and the model differ. The message shows the shortest sequence that was found.
pub fn check(factory: Factory<'_>, seeds: &'static str) -> Tally {
    if factory().exact_clock("the state machine against the model").is_none() {
        return Tally::default();
    }
    let tally = explore(seeds, steps(50), |steps| run(factory, &steps));
    println!("{} sequences, {} commands agreed with the model", tally.cases, tally.commands);
    tally
}

/// The same over a store that is away at times, and loses requests and replies. What failed so is sent again until there
/// is an answer: it has to be the one that the model gives to one request, and everything has to be written
/// at most once.
///
/// # Panics
/// If the store and the model differ.
pub fn check_with_lost_replies(factory: Factory<'_>, seeds: &'static str) -> Tally {
    let faults = Cell::new(0);
    if factory().exact_clock("the state machine with lost replies").is_none() {
        return Tally::default();
    }
    let tally = explore(seeds, (any::<u64>(), steps(50)), |(seed, steps)| {
        let mut handle = None;
        let subject = factory().map_store(|store| {
            let (store, faults) = Faults::over(store, Level::Swaps);
            handle = Some(faults);
            store
        });
        let mut run = Run::new(subject);
        if let Some(faults) = &handle {
            faults.deliver_in_any_order(seed);
        }
        run.faults = handle.clone().map(|faults| (faults, seed));
        let commands = run.all(&steps);
        faults.set(faults.get() + handle.map_or(0, |faults| faults.injected()));
        commands
    });
    println!(
        "{} sequences, {} commands agreed with the model over {} faults",
        tally.cases,
        tally.commands,
        faults.get()
    );
    tally
}

fn explore<V: std::fmt::Debug>(
    seeds: &'static str,
    strategy: impl Strategy<Value = V>,
    run: impl Fn(V) -> Result<usize, TestCaseError>,
) -> Tally {
    let config = Config {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
        max_shrink_iters: 4096,
        ..Config::default()
    };
    let tried = Cell::new(Tally::default());
    let outcome = TestRunner::new(config).run(&strategy, |input| {
        let commands = run(input)?;
        let before = tried.get();
        tried.set(Tally { cases: before.cases + 1, commands: before.commands + commands });
        Ok(())
    });
    let differ = outcome.err().map(|error| error.to_string());
    assert!(differ.is_none(), "the store and the model differ: {}", differ.unwrap_or_default());
    tried.get()
}

/// Runs one sequence, and says how many commands there were.
///
/// # Errors
/// Where the store's answers differ from the model's.
pub fn run(factory: Factory<'_>, steps: &[Step]) -> Result<usize, TestCaseError> {
    Run::new(factory()).all(steps)
}

struct Run {
    subject: Subject,
    actors: Vec<Actor>,
    models: Vec<Model>,
    /// The lease id of each holder's last acquire of each key.
    ids: HashMap<(u8, u8), LeaseId>,
    drawn: u128,
    tokens: Vec<u64>,
    /// For a store that fails, with the seed of its faults.
    faults: Option<(Faults, u64)>,
}

impl Run {
    fn new(subject: Subject) -> Self {
        let engine = || Actor::new(subject.engine_with(|settings| settings.retention = RETENTION));
        let actors = (0..ENGINES).map(|_| engine()).collect();
        let models = vec![Model::new(RETENTION); usize::from(KEYS)];
        let mut run = Self {
            subject,
            actors,
            models,
            ids: HashMap::new(),
            drawn: 0,
            tokens: vec![0; usize::from(KEYS)],
            faults: None,
        };
        for key in 0..KEYS {
            for holder in 0..HOLDERS {
                run.draw(key, holder);
            }
        }
        run
    }

    fn all(&mut self, steps: &[Step]) -> Result<usize, TestCaseError> {
        let mut commands = 0;
        for (number, step) in steps.iter().enumerate() {
            commands += usize::from(matches!(step, Step::Command { .. }));
            self.take(step)
                .map_err(|reason| TestCaseError::fail(format!("step {number}, {step:?}: {reason}")))?;
        }
        Ok(commands)
    }

    fn draw(&mut self, key: u8, holder: u8) -> LeaseId {
        self.drawn += 1;
        let id = LeaseId::from_bytes(self.drawn.to_be_bytes());
        self.ids.insert((key, holder), id);
        id
    }

    fn id(&mut self, key: u8, holder: u8) -> LeaseId {
        match self.ids.get(&(key, holder)) {
            Some(id) => *id,
            None => self.draw(key, holder),
        }
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Pass(by) => self.subject.advance(*by),
            Step::Purge(limit) => {
                self.subject.store().purge(*limit).wait().map_err(|error| error.to_string())?;
            }
            Step::Command { engine, key, holder, by_id, what } => {
                let op = self.op(*key, *holder, what);
                self.command(*engine, *key, &op, *by_id)?;
            }
        }
        self.compare_views()
    }

    fn command(&mut self, engine: u8, key: u8, op: &Op, by_id: bool) -> Result<(), String> {
        let now = self.subject.now();
        let before = self.stored(key)?;
        let model = self.models.get_mut(usize::from(key)).ok_or("no such key")?;
        let expected = model.apply(op, now);
        let actor = self.actors.get_mut(usize::from(engine)).ok_or("no such engine")?;
        let mut said;
        match &mut self.faults {
            // The others are not said to be the same when they are sent again.
            Some((faults, seed)) if may_be_sent_again(op) => {
                *seed = seed.wrapping_add(1);
                faults.at_random(*seed, CHANCES);
                let mut sent = 0;
                loop {
                    said = actor.perform(&name(key), op, by_id);
                    sent += 1;
                    match said {
                        Said::Refused(Refusal::Other(_)) if sent < 1000 => {}
                        _ => break,
                    }
                }
                faults.quiet();
                said = as_if_sent_once(said, &expected);
            }
            _ => said = actor.perform(&name(key), op, by_id),
        }
        if said != expected {
            return Err(format!("the engine says\n{said:?}\nbut the model\n{expected:?}"));
        }
        if !writes(&said) && self.stored(key)? != before {
            return Err(format!("P4: the record changed although the answer was {said:?}"));
        }
        if let Said::Acquired { token, resent: false, .. } = said {
            let last = self.tokens.get_mut(usize::from(key)).ok_or("no such key")?;
            if token <= *last {
                return Err(format!("P2: token {token} after {last}"));
            }
            *last = token;
        }
        Ok(())
    }

    /// What observers see of every key is what the model says.
    fn compare_views(&mut self) -> Result<(), String> {
        let now = self.subject.now();
        for key in 0..KEYS {
            let model = self.models.get_mut(usize::from(key)).ok_or("no such key")?;
            let expected = model.apply(&Op::Status, now);
            for actor in &mut self.actors {
                let said = actor.perform(&name(key), &Op::Status, true);
                if said != expected {
                    return Err(format!("observers see\n{said:?}\nbut the model says\n{expected:?}"));
                }
            }
        }
        Ok(())
    }

    fn stored(&self, key: u8) -> Result<Option<Vec<u8>>, String> {
        let key = Key::new(&name(key)).map_err(|error| error.to_string())?;
        let seen = self.subject.store().load(&key).wait().map_err(|error| error.to_string())?;
        Ok(seen.record.map(|record| record.encode()))
    }

    fn op(&mut self, key: u8, holder: u8, what: &What) -> Op {
        let id = match what {
            What::Acquire { fresh: true, .. } => self.draw(key, holder),
            _ => self.id(key, holder),
        };
        match what.clone() {
            What::Acquire { ttl, holder, metadata, fingerprint, retry, on_lapsed, .. } => Op::Acquire(Ask {
                id,
                ttl,
                holder,
                metadata,
                fingerprint,
                on_failed: on_failed(retry),
                backoff: retry.map(|(_, wait)| wait).unwrap_or_default(),
                on_lapsed,
            }),
            What::Extend(ttl) => Op::Extend { id, ttl },
            What::Checkpoint(bytes) => Op::Checkpoint { id, bytes },
            What::Complete(result, hash) => Op::Complete { id, result, hash },
            What::Fail(code, detail) => Op::Fail { id, code, detail },
            What::Release => Op::Release { id },
            What::Abandon => Op::Abandon { id },
            What::Status => Op::Status,
            What::Forget(force) => Op::Forget { force },
            What::ResolveCompleted(result) => Op::Resolve(Verdict::Completed(result)),
            What::ResolveFailed(code) => Op::Resolve(Verdict::Failed(code)),
            What::ResolveReleased => Op::Resolve(Verdict::Released),
        }
    }
}

fn name(key: u8) -> String {
    format!("key {key}")
}

const CHANCES: Chances =
    Chances { unavailable: 150, lost_request: 150, lost_reply: 250, held_request: 100, held_reply: 100 };

fn may_be_sent_again(op: &Op) -> bool {
    match op {
        Op::Acquire(_)
        | Op::Complete { .. }
        | Op::Fail { .. }
        | Op::Release { .. }
        | Op::Abandon { .. }
        | Op::Status => true,
        Op::Extend { .. } | Op::Checkpoint { .. } | Op::Forget { .. } | Op::Resolve(_) => false,
    }
}

/// What was sent again, by the caller or by the engine itself, may be told that it had been done before; and of two writes
/// that are the same byte for byte, each may be told that it was the one. Everything else has to be the same.
fn as_if_sent_once(said: Said, expected: &Said) -> Said {
    match (said, expected) {
        (Said::Acquired { token, attempt, checkpoint, former, .. }, Said::Acquired { resent, .. }) => {
            Said::Acquired { token, attempt, resent: *resent, checkpoint, former }
        }
        (Said::Done { version, expires_at, late, .. }, Said::Done { repeated, .. }) => {
            Said::Done { version, expires_at, late, repeated: *repeated }
        }
        (said, _) => said,
    }
}

/// Whether the answer tells of a change.
fn writes(said: &Said) -> bool {
    match said {
        Said::Acquired { resent, .. } => !resent,
        Said::Done { repeated, .. } => !repeated,
        Said::Forgotten(was) => *was,
        Said::InProgress(_)
        | Said::Completed(_)
        | Said::Failed(_)
        | Said::InDoubt(_)
        | Said::Status(_)
        | Said::Refused(Refusal::Other(_))
        | Said::Refused(_) => false,
    }
}
