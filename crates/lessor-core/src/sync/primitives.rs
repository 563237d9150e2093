//! The synchronisation primitives of [`wait::registry`](crate::run::wait::registry) and [`presence`](crate::sync::presence), in one place so that a model checker can put
//! its own there.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering, fence};

pub(crate) use parking_lot::Mutex;

/// See [`presence`](crate::sync::presence). Two kilobytes.
pub(crate) const PRESENCE_SLOTS: usize = 256;
