//! Tests a store through engines against the model.

use std::cell::Cell;
use std::collections::HashMap;

use lessor_core::{Key, LeaseId};
use proptest::arbitrary::any;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use crate::actor::Actor;
use crate::conformance::Factory;
use crate::environment::number_from_env;
use crate::faulty::{FaultRates, Faults, Level};
use crate::model::{AcquireArgs, Answer, Model, Op, Refusal, Resolution};
use crate::strategies::{Action, ENGINES, HOLDERS, KEYS, RETENTION, Step, on_failed, steps};
use crate::subject::Subject;

/// Returns the number of sequences: `LESSOR_CASES`, by default 256.
#[must_use]
pub fn cases() -> u32 {
    number_from_env("LESSOR_CASES", 256)
}

/// The extent of a check.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The number of sequences.
    pub cases: usize,
    /// The number of commands in all sequences.
    pub commands: usize,
}

/// Runs random sequences of commands on the store and on the model. Compares every answer, the
/// state of every key for observers, and the encoded record after each operation that must not
/// change it. Requires a manual clock.
///
/// `seeds` is a file, relative to the package's folder, with the seeds of sequences that have
/// failed. They are run first. The file should be committed.
///
/// # Panics
/// Panics if the store and the model differ. The message has the shortest failing sequence that was
/// found.
pub fn check(factory: Factory<'_>, seeds: &'static str) -> Summary {
    if factory().exact_clock("the state machine against the model").is_none() {
        return Summary::default();
    }
    let summary = explore(seeds, steps(50), |steps| run(factory, &steps));
    println!("{} sequences, {} commands agreed with the model", summary.cases, summary.commands);
    summary
}

/// Does the same as [`check`] over a store that is temporarily unavailable and loses requests and
/// replies. A failed operation is repeated until there is an answer. The answer must be the model's
/// answer to a single request, and each operation must be performed at most once.
///
/// # Panics
/// Panics if the store and the model differ.
pub fn check_with_lost_replies(factory: Factory<'_>, seeds: &'static str) -> Summary {
    let faults = Cell::new(0);
    if factory().exact_clock("the state machine with lost replies").is_none() {
        return Summary::default();
    }
    let summary = explore(seeds, (any::<u64>(), steps(50)), |(seed, steps)| {
        let mut handle = None;
        let subject = factory().map_store(|store| {
            let (store, faults) = Faults::over(store, Level::Swaps);
            handle = Some(faults);
            store
        });
        let mut run = Run::new(subject);
        if let Some(faults) = &handle {
            faults.deliver_in_random_order(seed);
        }
        run.faults = handle.clone().map(|faults| (faults, seed));
        let commands = run.all(&steps);
        faults.set(faults.get() + handle.map_or(0, |faults| faults.injected()));
        commands
    });
    println!(
        "{} sequences, {} commands agreed with the model over {} faults",
        summary.cases,
        summary.commands,
        faults.get()
    );
    summary
}

fn explore<V: std::fmt::Debug>(
    seeds: &'static str,
    strategy: impl Strategy<Value = V>,
    run: impl Fn(V) -> Result<usize, TestCaseError>,
) -> Summary {
    let config = Config {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
        max_shrink_iters: 4096,
        ..Config::default()
    };
    let tried = Cell::new(Summary::default());
    let outcome = TestRunner::new(config).run(&strategy, |input| {
        let commands = run(input)?;
        let before = tried.get();
        tried.set(Summary { cases: before.cases + 1, commands: before.commands + commands });
        Ok(())
    });
    let differ = outcome.err().map(|error| error.to_string());
    assert!(differ.is_none(), "the store and the model differ: {}", differ.unwrap_or_default());
    tried.get()
}

/// Runs one sequence and returns the number of its commands.
///
/// # Errors
/// An error if an answer of the store differs from the model's.
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
    /// The faults of the store, with the seed of the next ones.
    faults: Option<(Faults, u64)>,
}

impl Run {
    fn new(subject: Subject) -> Self {
        let engine = || Actor::new(subject.engine_with(|settings| settings.limits.retention = RETENTION));
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
            Step::Command { engine, key, holder, by_id, action } => {
                let op = self.op(*key, *holder, action);
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
        let mut answer;
        match &mut self.faults {
            // The other operations do not return the same answer when they are repeated.
            Some((faults, seed)) if is_repeatable(op) => {
                *seed = seed.wrapping_add(1);
                faults.at_random(*seed, RATES);
                let mut sent = 0;
                loop {
                    answer = actor.perform(&name(key), op, by_id);
                    sent += 1;
                    match answer {
                        Answer::Refused(Refusal::Other(_)) if sent < 1000 => {}
                        _ => break,
                    }
                }
                faults.clear();
                answer = without_repetition(answer, &expected);
            }
            _ => answer = actor.perform(&name(key), op, by_id),
        }
        if answer != expected {
            return Err(format!("the engine answered\n{answer:?}\nbut the model expects\n{expected:?}"));
        }
        if !writes(&answer) && self.stored(key)? != before {
            return Err(format!("P4: the record changed although the answer was {answer:?}"));
        }
        if let Answer::Acquired { token, resent: false, .. } = answer {
            let last = self.tokens.get_mut(usize::from(key)).ok_or("no such key")?;
            if token <= *last {
                return Err(format!("P2: token {token} after {last}"));
            }
            *last = token;
        }
        Ok(())
    }

    /// Compares the state of every key for observers with the model.
    fn compare_views(&mut self) -> Result<(), String> {
        let now = self.subject.now();
        for key in 0..KEYS {
            let model = self.models.get_mut(usize::from(key)).ok_or("no such key")?;
            let expected = model.apply(&Op::Status, now);
            let history = model.history(now);
            for actor in &mut self.actors {
                let seen = actor.history(&name(key));
                if seen != history {
                    return Err(format!("the history is\n{seen:?}\nbut the model expects\n{history:?}"));
                }
                let answer = actor.perform(&name(key), &Op::Status, true);
                if answer != expected {
                    return Err(format!("observers see\n{answer:?}\nbut the model expects\n{expected:?}"));
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

    fn op(&mut self, key: u8, holder: u8, action: &Action) -> Op {
        let id = match action {
            Action::Acquire { fresh: true, .. } => self.draw(key, holder),
            _ => self.id(key, holder),
        };
        match action.clone() {
            Action::Acquire { ttl, holder, metadata, fingerprint, retry, on_lapsed, .. } => {
                Op::Acquire(AcquireArgs {
                    id,
                    ttl,
                    holder,
                    metadata,
                    fingerprint,
                    on_failed: on_failed(retry),
                    backoff: retry.map(|(_, wait)| wait).unwrap_or_default(),
                    on_lapsed,
                })
            }
            Action::Extend(ttl) => Op::Extend { id, ttl },
            Action::Checkpoint(bytes) => Op::Checkpoint { id, bytes },
            Action::Complete(result, hash) => Op::Complete { id, result, hash },
            Action::Fail(code, detail) => Op::Fail { id, code, detail },
            Action::Release => Op::Release { id },
            Action::FailFor(code, wait) => Op::FailFor { id, code, wait },
            Action::Abandon => Op::Abandon { id },
            Action::LeaveInDoubt => Op::LeaveInDoubt { id },
            Action::Status => Op::Status,
            Action::Forget(force) => Op::Forget { force },
            Action::ResolveCompleted(result, force) => {
                Op::Resolve { resolution: Resolution::Completed(result), force }
            }
            Action::ResolveFailed(code, force) => Op::Resolve { resolution: Resolution::Failed(code), force },
            Action::ResolveReleased(force) => Op::Resolve { resolution: Resolution::Released, force },
        }
    }
}

fn name(key: u8) -> String {
    format!("key {key}")
}

const RATES: FaultRates =
    FaultRates { unavailable: 150, lost_request: 150, lost_reply: 250, held_request: 100, held_reply: 100 };

fn is_repeatable(op: &Op) -> bool {
    match op {
        Op::Acquire(_)
        | Op::Complete { .. }
        | Op::Fail { .. }
        | Op::FailFor { .. }
        | Op::Release { .. }
        | Op::Abandon { .. }
        | Op::LeaveInDoubt { .. }
        | Op::Status => true,
        Op::Extend { .. } | Op::Checkpoint { .. } | Op::Forget { .. } | Op::Resolve { .. } => false,
    }
}

/// Returns the answer without the parts that may differ after a repetition. A repeated operation
/// may be marked as a duplicate, by the caller's or by the engine's repetition. If two writes are
/// identical, both answers may claim the write. All other parts must be equal.
fn without_repetition(answer: Answer, expected: &Answer) -> Answer {
    match (answer, expected) {
        (Answer::Acquired { token, attempt, checkpoint, former, .. }, Answer::Acquired { resent, .. }) => {
            Answer::Acquired { token, attempt, resent: *resent, checkpoint, former }
        }
        (Answer::Done { version, expires_at, late, .. }, Answer::Done { repeated, .. }) => {
            Answer::Done { version, expires_at, late, repeated: *repeated }
        }
        (answer, _) => answer,
    }
}

/// Returns whether the answer states that the record was changed.
fn writes(answer: &Answer) -> bool {
    match answer {
        Answer::Acquired { resent, .. } => !resent,
        Answer::Done { repeated, .. } => !repeated,
        Answer::Forgotten(was) => *was,
        Answer::InProgress(_)
        | Answer::Completed(_)
        | Answer::Failed(_)
        | Answer::InDoubt(_)
        | Answer::Status(_)
        | Answer::Refused(Refusal::Other(_))
        | Answer::Refused(_) => false,
    }
}
