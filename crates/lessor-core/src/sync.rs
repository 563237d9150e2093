//! The synchronisation primitives of [`board`](crate::board), in one place so that a model checker can put its own there.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering, fence};

pub(crate) use event_listener::Event;
pub(crate) use parking_lot::Mutex;
