//! The running parts of an engine: its background threads and their tasks, the waiters, and the
//! leases that are renewed.

pub(crate) mod abandoned;
pub(crate) mod background;
pub(crate) mod charged;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod holders;
pub(crate) mod namespace;
pub(crate) mod observer;
pub(crate) mod random;
pub(crate) mod survey;
pub(crate) mod tasks;
pub(crate) mod units;
pub(crate) mod wait;
pub(crate) mod watches;
pub(crate) mod worker;
