//! The background threads of an engine.

use std::sync::Arc;

use crate::data::error::Error;
use crate::run::clock::EngineClock;
use crate::run::worker::Worker;
use crate::sync::wakers::Notifier;

/// The threads of one engine. See [`worker`](crate::run::worker) for a thread, and [`tasks`](crate::run::tasks) for what they run.
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

    /// Has the threads look at their timers again, because the store's clock made a step.
    pub(crate) fn all_changed(&self) {
        for worker in [&self.leases, &self.readers, &self.purger] {
            worker.nudge();
        }
    }
}
