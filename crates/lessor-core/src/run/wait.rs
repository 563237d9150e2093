//! Waiting for a key: many waiters, one reader.
//!
//! A waiter registers under its key and asks for a reading, which begins at once, on the caller's own thread where the store answers
//! without delay. It answers all who came before it began. From then on the record is read when this engine writes it,
//! when the store hints at a change, when its lease runs out, and every [`poll_every`](crate::Settings::poll_every).

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
use crate::run::worker::Spawner;
use crate::store::contract::Store;
use crate::sync::wakers::{CallerWaker, Notifier};
use agenda::{Agenda, Item, MAX_READINGS};
use entry::Entry;
pub(crate) use entry::Reading;
pub(crate) use registry::NextStep;
use registry::{Follows, Looked, Meaning, Registry, Ticket};

/// So many readings follow each other on a caller's thread before the engine's own thread goes on.
const READINGS_IN_PLACE: u32 = 3;

/// All who wait for a key of one engine, and what they need.
pub(crate) struct Waiting {
    registry: Registry<Key, Reading, CallerWaker>,
    agenda: Agenda,
    store: Arc<dyn Store>,
    clock: Arc<EngineClock>,
    readers: Spawner,
    notifier: Notifier,
    poll_every: Duration,
    holders: Arc<Holders>,
}

impl Waiting {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<EngineClock>,
        readers: Spawner,
        notifier: Notifier,
        poll_every: Duration,
        holders: Arc<Holders>,
    ) -> Self {
        let (registry, agenda) = (Registry::default(), Agenda::default());
        Self { registry, agenda, store, clock, readers, notifier, poll_every, holders }
    }

    /// Has the record that was just written read again, if anybody waits for its key.
    #[inline]
    pub(crate) fn written(self: &Arc<Self>, key: &Key) {
        if let Some(entry) = self.registry.written(key) {
            self.ask(&entry);
        }
    }

    /// Returns whether a caller may wait for `key`.
    #[inline]
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.registry.may_have(key)
    }

    /// Has the record of `key` read soon, if anybody waits for it. A store may call it, so nothing is read here.
    pub(crate) fn hint(&self, key: &Key) {
        if let Some(entry) = self.registry.find(key)
            && entry.ask()
        {
            self.agenda.read_soon(entry);
        }
    }

    /// Has all records that anybody waits for read soon.
    pub(crate) fn hint_all(&self) {
        self.registry
            .all()
            .into_iter()
            .filter(|entry| entry.ask())
            .for_each(|entry| self.agenda.read_soon(entry));
    }

    /// Returns a listener that is notified when there is something to do earlier than planned.
    pub(crate) fn earlier(&self) -> EventListener {
        self.agenda.earlier()
    }

    /// Carries out what is due. Returns when the next work is due, if nothing was due.
    pub(crate) fn run_due(self: &Arc<Self>) -> Option<(Timestamp, Monotonic)> {
        let (due, planned) = self.agenda.take_due(self.clock.now(), Monotonic::now());
        for item in due {
            match item {
                Item::Read(entry) => self.read(&entry),
                Item::Due(entry) if entry.is_abandoned() => {}
                Item::Due(entry) => self.ask(&entry),
                Item::PassOn(entry) => {
                    let follows = entry.pass_on(Monotonic::now().as_micros());
                    self.wake(&entry, follows);
                }
            }
        }
        planned
    }

    /// Has the record read from now on.
    fn ask(self: &Arc<Self>, entry: &Entry) {
        if entry.ask() {
            self.read(entry);
        }
    }

    /// Carries out a reading that was asked for. The store's answer is taken in at once if it is there at once.
    fn read(self: &Arc<Self>, entry: &Entry) {
        for _ in 0..READINGS_IN_PLACE {
            if self.agenda.readings() >= MAX_READINGS {
                break;
            }
            match self.store.load(&entry.key).try_take() {
                Ok(reading) => {
                    if !self.take_in(entry, reading) {
                        return;
                    }
                }
                Err(reply) => {
                    let (this, entry) = (Arc::clone(self), Arc::clone(entry));
                    let under_way = this.agenda.begin_reading();
                    self.readers.spawn(async move {
                        let reading = reply.await;
                        drop(under_way);
                        if this.take_in(&entry, reading) {
                            this.read(&entry);
                        }
                    });
                    return;
                }
            }
        }
        self.agenda.read_soon(Arc::clone(entry));
    }

    /// Takes in what the store answered. True if another reading was asked for meanwhile.
    fn take_in(self: &Arc<Self>, entry: &Entry, reading: Reading) -> bool {
        let pause = match &reading {
            // How long the lease has left is told by the clock that came with the record. The engine's may be far ahead of it.
            Ok(seen) => time_left(seen).map_or(self.poll_every, |left| left.min(self.poll_every)),
            Err(_) => self.poll_every,
        };
        if let Ok(seen) = &reading {
            self.holders.observe(&entry.key, seen.record.as_ref(), seen.now);
        }
        let reading = match reading {
            Ok(seen) => Ok((meaning(&seen), Ok(seen))),
            Err(error) => Err(Err(error)),
        };
        let follows = entry.publish(reading, Monotonic::now().as_micros());
        self.agenda.read_at(entry, self.clock.now().saturating_add(pause));
        self.wake(entry, follows)
    }

    /// Wakes who has to be woken. True if a reading has to begin.
    fn wake(&self, entry: &Entry, follows: Follows<CallerWaker>) -> bool {
        if let Some(at) = follows.pass_on_at {
            self.agenda.pass_on_at(entry, Monotonic::from_micros(at));
        }
        self.notifier.wake(follows.wake);
        follows.read
    }
}

fn time_left(seen: &Snapshot) -> Option<Duration> {
    let left = seen.record.as_ref()?.expires_at().saturating_since(seen.now);
    Some(left).filter(|left| !left.is_zero())
}

fn meaning(seen: &Snapshot) -> Meaning {
    match View::of_seen(seen) {
        Some(view) if view.is_finished() => Meaning::Finished,
        Some(view) if view.ttl_left().is_some() => Meaning::Held,
        _ => Meaning::Free,
    }
}

/// One who waits for a key. Dropping it ends the wait.
pub(crate) struct Waiter {
    waiting: Arc<Waiting>,
    entry: Entry,
    ticket: Ticket,
}

impl Waiter {
    /// Waits from now on: no earlier reading answers. One who `contends` may be given a turn to try for the key.
    pub(crate) fn new(waiting: &Arc<Waiting>, key: &Key, contends: bool) -> Self {
        let (entry, ticket) = waiting.registry.join(key, contends);
        let waiter = Self { waiting: Arc::clone(waiting), entry, ticket };
        waiting.ask(&waiter.entry);
        waiter
    }

    /// Resolves with the first answer that `judge` finds in a reading, or with `None` when it is this waiter's turn to try.
    pub(crate) async fn outcome<T>(&self, judge: impl Fn(&Reading) -> NextStep<T>) -> Option<T> {
        poll_fn(|context| {
            let now = Monotonic::now().as_micros();
            let (looked, follows) = self.entry.look(self.ticket, now, CallerWaker::of(context), &judge);
            self.waiting.wake(&self.entry, follows);
            match looked {
                Looked::Answer(answer) => Poll::Ready(Some(answer)),
                Looked::Turn => Poll::Ready(None),
                Looked::Nothing => Poll::Pending,
            }
        })
        .await
    }

    /// The turn was in vain. The wait goes on, for a reading that begins from now on.
    pub(crate) fn tried(&self) {
        if self.entry.tried(self.ticket) {
            self.waiting.read(&self.entry);
        }
    }

    /// The latest reading that began after the waiter came.
    pub(crate) fn last_reading<T>(&self, see: impl FnOnce(&Reading) -> T) -> Option<T> {
        self.entry.seen(self.ticket, see)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let follows = self.waiting.registry.leave(&self.entry, self.ticket);
        if follows.ended {
            self.waiting.agenda.forget(&self.entry);
        } else if self.waiting.wake(&self.entry, follows) {
            self.waiting.read(&self.entry);
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("keys", &self.registry.watched()).finish_non_exhaustive()
    }
}
