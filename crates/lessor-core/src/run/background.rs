//! The background threads of an engine.

use std::sync::Arc;

use crate::data::error::Error;
use crate::run::clock::EngineClock;
use crate::run::worker::Worker;
use crate::sync::wakers::Notifier;

/// The threads of one engine. [`worker`](crate::run::worker) implements a thread, and
/// [`tasks`](crate::run::tasks) has the tasks that they run.
pub(crate) struct Background {
    pub(crate) leases: Worker,
    pub(crate) readers: Worker,
    pub(crate) purger: Worker,
    pub(crate) notifier: Notifier,
}

impl Background {
    pub(crate) fn start(clock: &Arc<EngineClock>) -> Result<Self, Error> {
        let notifier = Notifier::new();
        let start = |name| Worker::start(name, Arc::clone(clock), notifier.clone());
        Ok(Self {
            leases: start("lessor-leases")?,
            readers: start("lessor-readers")?,
            purger: start("lessor-purge")?,
            notifier,
        })
    }

    /// Wakes the threads to check their timers again, because the store's clock has been set.
    pub(crate) fn all_changed(&self) {
        for worker in [&self.leases, &self.readers, &self.purger] {
            worker.wake();
        }
    }
}
