//! The kinds of errors.

/// A coarse classification of errors, for code that decides how to react.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong. Change the call.
    Invalid,
    /// The key has no record.
    NotFound,
    /// The caller no longer holds the lease. Stop the work.
    Lost,
    /// The work has another, final outcome. Read it.
    Finished,
    /// Another holder has a live lease. Wait.
    Busy,
    /// The key was used for a different request.
    Mismatch,
    /// The namespace's quota for this month is used up. Nothing was changed.
    QuotaExceeded,
    /// Nothing was changed. Try again later.
    Unavailable,
    /// Nothing was changed, and the call fails until the configuration is corrected. Do not retry.
    Misconfigured,
    /// The operation may have happened. Send the same operation again.
    Indeterminate,
    /// The store is damaged, full or incompatible, or its clock is wrong. An operator has to act.
    Broken,
    /// The engine has been closed.
    ShutDown,
}
