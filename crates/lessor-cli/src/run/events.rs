//! What the runner waits for while a command runs.

use crate::run::messages::Report;

/// An event of an attempt.
#[derive(Debug)]
pub(crate) enum Event {
    /// The guard has sent a message.
    Reported(Report),
    /// The guard has ended.
    GuardEnded,
    /// The lease is lost, or is about to end.
    Lost,
    /// This process has received a signal.
    Signal(i32),
}
