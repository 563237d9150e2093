//! The synchronisation primitives of [`wait::registry`](crate::wait::registry), in one place so that a model checker can put
//! its own there.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering, fence};

pub(crate) use parking_lot::Mutex;
