//! An engine's background threads, and what does not belong to waiting or holding: leases that are given up, and purging.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use event_listener::Event;
use futures_lite::future;
use parking_lot::Mutex;

use crate::clock::EngineClock;
use crate::context::{Handle, Shared};
use crate::error::Error;
use crate::key::Key;
use crate::lease_id::LeaseId;
use crate::machine::{Act, Command};
use crate::notifier::Notifier;
use crate::time::Timestamp;
use crate::worker::Worker;

/// So many leases are given up at the same time; the others wait in line, where each takes less room.
const GIVING_UP: usize = 64;
/// So many records one call to a store's purge looks at. Each takes about a microsecond.
pub(crate) const PURGE_SLICE: usize = 512;

/// The threads of one engine. See [`worker`](crate::worker).
pub(crate) struct Background {
    pub(crate) leases: Worker,
    pub(crate) readers: Worker,
    purger: Worker,
    pub(crate) notifier: Notifier,
    given_up: Mutex<GivenUp>,
    /// Notified when no lease is left to be given up.
    drained: Event,
}

#[derive(Default)]
struct GivenUp {
    waiting: VecDeque<(Arc<Handle>, Key, LeaseId)>,
    running: usize,
}

impl Background {
    pub(crate) fn start(clock: &Arc<EngineClock>) -> Result<Self, Error> {
        let notifier = Notifier::new();
        let start = |name| Worker::start(name, Arc::clone(clock), notifier.clone());
        Ok(Self {
            leases: start("lessor-leases")?,
            readers: start("lessor-readers")?,
            purger: start("lessor-purge")?,
            given_up: Mutex::default(),
            drained: Event::new(),
            notifier,
        })
    }

    /// Has the threads look at their timers again, because the store's clock made a step.
    pub(crate) fn clock_moved(&self) {
        for worker in [&self.leases, &self.readers, &self.purger] {
            worker.nudge();
        }
    }

    pub(crate) fn purge_for(&self, engine: Weak<Shared>, clock: &EngineClock, every: Duration) {
        // Counted from here, however late the thread gets to it.
        let first = clock.now().saturating_add(every);
        self.purger.spawner().spawn(purge_now_and_then(engine, first));
    }

    /// Gives a lease up in the background.
    pub(crate) fn give_up(&self, engine: Arc<Handle>, key: Key, lease_id: LeaseId) {
        let mut given_up = self.given_up.lock();
        given_up.waiting.push_back((engine, key, lease_id));
        if given_up.running >= GIVING_UP {
            return;
        }
        given_up.running += 1;
        let next = given_up.waiting.pop_front();
        drop(given_up);
        if let Some((engine, key, lease_id)) = next {
            self.leases.spawner().spawn(give_up_all(engine, key, lease_id));
        }
    }

    fn next_given_up(&self) -> Option<(Arc<Handle>, Key, LeaseId)> {
        let mut given_up = self.given_up.lock();
        let next = given_up.waiting.pop_front();
        if next.is_none() {
            given_up.running -= 1;
            if given_up.running == 0 {
                self.drained.notify(usize::MAX);
            }
        }
        next
    }

    /// Resolves once no lease is left to be given up.
    pub(crate) async fn drain(&self) {
        while self.given_up.lock().running > 0 {
            let drained = self.drained.listen();
            if self.given_up.lock().running > 0 {
                drained.await;
            }
        }
    }
}

async fn give_up_all(engine: Arc<Handle>, key: Key, lease_id: LeaseId) {
    let mut next = Some((Arc::clone(&engine), key, lease_id));
    while let Some((engine, key, lease_id)) = next {
        give_up(&engine, &key, lease_id).await;
        next = engine.background.next_given_up();
        // A store that answers at once would otherwise keep the renewals waiting.
        future::yield_now().await;
    }
}

/// Nothing is guessed: the lease ends by the time that comes with the record. The store's `now` may be ahead, and the lease
/// would live on until then.
async fn give_up(engine: &Handle, key: &Key, lease_id: LeaseId) {
    let outcome = engine.run(key, Command::Act(lease_id, Act::Abandon)).await;
    if let Err(Error::Store(error)) = outcome {
        tracing::warn!(%key, %error, "a dropped lease could not be given up; it will lapse with its ttl");
    }
}

/// Drops records whose retention has ended, slice by slice.
async fn purge_now_and_then(engine: Weak<Shared>, mut next: Timestamp) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let sleep = shared.background.purger.sleep_until(next);
        drop(shared);
        sleep.await;
        while let Some(shared) = engine.upgrade() {
            match shared.store.purge(PURGE_SLICE).await {
                Ok(purged) if purged.more => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "the store could not be purged; it is tried again");
                    break;
                }
            }
            drop(shared);
            future::yield_now().await;
        }
        let Some(shared) = engine.upgrade() else { return };
        next = shared.clock.now().saturating_add(shared.settings.purge_every);
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("giving_up", &self.given_up.lock().running).finish_non_exhaustive()
    }
}
