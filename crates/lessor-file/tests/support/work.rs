//! Deterministic work on a log, except for the threads of the log itself, with a record of all
//! observations.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::{CasResult, Snapshot};
use lessor_core::{Clock, Error, Key, LeaseId, Record, Store, StoreError, Timestamp};
use lessor_file::{FileStore, Settings, SyncMode};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;

use super::changes::{self, Action};
use super::observed::Observed;

pub(crate) const KEYS: [&str; 3] = ["a", "b", "c"];

/// One step of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    On(Action, &'static str),
    Compact,
    /// Purges after a while.
    Purge,
    Reopen,
}

/// The steps of short workloads.
pub(crate) const ALPHABET: [Op; 11] = [
    Op::On(Action::Acquire, "a"),
    Op::On(Action::Acquire, "b"),
    Op::On(Action::Complete, "a"),
    Op::On(Action::Fail, "a"),
    Op::On(Action::Extend, "a"),
    Op::On(Action::Release, "a"),
    Op::On(Action::Forget, "a"),
    Op::On(Action::Complete, "b"),
    Op::Compact,
    Op::Purge,
    Op::Reopen,
];

/// Settings with segments so small that a few writes fill several of them.
pub(crate) fn tiny(sync: SyncMode) -> Settings {
    let mut settings = Settings::default();
    settings.sync = sync;
    settings.first_segment = 4 << 10;
    settings.max_segment = 8 << 10;
    settings.compact_at = 16 << 10;
    settings.cache = 0;
    settings.lock_wait = Duration::ZERO;
    settings
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// The log cannot be used any more on this disk.
#[derive(Debug)]
pub(crate) struct Ended;

pub(crate) struct Work<'d> {
    disk: &'d SimDisk,
    settings: Settings,
    clock: ManualClock,
    store: Option<FileStore>,
    pub(crate) observed: Observed,
    ids: u128,
    /// The length of results.
    pub(crate) bytes: usize,
}

impl<'d> Work<'d> {
    /// Opens the log with a clock that is an hour behind the observed time.
    pub(crate) fn open(
        disk: &'d SimDisk,
        settings: &Settings,
        observed: Observed,
    ) -> Result<Self, (Error, Observed)> {
        let clock = clock_behind(&observed);
        match open(disk, settings, &clock) {
            Ok(store) => {
                let settings = settings.clone();
                let ids = observed.trace.len() as u128 * 1_000;
                let mut work = Self { disk, settings, clock, store: Some(store), observed, ids, bytes: 700 };
                work.observed.synced();
                Ok(work)
            }
            Err(error) => Err((error, observed)),
        }
    }

    /// Performs all of the work, as far as possible. Returns the observations.
    pub(crate) fn run(disk: &'d SimDisk, settings: &Settings, observed: Observed, ops: &[Op]) -> Observed {
        match Self::open(disk, settings, observed) {
            Ok(mut work) => {
                let _ = ops.iter().try_for_each(|op| work.perform(*op));
                work.observed
            }
            Err((error, observed)) => {
                must_be_io(&error);
                observed
            }
        }
    }

    pub(crate) fn store(&self) -> &FileStore {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    pub(crate) fn perform(&mut self, op: Op) -> Result<(), Ended> {
        self.observed.trace.push(format!("{op:?}"));
        self.clock.advance(Duration::from_millis(1));
        match op {
            Op::On(act, name) => self.act(act, &key(name)),
            Op::Compact => match self.store().compact() {
                Ok(()) => Ok(()),
                Err(error) => self.heal(&error),
            },
            Op::Purge => self.purge(),
            Op::Reopen => self.reopen(),
        }
    }

    fn act(&mut self, act: Action, key: &Key) -> Result<(), Ended> {
        let seen = match self.load(key) {
            Ok(seen) => seen,
            Err(error) => return self.heal(&error.into()),
        };
        match self.write(act, key, &seen) {
            Ok(_) => Ok(()),
            Err(StoreError::Full(_)) => Ok(()),
            Err(error) => self.heal(&error.into()),
        }
    }

    pub(crate) fn load(&mut self, key: &Key) -> Result<Snapshot, StoreError> {
        let seen = self.store().load(key).wait()?;
        self.saw(key, &seen);
        Ok(seen)
    }

    #[track_caller]
    fn saw(&mut self, key: &Key, seen: &Snapshot) {
        if let Err(why) = self.observed.saw(key, seen) {
            panic!("{why}; after {:?}", self.observed.trace);
        }
    }

    /// Writes the change that follows from a reading. Returns whether there was one.
    pub(crate) fn write(&mut self, act: Action, key: &Key, seen: &Snapshot) -> Result<bool, StoreError> {
        self.ids += 1;
        let new = LeaseId::from_bytes(self.ids.to_be_bytes());
        let id = match act {
            Action::Acquire => new,
            _ => self.holder(seen.record.as_ref()).unwrap_or(new),
        };
        let Some(change) = changes::change(key, seen, act, id, self.bytes) else { return Ok(false) };
        let change = change.borrow();
        if act == Action::Acquire
            && let Err(why) = self.observed.is_above_floor(key, change.next)
        {
            panic!("{why}; after {:?}", self.observed.trace);
        }
        match lessor_testkit::swap(self.store(), key, &change).wait() {
            Ok(CasResult::Written) => {
                self.observed.stored(key, change.next);
                Ok(true)
            }
            Ok(CasResult::WrittenAs(next)) => {
                self.observed.stored(key, &next);
                Ok(true)
            }
            Ok(CasResult::Conflict(seen) | CasResult::Rejected(seen)) => {
                self.saw(key, &seen);
                Ok(false)
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                if let StoreError::Indeterminate(_) = error {
                    self.observed.may_have_stored(key, change.next);
                    self.nothing_is_answered_any_more();
                }
                Err(error)
            }
        }
    }

    fn holder(&self, record: Option<&Record>) -> Option<LeaseId> {
        let ids = (0..=self.ids).rev().map(|id| LeaseId::from_bytes(id.to_be_bytes()));
        record.and_then(|record| ids.take(10_000).find(|id| record.is_held_by(id)))
    }

    /// Checks that no write succeeds after the first failed write or sync.
    fn nothing_is_answered_any_more(&mut self) {
        let key = key("never");
        let seen = Snapshot::new(None, self.clock.now());
        let change =
            changes::change(&key, &seen, Action::Acquire, LeaseId::from_bytes([255; 16]), 0).unwrap();
        match lessor_testkit::swap(self.store(), &key, &change.borrow()).wait() {
            Err(StoreError::Unavailable(_)) => {}
            other => panic!("after a failed write: {other:?}; after {:?}", self.observed.trace),
        }
    }

    fn purge(&mut self) -> Result<(), Ended> {
        self.clock.advance(Duration::from_secs(4));
        let seen = match self.load(&key("c")) {
            Ok(seen) => seen,
            Err(error) => return self.heal(&error.into()),
        };
        self.observed.purged(seen.now);
        match self.store().purge(100).wait() {
            Ok(_) => Ok(()),
            Err(error) => self.heal(&error.into()),
        }
    }

    /// Checks that a log that is opened again works if the disk does.
    fn heal(&mut self, error: &Error) -> Result<(), Ended> {
        must_be_io(error);
        self.observed.trace.push(error.to_string());
        self.reopen()
    }

    pub(crate) fn reopen(&mut self) -> Result<(), Ended> {
        if let Some(store) = self.store.take() {
            // A failing disk may well prevent a clean close.
            if let Err(error) = store.close() {
                must_be_io(&error);
            }
        }
        self.clock = clock_behind(&self.observed);
        match open(self.disk, &self.settings, &self.clock) {
            Ok(store) => self.store = Some(store),
            Err(error) => {
                must_be_io(&error);
                return Err(Ended);
            }
        }
        self.observed.synced();
        Ok(())
    }

    /// Reads everything, and checks that each reading is possible.
    pub(crate) fn read(&self) -> Result<BTreeMap<Key, Snapshot>, String> {
        let load = |name: &&str| {
            let key = key(name);
            let seen = self.store().load(&key).wait().map_err(|error| format!("reading {name}: {error}"))?;
            Ok((key, seen))
        };
        KEYS.iter().map(load).collect()
    }
}

fn open(disk: &SimDisk, settings: &Settings, clock: &ManualClock) -> Result<FileStore, Error> {
    let builder = FileStore::builder().settings(settings.clone()).clock(Arc::new(clock.clone()));
    builder.open_on(Arc::new(disk.clone()))
}

fn clock_behind(observed: &Observed) -> ManualClock {
    match observed.time.0 {
        Timestamp::EPOCH => ManualClock::new(),
        time => ManualClock::starting_at(time.saturating_sub(Duration::from_secs(3600))),
    }
}

/// Checks that the error is one that the disk returned, and not damage.
#[track_caller]
fn must_be_io(error: &Error) {
    match error {
        Error::Store(StoreError::Unavailable(_) | StoreError::Full(_) | StoreError::Indeterminate(_)) => {}
        other => panic!("a disk that was not damaged: {other}"),
    }
}
