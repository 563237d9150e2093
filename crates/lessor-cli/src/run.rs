//! Running a command under a lease.
//!
//! Two processes of this program are involved. The *runner* has the lease. The *guard* starts the
//! command and ends it: when the runner says so, when the runner is gone, and when the lease is about
//! to end, which the guard knows even if the runner is suspended.

pub(crate) mod attempt;
pub(crate) mod checkpoint;
pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod guard;
pub(crate) mod guarded;
pub(crate) mod messages;
pub(crate) mod output;
pub(crate) mod ran;
pub(crate) mod signals;
