//! Runs the workers of one scenario, step by step.

use std::any::Any;
use std::collections::BTreeMap;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lessor_core::Settings;

use crate::crash::process::{End, Event, Killed, Order, Process, ProcessStore};
use crate::crash::sim::Sim;
use crate::crash::step::{Fault, Step};
use crate::crash::world::{Effect, World};
use crate::layer::Layered;

/// A function under test.
pub(crate) type Function = dyn Fn(&Sim) -> Result<(), String> + Send + Sync;
/// The faults of a scenario, by the number of the step. The steps of all workers are counted
/// together, from 1.
pub(crate) type Plan = BTreeMap<u64, Fault>;

/// The number of calls that a caller makes after failures.
const MOST_CALLS: usize = 8;
/// The real time after which a worker counts as waiting, if its last step was a reading. The engine
/// reads the record when a caller begins to wait.
const PATIENCE: Duration = Duration::from_millis(100);
/// The same after any other step. It is so long that a busy machine does not reach it.
const LONG_PATIENCE: Duration = Duration::from_secs(10);
/// The real time for which a worker may wait although time passes, before it counts as hanging.
const MOST_WAITING: Duration = Duration::from_secs(20);

/// The result of a scenario.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) effects: Vec<Effect>,
    /// The steps of all workers, in order.
    pub(crate) steps: Vec<Step>,
    /// The faults in words, each with the number of the step.
    pub(crate) faults: Vec<(u64, String)>,
    pub(crate) verdict: Verdict,
}

/// How the last call of the function ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Finished,
    /// All calls failed, the last one with this error.
    Failing(String),
    /// A call does not return.
    Hanging,
}

/// A worker that has stopped.
struct Held {
    worker: Worker,
    /// It continues once the active worker has taken this many steps.
    after: u64,
}

struct Worker {
    process: Arc<Process>,
    /// The number of steps that it has taken, and the last one.
    taken: u64,
    last: Option<Step>,
    /// True if it was stopped before a step that has been counted.
    owes_step: bool,
    /// True if its caller does not learn the outcome.
    dies_at_end: bool,
}

struct Scenario<'a> {
    function: &'a Arc<Function>,
    plan: &'a Plan,
    world: Arc<World>,
    workers: usize,
    held: Vec<Held>,
    steps: Vec<Step>,
    faults: Vec<(u64, String)>,
    /// True if the next call begins before the leases have lapsed.
    is_in_a_hurry: bool,
}

/// Runs the function with these faults, and again as long as a caller would try again.
pub(crate) fn run(function: &Arc<Function>, settings: Settings, plan: &Plan) -> Run {
    let mut scenario = Scenario {
        function,
        plan,
        world: Arc::new(World::new(settings)),
        workers: 0,
        held: Vec::new(),
        steps: Vec::new(),
        faults: Vec::new(),
        is_in_a_hurry: false,
    };
    let verdict = scenario.run();
    let effects = scenario.world.effects();
    Run { effects, steps: scenario.steps, faults: scenario.faults, verdict }
}

impl Scenario<'_> {
    fn run(&mut self) -> Verdict {
        let mut active = self.start();
        let (mut calls, mut waited) = (1, Duration::ZERO);
        // The error of a call that has to be repeated.
        let mut failed: Option<String> = None;
        loop {
            let event = active.process.next(active.patience());
            if !matches!(event, Event::Waits) {
                waited = Duration::ZERO;
            }
            match event {
                Event::At(step) => active = self.at(active, step),
                Event::Ended(end) => {
                    let end = self.end(&active, end);
                    match end {
                        End::Returned => {}
                        End::Failed(error) => failed = Some(error),
                        End::Killed => failed = Some("the process was killed".to_owned()),
                    }
                    active = match self.held.pop() {
                        Some(held) => resume(held.worker),
                        None => match failed.take() {
                            None => return Verdict::Finished,
                            Some(error) if calls == MOST_CALLS => return Verdict::Failing(error),
                            Some(_) => {
                                calls += 1;
                                if !mem::take(&mut self.is_in_a_hurry) {
                                    self.world.outlast_leases();
                                }
                                self.start()
                            }
                        },
                    };
                }
                Event::Waits => match self.held.pop() {
                    // It waits for the worker that is held.
                    Some(held) => {
                        self.held.push(Held { worker: active, after: u64::MAX });
                        active = resume(held.worker);
                    }
                    None if waited > MOST_WAITING => return Verdict::Hanging,
                    None => {
                        waited += active.patience();
                        self.world.outlast_leases();
                    }
                },
            }
        }
    }

    /// The active worker has come to a step. Returns the worker that goes on.
    fn at(&mut self, mut active: Worker, step: Step) -> Worker {
        // The suspended worker continues before this step.
        if let Some(held) = self.held.pop_if(|held| held.after == active.taken) {
            let number = held.worker.process.number();
            self.note(format!(
                "worker {number} continued before {step} of worker {}",
                active.process.number()
            ));
            active.process.suspend(true);
            // It comes to the same step again.
            self.held.push(Held { worker: active, after: u64::MAX });
            return resume(held.worker);
        }
        self.steps.push(step.clone());
        let fault = self.plan.get(&(self.steps.len() as u64)).copied();
        let number = active.process.number();
        let order = match fault {
            None => Order::Go,
            Some(Fault::CrashAtEnd) => {
                active.dies_at_end = true;
                Order::Go
            }
            Some(Fault::Crash { at_once }) => {
                let fault = match &active.last {
                    Some(last) => format!("worker {number} crashed after {last} and before {step}"),
                    None => format!("worker {number} crashed before {step}"),
                };
                let again = if at_once { ", and its caller tried again at once" } else { "" };
                self.note(fault + again);
                self.is_in_a_hurry = at_once;
                Order::Die
            }
            Some(Fault::LostRequest) => {
                self.note(format!("{step} of worker {number} did not arrive"));
                Order::LoseRequest
            }
            Some(Fault::LostReply) => {
                self.note(format!("the reply to {step} of worker {number} was lost"));
                Order::LoseReply
            }
            Some(Fault::Late) => {
                self.note(format!("worker {number} was delayed before {step} until all leases had lapsed"));
                active.process.suspend(true);
                self.world.outlast_leases();
                active.process.suspend(false);
                Order::Go
            }
            Some(Fault::Pause { steps }) => {
                self.note(format!(
                    "worker {number} was suspended before {step} until all leases had lapsed, and worker {} began",
                    self.workers + 1
                ));
                active.process.suspend(true);
                active.owes_step = true;
                active.take(step);
                self.world.outlast_leases();
                self.held.push(Held { worker: active, after: steps });
                return self.start();
            }
        };
        active.take(step);
        active.process.go(order);
        active
    }

    /// Returns how a worker ended, after a crash that its caller noticed instead.
    fn end(&mut self, active: &Worker, end: End) -> End {
        if end != End::Returned || !active.dies_at_end {
            return end;
        }
        let number = active.process.number();
        self.note(match &active.last {
            Some(last) => format!("worker {number} crashed after its last step, {last}"),
            None => format!("worker {number} crashed at its end"),
        });
        End::Killed
    }

    fn note(&mut self, fault: String) {
        let at = self.steps.len() as u64;
        self.faults.push((at, fault));
    }

    /// Starts a process that runs the function.
    fn start(&mut self) -> Worker {
        self.workers += 1;
        let process = Arc::new(Process::new(self.workers));
        let store = ProcessStore { inner: Arc::clone(self.world.store()), process: Arc::clone(&process) };
        let engine = self.world.engine(Arc::new(Layered(store)));
        let sim = Sim::new(engine, Arc::clone(&process), Arc::clone(&self.world));
        let (function, own) = (Arc::clone(self.function), Arc::clone(&process));
        thread::spawn(move || {
            own.begin();
            let ended = catch_unwind(AssertUnwindSafe(|| function(&sim)));
            drop(sim);
            own.end(match ended {
                Ok(Ok(())) => End::Returned,
                Ok(Err(error)) => End::Failed(error),
                Err(panic) => killed(&*panic),
            });
        });
        Worker { process, taken: 0, last: None, owes_step: false, dies_at_end: false }
    }
}

impl Worker {
    fn patience(&self) -> Duration {
        if self.last == Some(Step::Reading) { PATIENCE } else { LONG_PATIENCE }
    }

    fn take(&mut self, step: Step) {
        self.taken += 1;
        self.last = Some(step);
    }
}

fn resume(mut worker: Worker) -> Worker {
    worker.process.suspend(false);
    if mem::take(&mut worker.owes_step) {
        worker.process.go(Order::Go);
    }
    worker
}

fn killed(panic: &(dyn Any + Send)) -> End {
    if panic.is::<Killed>() {
        return End::Killed;
    }
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    End::Failed(format!("it panicked: {}", text.unwrap_or("no message")))
}
