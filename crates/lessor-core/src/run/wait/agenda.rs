//! What the reading thread has to do, and when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_listener::{Event, EventListener};
use parking_lot::Mutex;

use super::entry::Entry;
use crate::data::time::{Monotonic, Timestamp};

/// So many readings may be under way at the same time; the others wait in line.
pub(super) const MAX_READINGS: usize = 256;
/// So many entries are looked after between two looks at the clock.
const BATCH: usize = 64;

#[derive(Default)]
pub(super) struct Agenda {
    lists: Mutex<Lists>,
    /// Readings whose reply is still to come.
    readings: Arc<AtomicUsize>,
    /// Notified when there is something to do earlier than the thread expects.
    earlier: Arc<Event>,
}

#[derive(Default)]
struct Lists {
    /// Readings that were asked for and have not begun.
    read: VecDeque<Entry>,
    read_at: BTreeMap<(Timestamp, usize), Entry>,
    pass_on_at: BTreeMap<(Monotonic, usize), Entry>,
    /// When the thread looks by itself; `None` while it is at work.
    planned: Option<(Timestamp, Monotonic)>,
}

pub(super) enum Item {
    Read(Entry),
    /// The record was read last some time ago, or its lease has run out.
    Due(Entry),
    PassOn(Entry),
}

/// A reading under way. Dropped when the store has answered.
pub(super) struct UnderWay {
    readings: Arc<AtomicUsize>,
    earlier: Arc<Event>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.readings.fetch_sub(1, Ordering::Relaxed);
        // Others may wait in line.
        self.earlier.notify(1);
    }
}

impl Agenda {
    pub(super) fn readings(&self) -> usize {
        self.readings.load(Ordering::Relaxed)
    }

    pub(super) fn begin_reading(&self) -> UnderWay {
        self.readings.fetch_add(1, Ordering::Relaxed);
        UnderWay { readings: Arc::clone(&self.readings), earlier: Arc::clone(&self.earlier) }
    }

    /// Has the thread carry out a reading that was asked for.
    pub(super) fn read_soon(&self, entry: Entry) {
        self.lists.lock().read.push_back(entry);
        self.earlier.notify(1);
    }

    /// Has the thread look at the entry at `at`, and not when it was to look so far.
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

    pub(super) fn pass_on_at(&self, entry: &Entry, at: Monotonic) {
        let mut lists = self.lists.lock();
        lists.pass_on_at.insert((at, id(entry)), Arc::clone(entry));
        if lists.planned.is_some_and(|(_, planned)| at < planned) {
            lists.planned = None;
            self.earlier.notify(1);
        }
    }

    /// Nobody waits for the entry's key any more.
    pub(super) fn forget(&self, entry: &Entry) {
        self.lists.lock().unschedule(entry);
    }

    /// Returns a listener that is notified when there is something to do earlier than planned.
    pub(super) fn earlier(&self) -> EventListener {
        self.earlier.listen()
    }

    /// Takes what is due. Also returns when to look again, if nothing is due.
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

/// The entry's address: it is unique for as long as the agenda holds the entry.
fn id(entry: &Entry) -> usize {
    Arc::as_ptr(entry).addr()
}
