//! Waiting for a key: many waiters share one reader.
//!
//! A waiter registers under its key and requests a *reading* of the record. The reading begins
//! immediately, on the caller's own thread if the store answers without delay. Its result answers
//! all waiters that registered before it began. The record is read again when this engine writes
//! it, when the store sends a hint, when its lease ends, and every
//! [`poll_every`](field@crate::Schedule::poll_every).

mod agenda;
mod entry;
pub(crate) mod registry;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use event_listener::EventListener;

use crate::data::key::Key;
use crate::data::snapshot::Snapshot;
use crate::data::time::{Monotonic, Timestamp};
use crate::data::view::View;
use crate::run::clock::EngineClock;
use crate::run::holders::Holders;
use crate::run::observer::Observer;
use crate::run::worker::Spawner;
use crate::store::contract::Store;
use crate::sync::wakers::{CallerWaker, Notifier};
use agenda::{Agenda, Item, MAX_READINGS};
use entry::Entry;
pub(crate) use entry::Reading;
use registry::{Availability, Checked, Effects, FIRST_TICKET, Registry, Ticket};
pub(crate) use registry::{NextStep, Purpose};

/// The maximum number of consecutive readings on a caller's thread. The engine's own thread
/// performs the following ones.
const READINGS_IN_PLACE: u32 = 3;

/// The waiters of one engine.
pub(crate) struct Waiters {
    registry: Registry<Key, Reading, CallerWaker>,
    agenda: Agenda,
    store: Arc<dyn Store>,
    clock: Arc<EngineClock>,
    readers: Spawner,
    notifier: Notifier,
    poll_every: Duration,
    holders: Arc<Holders>,
    observer: Arc<Observer>,
}

impl Waiters {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<EngineClock>,
        readers: Spawner,
        notifier: Notifier,
        poll_every: Duration,
        holders: Arc<Holders>,
        observer: Arc<Observer>,
    ) -> Self {
        let (registry, agenda) = (Registry::default(), Agenda::default());
        Self { registry, agenda, store, clock, readers, notifier, poll_every, holders, observer }
    }

    /// Reads the record of `key` again after a write, if the key has waiters for such a change. Most
    /// do not wait for a key that is still `held`.
    #[inline]
    pub(crate) fn written(self: &Arc<Self>, key: &Key, held: bool) {
        if let Some(entry) = self.registry.find_after_write(key)
            && (!held || entry.is_observed())
        {
            self.request_reading(&entry);
        }
    }

    /// Returns the number of keys that have waiters.
    pub(crate) fn watched(&self) -> usize {
        self.registry.watched()
    }

    /// Returns whether `key` may have waiters.
    #[inline]
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.registry.may_have(key)
    }

    /// Schedules a reading of the record of `key`, if the key has waiters. The store may call this,
    /// so the reading is left to the engine's thread.
    pub(crate) fn hint(&self, key: &Key) {
        if let Some(entry) = self.registry.find(key)
            && entry.request_reading()
        {
            self.agenda.read_soon(entry);
        }
    }

    /// Schedules readings of the records of all keys that have waiters.
    pub(crate) fn hint_all(&self) {
        self.registry
            .all()
            .into_iter()
            .filter(|entry| entry.request_reading())
            .for_each(|entry| self.agenda.read_soon(entry));
    }

    /// Returns a listener that is notified when work becomes due earlier than planned.
    pub(crate) fn earlier(&self) -> EventListener {
        self.agenda.earlier()
    }

    /// Performs the work that is due. If none was due, returns the times at which the next will be.
    pub(crate) fn run_due(self: &Arc<Self>) -> Option<(Timestamp, Monotonic)> {
        let (due, planned) = self.agenda.take_due(self.clock.now(), Monotonic::now());
        for item in due {
            match item {
                Item::Read(entry) => self.read(&entry),
                Item::Due(entry) if entry.is_abandoned() => {}
                Item::Due(entry) => self.request_reading(&entry),
                Item::PassOn(entry) => {
                    let effects = entry.pass_on(Monotonic::now().as_micros());
                    self.apply(&entry, effects);
                }
            }
        }
        planned
    }

    /// Requests a reading that begins after this call, and begins it unless another one is in
    /// flight.
    fn request_reading(self: &Arc<Self>, entry: &Entry) {
        if entry.request_reading() {
            self.read(entry);
        }
    }

    /// Performs a requested reading: on this thread if the store answers immediately.
    fn read(self: &Arc<Self>, entry: &Entry) {
        for _ in 0..READINGS_IN_PLACE {
            if self.agenda.readings() >= MAX_READINGS {
                break;
            }
            match self.store.load(&entry.key).try_take() {
                Ok(reading) => {
                    if !self.publish(entry, reading) {
                        return;
                    }
                }
                Err(reply) => {
                    let (this, entry) = (Arc::clone(self), Arc::clone(entry));
                    let in_flight = this.agenda.begin_reading();
                    self.readers.spawn(async move {
                        let reading = reply.await;
                        drop(in_flight);
                        if this.publish(&entry, reading) {
                            this.read(&entry);
                        }
                    });
                    return;
                }
            }
        }
        self.agenda.read_soon(Arc::clone(entry));
    }

    /// Publishes the result of a reading. Returns whether another reading has to begin.
    fn publish(self: &Arc<Self>, entry: &Entry, reading: Reading) -> bool {
        let pause = match &reading {
            // The remaining time of the lease is measured by the clock reading that came with the
            // record. The engine's clock may be far ahead of it.
            Ok(snapshot) => time_left(snapshot).map_or(self.poll_every, |left| left.min(self.poll_every)),
            Err(_) => self.poll_every,
        };
        if let Ok(snapshot) = &reading {
            self.holders.observe(&entry.key, snapshot.record.as_ref(), snapshot.now);
        }
        let reading = match reading {
            Ok(snapshot) => Ok((availability(&snapshot), Ok(snapshot))),
            Err(error) => Err(Err(error)),
        };
        let effects = entry.publish(reading, Monotonic::now().as_micros());
        self.agenda.read_at(entry, self.clock.now().saturating_add(pause));
        self.apply(entry, effects)
    }

    /// Wakes waiters and schedules the next offer. Returns whether the caller has to begin a
    /// reading.
    fn apply(&self, entry: &Entry, effects: Effects<CallerWaker>) -> bool {
        if let Some(at) = effects.pass_on_at {
            self.agenda.pass_on_at(entry, Monotonic::from_micros(at));
        }
        self.notifier.wake(effects.wake);
        effects.read
    }
}

fn time_left(snapshot: &Snapshot) -> Option<Duration> {
    let left = snapshot.record.as_ref()?.expires_at().saturating_since(snapshot.now);
    Some(left).filter(|left| !left.is_zero())
}

fn availability(snapshot: &Snapshot) -> Availability {
    match View::of_snapshot(snapshot) {
        Some(view) if view.is_finished() => Availability::Finished,
        Some(view) if view.ttl_left().is_some() => Availability::Held,
        _ => Availability::Free,
    }
}

/// A waiter for a key. Dropping it ends the wait.
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    entry: Entry,
    ticket: Ticket,
}

impl Waiter {
    /// Registers a waiter and requests a reading. Readings that began earlier are ignored. Only a
    /// waiter with [`Purpose::Acquire`] is offered the key to acquire it.
    pub(crate) fn new(waiters: &Arc<Waiters>, key: &Key, purpose: Purpose) -> Self {
        let (entry, ticket) = waiters.registry.join(key, purpose);
        let waiter = Self { waiters: Arc::clone(waiters), entry, ticket };
        waiters.observer.wait_began(ticket == FIRST_TICKET);
        waiters.request_reading(&waiter.entry);
        waiter
    }

    /// Resolves with the first answer that `judge` finds in a reading, or with `None` when the
    /// waiter may try to acquire the key.
    pub(crate) async fn outcome<T>(&self, judge: impl Fn(&Reading) -> NextStep<T>) -> Option<T> {
        poll_fn(|context| {
            let now = Monotonic::now().as_micros();
            let (checked, effects) = self.entry.check(self.ticket, now, CallerWaker::of(context), &judge);
            self.waiters.apply(&self.entry, effects);
            match checked {
                Checked::Answer(answer) => Poll::Ready(Some(answer)),
                Checked::MayTry => Poll::Ready(None),
                Checked::Nothing => Poll::Pending,
            }
        })
        .await
    }

    /// Continues the wait after an unsuccessful attempt to acquire the key. Readings that began
    /// earlier are ignored.
    pub(crate) fn attempt_failed(&self) {
        if self.entry.attempt_failed(self.ticket) {
            self.waiters.read(&self.entry);
        }
    }

    /// Passes the latest reading to `f`, if it began after the waiter registered.
    pub(crate) fn last_reading<T>(&self, f: impl FnOnce(&Reading) -> T) -> Option<T> {
        self.entry.latest(self.ticket, f)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let effects = self.waiters.registry.leave(&self.entry, self.ticket);
        self.waiters.observer.wait_ended(effects.ended);
        if effects.ended {
            self.waiters.agenda.unschedule(&self.entry);
        } else if self.waiters.apply(&self.entry, effects) {
            self.waiters.read(&self.entry);
        }
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").field("keys", &self.registry.watched()).finish_non_exhaustive()
    }
}
