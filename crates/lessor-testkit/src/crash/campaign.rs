//! The scenarios of a test, one after another.

use std::fmt::Display;
use std::sync::Arc;

use lessor_core::Settings;

use crate::crash::judge::Expected;
use crate::crash::promise::Promise;
use crate::crash::report::{CrashFailure, CrashReport};
use crate::crash::scenario::{self, Function, Plan, Run, Verdict};
use crate::crash::sim::Sim;
use crate::crash::step::{Fault, Step};
use crate::faulty::splitmix;

/// A test of a guarded function, with settings. See [`crash_everywhere`].
///
/// ```
/// use lessor_core::OnLapsed;
/// use lessor_testkit::{CrashTest, Promise, Sim};
///
/// // A crash leaves the key in doubt, and a former holder is refused at the sink.
/// fn charge(sim: &Sim) -> Result<(), Box<dyn std::error::Error>> {
///     let once = sim.engine().once("order-7").on_lapsed(OnLapsed::InDoubt);
///     once.run(|lease| sim.effect_fenced("charge", "order-7", lease.token()))?;
///     Ok(())
/// }
///
/// CrashTest::new().promise(Promise::AtMostOnce).seed(7).run(charge).assert_ok();
/// ```
#[derive(Clone, Debug)]
pub struct CrashTest {
    promise: Promise,
    seed: u64,
    random: u64,
    only: Option<u64>,
    settings: Settings,
}

/// The number of scenarios with several faults.
const RANDOM: u64 = 100;

/// Runs a guarded function against faults at every step, and checks that each of its effects
/// happens exactly once.
///
/// The function uses [`Sim::engine`] instead of its own engine, and [`Sim::effect`] and its
/// siblings for what it does to the outside world. It runs once without a fault, and then again for
/// each step and each of these faults:
///
/// - The process crashes before the step, or after the last one. Its lease lapses before the next
///   call, or is still live.
/// - The request does not arrive, or it takes effect and its reply is lost.
/// - So much time passes before the step that the lease lapses.
/// - The process is suspended before the step until its lease has lapsed. Another process begins,
///   and the suspended one continues after any number of its steps.
///
/// Scenarios with two or three faults at random follow. After a crash or an error, the function is
/// called again, as a caller would that does not know the outcome. A crash unwinds the thread: destructors run, but neither the store nor the
/// sink hears of them. Async functions are run with `block_on`.
///
/// A test of ten steps takes about a second. The same seed gives the same scenarios. A function
/// that uses more threads, the wall clock or random numbers may take other steps in each run.
///
/// # Examples
///
/// ```
/// use lessor_core::{Backoff, OnFailed};
/// use lessor_testkit::{Sim, crash_everywhere};
///
/// // A charge without a reply is tried again.
/// const RETRY: OnFailed = OnFailed::Retry { max_attempts: 100, backoff: Backoff::NONE };
///
/// // The sink ignores the second charge of an order.
/// fn charge(sim: &Sim) -> Result<(), Box<dyn std::error::Error>> {
///     let once = sim.engine().once("order-7").on_failed(RETRY);
///     once.run(|_lease| sim.effect_idempotent("charge", "order-7"))?;
///     Ok(())
/// }
/// crash_everywhere(charge).assert_ok();
///
/// // The sink charges each time.
/// fn charge_again(sim: &Sim) -> Result<(), Box<dyn std::error::Error>> {
///     let once = sim.engine().once("order-7").on_failed(RETRY);
///     once.run(|_lease| sim.effect("charge", "order-7"))?;
///     Ok(())
/// }
/// let report = crash_everywhere(charge_again);
/// assert_eq!(
///     report.to_string(),
///     "charge of order-7 happened twice: worker 1 crashed after the effect `charge` and before \
///      `complete`, and worker 2 did it again (seed 0, scenario 3, step 3)"
/// );
/// ```
pub fn crash_everywhere<E: Display>(
    function: impl Fn(&Sim) -> Result<(), E> + Send + Sync + 'static,
) -> CrashReport {
    CrashTest::new().run(function)
}

impl CrashTest {
    /// Returns a test with the promise [`Promise::ExactlyOnce`], seed 0 and the default settings of
    /// an engine.
    #[must_use]
    pub fn new() -> Self {
        let settings = Settings::default();
        Self { promise: Promise::default(), seed: 0, random: RANDOM, only: None, settings }
    }

    /// Sets the promise.
    #[must_use]
    pub fn promise(self, promise: Promise) -> Self {
        Self { promise, ..self }
    }

    /// Sets the seed of the scenarios with several faults.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets the number of scenarios with several faults. Default: 100.
    #[must_use]
    pub fn random(self, random: u64) -> Self {
        Self { random, ..self }
    }

    /// Sets the settings of the engines. Invalid ones make [`run`](Self::run) panic. Records are
    /// not purged.
    #[must_use]
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Runs only the scenario with this number, after the one without a fault. See
    /// [`CrashFailure::scenario`].
    #[must_use]
    pub fn only(self, scenario: u64) -> Self {
        Self { only: Some(scenario), ..self }
    }

    /// Runs the test until the first failure. See [`crash_everywhere`].
    ///
    /// # Panics
    ///
    /// Panics if an engine cannot be created.
    pub fn run<E: Display>(
        &self,
        function: impl Fn(&Sim) -> Result<(), E> + Send + Sync + 'static,
    ) -> CrashReport {
        let function: Arc<Function> =
            Arc::new(move |sim: &Sim| function(sim).map_err(|error| error.to_string()));
        let mut report = CrashReport { scenarios: 0, steps: 0, faults: 0, failure: None };
        let first = self.scenario(&function, &Plan::new(), &mut report);
        let expected = Expected::of(&first.effects);
        let broken = match &first.verdict {
            Verdict::Finished => None,
            Verdict::Failing(error) => Some(format!("the function fails without any fault: {error}")),
            Verdict::Hanging => Some("the function does not return without any fault".to_owned()),
        };
        report.failure = broken.map(|sentence| self.failure(sentence, 0, &first));
        for (number, plan) in (1..).zip(self.plans(&first.steps)) {
            if report.failure.is_some() {
                break;
            }
            if self.only.is_none_or(|only| only == number) {
                let run = self.scenario(&function, &plan, &mut report);
                let broken = expected.judge(&run, self.promise);
                report.failure = broken.map(|sentence| self.failure(sentence, number, &run));
            }
        }
        report
    }

    fn scenario(&self, function: &Arc<Function>, plan: &Plan, report: &mut CrashReport) -> Run {
        let run = scenario::run(function, self.settings.clone(), plan);
        report.scenarios += 1;
        report.steps += run.steps.len() as u64;
        report.faults += run.faults.len() as u64;
        run
    }

    fn failure(&self, sentence: String, scenario: u64, run: &Run) -> CrashFailure {
        let step = run.faults.first().map_or(0, |(step, _)| *step);
        CrashFailure { sentence, seed: self.seed, scenario, step }
    }

    /// Returns the scenarios of a function that takes these steps without a fault.
    fn plans(&self, steps: &[Step]) -> impl Iterator<Item = Plan> {
        let count = steps.len() as u64;
        let crashes = (1..=count).map(|at| Plan::from([(at, Fault::Crash { at_once: false })]));
        let at_end = [Plan::from([(count, Fault::CrashAtEnd)])];
        let writes: Vec<u64> =
            (1..).zip(steps).filter(|(_, step)| step.is_write()).map(|(at, _)| at).collect();
        let lost = writes
            .into_iter()
            .flat_map(|at| [Fault::LostRequest, Fault::LostReply].map(|fault| Plan::from([(at, fault)])));
        let late = (1..=count).map(|at| Plan::from([(at, Fault::Late)]));
        // The other process ends first, or is interrupted after each of its steps.
        let pauses = (1..=count).flat_map(move |at| {
            [u64::MAX]
                .into_iter()
                .chain(1..count)
                .map(move |steps| Plan::from([(at, Fault::Pause { steps })]))
        });
        // Before the first step, there is no lease that could still be live.
        let at_once = (2..=count).map(|at| Plan::from([(at, Fault::Crash { at_once: true })]));
        let (mut random, rounds) = (self.seed, self.random);
        let several = (0..rounds).map(move |_| several(&mut random, count));
        crashes.chain(at_end).chain(lost).chain(late).chain(pauses).chain(at_once).chain(several)
    }
}

/// Returns two or three faults. A function that is called again takes more steps than `count`.
fn several(random: &mut u64, count: u64) -> Plan {
    let mut draw = |below: u64| splitmix(random) % below.max(1);
    let faults = 2 + draw(2);
    let mut plan = Plan::new();
    for _ in 0..faults {
        let at = 1 + draw(2 * count + 1);
        let fault = match draw(7) {
            0 | 1 => Fault::Crash { at_once: draw(4) == 0 },
            2 => Fault::LostRequest,
            3 => Fault::LostReply,
            4 => Fault::Late,
            5 => Fault::CrashAtEnd,
            _ => Fault::Pause { steps: if draw(2) == 0 { u64::MAX } else { draw(count + 1) } },
        };
        plan.insert(at, fault);
    }
    plan
}

impl Default for CrashTest {
    fn default() -> Self {
        Self::new()
    }
}
