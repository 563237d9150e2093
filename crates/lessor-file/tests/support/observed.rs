//! The observations of a run, which the log has to keep.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;

use lessor_core::store::Snapshot;
use lessor_core::{Key, Record, Timestamp};

use super::changes::may_be_purged;

/// The possible records of each key, and the lower bounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    stories: BTreeMap<Key, Story>,
    /// The latest time that was returned.
    pub(crate) time: Timestamp0,
    /// Every write that may have been made, in order, and the readings in between.
    history: Vec<Entry>,
    /// The number of them that are certainly on the disk.
    synced: usize,
    /// The actions so far, for diagnosis.
    pub(crate) trace: Vec<String>,
}

/// A time that defaults to the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp0(pub(crate) Timestamp);

impl Default for Timestamp0 {
    fn default() -> Self {
        Self(Timestamp::EPOCH)
    }
}

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    record: Option<Record>,
    /// The write was acknowledged or observed.
    is_sure: bool,
}

#[derive(Clone, Debug)]
struct Story {
    may_be: Vec<Option<Record>>,
    /// The highest token that was observed.
    token: u64,
}

impl Default for Story {
    fn default() -> Self {
        Self { may_be: vec![None], token: 0 }
    }
}

impl Observed {
    /// Adds a reading, which has to be a possible one.
    pub(crate) fn saw(&mut self, key: &Key, seen: &Snapshot) -> Result<(), String> {
        self.observed_time(seen.now)?;
        let story = self.stories.entry(key.clone()).or_default();
        if !story.may_be.contains(&seen.record) {
            let (may_be, is) = (&story.may_be, &seen.record);
            return Err(format!("{key:?} is {is:?}, but may be one of {may_be:?}"));
        }
        // A purged record may come back, so its absence says nothing about later.
        if story.may_be.len() > 1 && seen.record.is_some() {
            self.note(key, seen.record.clone(), true);
        }
        self.settle(key, seen.record.clone());
        Ok(())
    }

    /// Adds a time. The clock never runs backwards.
    pub(crate) fn observed_time(&mut self, now: Timestamp) -> Result<(), String> {
        if now < self.time.0 {
            return Err(format!("the clock ran back from {:?} to {now:?}", self.time.0));
        }
        self.time = Timestamp0(now);
        Ok(())
    }

    /// Adds an acknowledged write.
    pub(crate) fn stored(&mut self, key: &Key, next: &Record) {
        self.note(key, Some(next.clone()), true);
        self.settle(key, Some(next.clone()));
    }

    /// Adds a write without an outcome.
    pub(crate) fn may_have_stored(&mut self, key: &Key, next: &Record) {
        self.note(key, Some(next.clone()), false);
        self.stories.entry(key.clone()).or_default().may_be.push(Some(next.clone()));
    }

    /// Records that can be purged by now may be gone, and may come back.
    pub(crate) fn purged(&mut self, now: Timestamp) {
        for story in self.stories.values_mut() {
            let may_go = story.may_be.iter().flatten().any(|record| may_be_purged(record, now));
            if may_go && !story.may_be.contains(&None) {
                story.may_be.push(None);
            }
        }
    }

    /// Everything so far is certainly on the disk.
    pub(crate) fn synced(&mut self) {
        self.synced = self.history.len();
    }

    /// Checks that the token of a grant is above all that were observed.
    pub(crate) fn is_above_floor(&self, key: &Key, next: &Record) -> Result<(), String> {
        match self.stories.get(key) {
            Some(story) if next.token().as_u64() <= story.token => {
                Err(format!("{key:?} was granted with token {}, after {}", next.token(), story.token))
            }
            _ => Ok(()),
        }
    }

    fn note(&mut self, key: &Key, record: Option<Record>, is_sure: bool) {
        self.history.push(Entry { key: key.clone(), record, is_sure });
    }

    fn settle(&mut self, key: &Key, record: Option<Record>) {
        let story = self.stories.entry(key.clone()).or_default();
        story.token = story.token.max(record.as_ref().map_or(0, |record| record.token().as_u64()));
        // A record that could be purged once may be gone, and may come back with the next opening.
        let purged: Vec<_> = match &record {
            None => std::mem::take(&mut story.may_be),
            Some(_) => Vec::new(),
        };
        story.may_be = vec![record];
        let due = |record: &Option<Record>| {
            record.as_ref().is_some_and(|record| may_be_purged(record, self.time.0))
        };
        story.may_be.extend(purged.into_iter().filter(due));
    }

    /// Checks that a reading is the state after a prefix of the writes, which includes all synced
    /// ones.
    pub(crate) fn is_a_prefix(&self, read: &BTreeMap<Key, Option<Record>>) -> Result<(), String> {
        let fits = |count: usize| {
            read.iter().all(|(key, there)| {
                let before = self.history.iter().take(count).rev().filter(|entry| entry.key == *key);
                let mut last = before.filter(|entry| entry.is_sure || entry.record == *there);
                match (last.next().and_then(|entry| entry.record.as_ref()), there) {
                    (Some(last), Some(there)) => last == there,
                    (Some(last), None) => may_be_purged(last, self.time.0),
                    (None, there) => there.is_none(),
                }
            })
        };
        if (self.synced..=self.history.len()).any(fits) {
            return Ok(());
        }
        let (synced, history) = (self.synced, &self.history);
        Err(format!("{read:?} is after none of the writes {history:?}, of which {synced} were synced"))
    }
}
