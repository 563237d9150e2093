//! The synchronisation primitives of [`wait::registry`](crate::run::wait::registry) and
//! [`presence`](crate::sync::presence). The package `lessor-models` replaces this file with the
//! primitives of a model checker.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering, fence};

pub(crate) use parking_lot::Mutex;

/// The number of slots of [`presence`](crate::sync::presence), which take two kilobytes.
pub(crate) const PRESENCE_SLOTS: usize = 256;
