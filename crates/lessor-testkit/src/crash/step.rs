//! The steps of a function under test, and the faults at them.

use std::fmt;

/// A call that the outside world can notice: an operation of the store, or a call to the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An operation on a key, with its name.
    Operation(&'static str),
    /// A reading of the store.
    Reading,
    /// An effect, with its name.
    Effect(String),
    /// A token is shown to the sink without an effect.
    Fence,
    /// The sink is asked whether an effect has happened.
    Question(String),
}

impl Step {
    /// The end of a dropped lease.
    pub(crate) const ABANDON: Self = Self::Operation("abandon");

    /// Returns whether the step can take effect although its reply is lost.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Operation(_) | Self::Effect(_) | Self::Fence)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(name) => write!(f, "`{name}`"),
            Self::Reading => f.write_str("a reading of the record"),
            Self::Effect(name) => write!(f, "the effect `{name}`"),
            Self::Fence => f.write_str("the fence"),
            Self::Question(name) => write!(f, "the question for `{name}`"),
        }
    }
}

/// A fault at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed before the step. The next call begins once its lease has lapsed, or at
    /// once.
    Crash { at_once: bool },
    /// The step is taken, and the process is killed before its caller learns the outcome.
    CrashAtEnd,
    /// The step does not arrive.
    LostRequest,
    /// The step takes effect, and its reply is lost.
    LostReply,
    /// So much time passes before the step that all leases lapse.
    Late,
    /// The process is suspended before the step, and all leases lapse. Another process begins. The
    /// suspended one continues once the other one has taken this many steps, or has ended.
    Pause { steps: u64 },
}
