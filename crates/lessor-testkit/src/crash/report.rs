//! The result of a test, and its sentence.

use std::fmt;

/// The result of [`crash_everywhere`](crate::crash_everywhere).
///
/// It displays as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "call `assert_ok`"]
pub struct CrashReport {
    pub(crate) scenarios: u64,
    pub(crate) steps: u64,
    pub(crate) faults: u64,
    pub(crate) failure: Option<CrashFailure>,
}

/// The first scenario in which the promise was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashFailure {
    pub(crate) sentence: String,
    pub(crate) seed: u64,
    pub(crate) scenario: u64,
    pub(crate) step: u64,
}

impl CrashReport {
    /// Returns the number of scenarios that were run, including the one without a fault.
    #[must_use]
    pub fn scenarios(&self) -> u64 {
        self.scenarios
    }

    /// Returns the number of steps that all workers of all scenarios took.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the number of faults in all scenarios.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Returns the first failure, if there is one.
    #[must_use]
    pub fn failure(&self) -> Option<&CrashFailure> {
        self.failure.as_ref()
    }

    /// Checks that the promise was kept in all scenarios.
    ///
    /// # Panics
    ///
    /// Panics with the sentence of the failure.
    #[track_caller]
    #[expect(clippy::panic, reason = "a test kit's verdict is a panic")]
    pub fn assert_ok(&self) {
        if let Some(failure) = &self.failure {
            panic!("{failure}");
        }
    }
}

impl CrashFailure {
    /// Returns the seed of the test.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the number of the scenario. [`CrashTest::only`](crate::CrashTest::only) runs it
    /// again.
    #[must_use]
    pub fn scenario(&self) -> u64 {
        self.scenario
    }

    /// Returns the number of the step of the first fault, counted over all workers from 1. 0
    /// without a fault.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Some(failure) => failure.fmt(f),
            None => {
                write!(
                    f,
                    "the promise was kept in {} scenarios with {} faults",
                    self.scenarios, self.faults
                )?;
                write!(f, " at {} steps", self.steps)
            }
        }
    }
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sentence, seed, scenario, step } = self;
        write!(f, "{sentence} (seed {seed}, scenario {scenario}, step {step})")
    }
}
