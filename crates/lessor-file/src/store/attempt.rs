//! Attempts to answer a call at once.

use std::cell::RefCell;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use lessor_core::store::{Change, Purged, Scan, Seen, Swap};
use lessor_core::{Key, Record, StoreError, Timestamp, Token};

use crate::format::entry;
use crate::index::location::{Home, Place};
use crate::index::shard::{Purge, Slot};
use crate::log::Log;
use crate::log::lease_space::Lease;
use crate::log::staging::{Claim, ClaimKind, Refused, Wait, check_size};
use crate::store::read_back::Known;

/// What an attempt to do something at once came to.
pub(super) enum Attempt<T> {
    Done(T),
    /// It has to be tried again after this.
    Wait(Wait),
    /// It has to be tried again once the record was read back from the disk.
    Cold(u64, Place),
}

pub(super) enum Swapped {
    Answer(Swap),
    /// Stored, once this LSN is visible; as this record, if it is not the change's own.
    Staged(u64, Option<Record>),
}

/// Memory for one entry: the entry, and the record in it.
type Buffers = (Vec<u8>, Vec<u8>);

impl Log {
    pub(super) fn attempt_load(&self, key: &Key, known: &Known) -> Result<Attempt<Seen>, StoreError> {
        let shard = self.index.read(key);
        let record = match shard.slot(key) {
            None => None,
            Some(slot) => match self.shown(slot, known) {
                Attempt::Done(record) => Some(record),
                Attempt::Wait(wait) => return Ok(Attempt::Wait(wait)),
                Attempt::Cold(lsn, place) => return Ok(Attempt::Cold(lsn, place)),
            },
        };
        // Time and record belong together: the clock is read while the record cannot change.
        let seen = self.seen(record);
        drop(shard);
        seen
    }

    /// The record of a slot, if it may be shown and is at hand.
    fn shown(&self, slot: &Slot, known: &Known) -> Attempt<Record> {
        if slot.lsn > self.committer.visible() {
            return Attempt::Wait(Wait::Visible(slot.lsn));
        }
        match slot.record.as_ref().or(of(known, slot.lsn)) {
            Some(record) => Attempt::Done(record.clone()),
            None => Attempt::Cold(slot.lsn, slot.place),
        }
    }

    fn seen(&self, record: Option<Record>) -> Result<Attempt<Seen>, StoreError> {
        Ok(match self.reserved_now() {
            Some(now) => Attempt::Done(Seen { record, now }),
            None => Attempt::Wait(Wait::Reservation),
        })
    }

    /// The time, if it may be told for good; else it will be after [`Wait::Reservation`].
    pub(super) fn reserved_now(&self) -> Option<Timestamp> {
        let (now, is_short) = self.clock.reserved_now();
        if is_short {
            self.signals.request_reservation();
        }
        now
    }

    pub(super) fn attempt_swap(
        &self,
        key: &Key,
        change: &Change<'_>,
        known: &Known,
    ) -> Result<Attempt<Swapped>, StoreError> {
        thread_local! {
            /// Used again and again.
            static ENTRY: RefCell<Buffers> = const { RefCell::new((Vec::new(), Vec::new())) };
        }
        self.check_process()?;
        if let Some(error) = self.poison.error() {
            return Err(error);
        }
        let attempt = |buffers: &mut Buffers| {
            const KEEP: usize = 1 << 20;
            let swapped = self.attempt_put(key, change, known, buffers);
            if buffers.0.capacity() > KEEP {
                *buffers = Buffers::default();
            }
            swapped
        };
        // A thread that is being torn down has lost its buffers.
        ENTRY
            .try_with(|buffers| attempt(&mut buffers.borrow_mut()))
            .unwrap_or_else(|_| attempt(&mut Buffers::default()))
    }

    fn attempt_put(
        &self,
        key: &Key,
        change: &Change<'_>,
        known: &Known,
        buffers: &mut Buffers,
    ) -> Result<Attempt<Swapped>, StoreError> {
        let mut encoded = encode(key, change.next, buffers)?;
        let mut shard = self.index.write(key);
        let slot = shard.slot(key);
        let length = slot.map_or(0, |slot| slot.place.length);
        let current = match slot {
            None => None,
            // What is not visible yet can still be built upon; its outcome comes first.
            Some(slot) => match slot.record.as_ref().or(of(known, slot.lsn)) {
                Some(record) if slot.lsn > self.committer.visible() => {
                    if !change.expects(Some(record)) {
                        return Ok(Attempt::Wait(Wait::Visible(slot.lsn)));
                    }
                    Some(record.clone())
                }
                Some(record) => Some(record.clone()),
                None => return Ok(Attempt::Cold(slot.lsn, slot.place)),
            },
        };
        if !change.expects(current.as_ref()) {
            return Ok(self.seen(current)?.map(|seen| Swapped::Answer(Swap::Conflict(seen))));
        }
        // A purge raises the mark while it holds the shard's lock, which is held here.
        let outruns = change.outruns(Token::from_u64(self.token_floor.load(Ordering::Relaxed)));
        let mut stamped = None;
        if !outruns || change.is_timed() {
            let Some(now) = self.reserved_now() else { return Ok(Attempt::Wait(Wait::Reservation)) };
            if !outruns || !change.is_due(now) {
                let visible = self.committer.visible();
                if let Some(slot) = shard.slot(key).filter(|slot| slot.lsn > visible) {
                    return Ok(Attempt::Wait(Wait::Visible(slot.lsn)));
                }
                return Ok(Attempt::Done(Swapped::Answer(Swap::OutOfWindow(Seen { record: current, now }))));
            }
            stamped = change.stamped(now);
        }
        if let Some(stamped) = &stamped {
            encoded = encode(key, stamped, buffers)?;
        }
        let next = stamped.as_ref().unwrap_or(change.next);
        let claim = claim(key, current.as_ref(), length, next, encoded.length);
        let staged = match self.stage(&buffers.0, &claim) {
            Ok(staged) => staged,
            Err(Refused::Wait(wait)) => return Ok(Attempt::Wait(wait)),
            Err(Refused::Error(error)) => return Err(error),
        };
        let position = staged.position + u32::try_from(encoded.at).unwrap_or(u32::MAX);
        let place = Place { home: Home::Log, position, length: encoded.length, checksum: encoded.checksum };
        let slot = Slot {
            lsn: staged.lsn,
            place,
            token: next.token().as_u64(),
            purge_at: next.purge_at(),
            record: Some(next.clone()),
            entered: 0,
        };
        shard.put(key, slot);
        if !matches!(next.stage(), lessor_core::Stage::InProgress) {
            let visible = self.committer.visible();
            shard.keep(staged.lsn, encoded.length, visible);
        }
        Ok(Attempt::Done(Swapped::Staged(staged.lsn, stamped)))
    }

    pub(super) fn purge(&self, limit: usize, now: Timestamp) -> Purged {
        let visible = self.committer.visible();
        let purge = Purge { limit, now: now.as_micros(), visible };
        // While the shard is locked.
        self.index.purge(&purge, &mut |slot| {
            self.token_floor.fetch_max(slot.token, Ordering::Relaxed);
        })
    }

    /// The first keys behind the cursor, in order.
    pub(super) fn keys(&self, query: &Scan) -> Vec<Key> {
        let matches = |key: &Key| {
            key.starts_with(&query.prefix) && query.after.as_ref().is_none_or(|after| key > after)
        };
        let mut first: BinaryHeap<Key> = BinaryHeap::new();
        for shard in self.index.shards() {
            for (key, _) in shard.read().slots().filter(|(key, _)| matches(key)) {
                if first.len() < query.limit {
                    first.push(key.clone());
                } else if first.peek().is_some_and(|last| key < last) {
                    first.pop();
                    first.push(key.clone());
                }
            }
        }
        first.into_sorted_vec()
    }
}

/// What the change of a record with that many bytes into another means for the room in the log.
fn claim(key: &Key, before: Option<&Record>, before_bytes: u32, after: &Record, after_bytes: u32) -> Claim {
    let is_grant = before.is_none_or(|before| before.token() != after.token());
    let is_shorter = before.is_some_and(|before| after.expires_at() < before.expires_at());
    let before = before.and_then(|before| Lease::of(key, before, before_bytes));
    let after = Lease::of(key, after, after_bytes);
    let kind = match after {
        None => ClaimKind::Outcome,
        Some(_) if is_grant => ClaimKind::Grant,
        // It was given up.
        Some(_) if is_shorter => ClaimKind::Outcome,
        Some(_) => ClaimKind::Upkeep,
    };
    Claim { kind, before, after }
}

impl<T> Attempt<T> {
    fn map<U>(self, turn: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Self::Done(done) => Attempt::Done(turn(done)),
            Self::Wait(wait) => Attempt::Wait(wait),
            Self::Cold(lsn, place) => Attempt::Cold(lsn, place),
        }
    }
}

fn encode(key: &Key, next: &Record, (entry, record): &mut Buffers) -> Result<entry::Encoded, StoreError> {
    entry.clear();
    record.clear();
    next.encode_into(record);
    check_size(record.len())?;
    Ok(entry::encode(entry, None, key, record))
}

/// What was read back, if it is of that write.
fn of(known: &Known, lsn: u64) -> Option<&Record> {
    known.as_ref().filter(|(of, _)| *of == lsn).map(|(_, record)| record)
}
