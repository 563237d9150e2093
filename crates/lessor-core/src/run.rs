//! The running parts of an engine: its background thread, and everything that waits or is renewed.

pub(crate) mod background;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod given_up;
pub(crate) mod holders;
pub(crate) mod random;
pub(crate) mod tasks;
pub(crate) mod wait;
pub(crate) mod watches;
pub(crate) mod worker;
