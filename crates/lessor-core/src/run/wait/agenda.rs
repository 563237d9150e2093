//! The schedule of the thread that reads for waiters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_listener::{Event, EventListener};
use parking_lot::Mutex;

use super::entry::Entry;
use crate::data::time::{Monotonic, Timestamp};

/// The maximum number of readings in flight at the same time. The others are queued.
pub(super) const MAX_READINGS: usize = 256;
/// The maximum number of entries handled between two readings of the clock.
const BATCH: usize = 64;

#[derive(Default)]
pub(super) struct Agenda {
    lists: Mutex<Lists>,
    /// The number of readings in flight.
    readings: Arc<AtomicUsize>,
    /// Notified when work becomes due earlier than the thread expects.
    earlier: Arc<Event>,
}

#[derive(Default)]
struct Lists {
    /// Entries with a requested reading that has not begun.
    read: VecDeque<Entry>,
    read_at: BTreeMap<(Timestamp, usize), Entry>,
    pass_on_at: BTreeMap<(Monotonic, usize), Entry>,
    /// The times until which the thread sleeps. `None` while it is running.
    planned: Option<(Timestamp, Monotonic)>,
}

/// A piece of work.
pub(super) enum Item {
    /// A requested reading has to begin.
    Read(Entry),
    /// The polling interval has passed, or the lease has ended: a reading has to be requested.
    Due(Entry),
    /// The key has to be offered to the next contender.
    PassOn(Entry),
}

/// A reading in flight. Dropped when the store has answered.
pub(super) struct InFlight {
    readings: Arc<AtomicUsize>,
    earlier: Arc<Event>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.readings.fetch_sub(1, Ordering::Relaxed);
        // Other readings may be queued.
        self.earlier.notify(1);
    }
}

impl Agenda {
    pub(super) fn readings(&self) -> usize {
        self.readings.load(Ordering::Relaxed)
    }

    pub(super) fn begin_reading(&self) -> InFlight {
        self.readings.fetch_add(1, Ordering::Relaxed);
        InFlight { readings: Arc::clone(&self.readings), earlier: Arc::clone(&self.earlier) }
    }

    /// Queues a requested reading for the thread.
    pub(super) fn read_soon(&self, entry: Entry) {
        self.lists.lock().read.push_back(entry);
        self.earlier.notify(1);
    }

    /// Schedules a reading of the entry for `at`, in place of the time scheduled before.
    pub(super) fn read_at(&self, entry: &Entry, at: Timestamp) {
        let mut lists = self.lists.lock();
        lists.unschedule(entry);
        entry.read_at.store(at.as_micros(), Ordering::Relaxed);
        lists.read_at.insert((at, id(entry)), Arc::clone(entry));
        if lists.planned.is_some_and(|(planned, _)| at < planned) {
            lists.planned = None;
            self.earlier.notify(1);
        }
    }

    /// Schedules the next offer of the entry's key.
    pub(super) fn pass_on_at(&self, entry: &Entry, at: Monotonic) {
        let mut lists = self.lists.lock();
        lists.pass_on_at.insert((at, id(entry)), Arc::clone(entry));
        if lists.planned.is_some_and(|(_, planned)| at < planned) {
            lists.planned = None;
            self.earlier.notify(1);
        }
    }

    /// Removes the scheduled reading of an entry without waiters.
    pub(super) fn unschedule(&self, entry: &Entry) {
        self.lists.lock().unschedule(entry);
    }

    /// Returns a listener that is notified when work becomes due earlier than planned.
    pub(super) fn earlier(&self) -> EventListener {
        self.earlier.listen()
    }

    /// Returns the work that is due. If none is due, also returns the times at which the next will
    /// be.
    pub(super) fn take_due(
        &self,
        now: Timestamp,
        real_now: Monotonic,
    ) -> (Vec<Item>, Option<(Timestamp, Monotonic)>) {
        let mut lists = self.lists.lock();
        let mut due = Vec::new();
        while due.len() < BATCH {
            let Some((at, _)) = lists.pass_on_at.first_key_value() else { break };
            if at.0 > real_now {
                break;
            }
            due.extend(lists.pass_on_at.pop_first().map(|(_, entry)| Item::PassOn(entry)));
        }
        while due.len() < BATCH && self.readings() < MAX_READINGS {
            let Some(entry) = lists.read.pop_front() else { break };
            due.push(Item::Read(entry));
        }
        while due.len() < BATCH {
            let Some((at, _)) = lists.read_at.first_key_value() else { break };
            if at.0 > now {
                break;
            }
            due.extend(lists.read_at.pop_first().map(|(_, entry)| Item::Due(entry)));
        }
        lists.planned = due.is_empty().then(|| {
            let read_at = lists.read_at.first_key_value().map_or(Timestamp::MAX, |(at, _)| at.0);
            let pass_on_at = lists.pass_on_at.first_key_value().map_or(Monotonic::MAX, |(at, _)| at.0);
            (read_at, pass_on_at)
        });
        (due, lists.planned)
    }
}

impl Lists {
    fn unschedule(&mut self, entry: &Entry) {
        if let Some(at) = Timestamp::from_micros(entry.read_at.load(Ordering::Relaxed)) {
            self.read_at.remove(&(at, id(entry)));
        }
    }
}

/// Returns the entry's address, which is unique for as long as the agenda holds the entry.
fn id(entry: &Entry) -> usize {
    Arc::as_ptr(entry).addr()
}
