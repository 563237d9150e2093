//! Attempts to answer a call without waiting.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use lessor_core::store::{CasResult, ConditionalWrite, FirstKeys, Purged, Scan, Snapshot};
use lessor_core::{Key, Record, StoreError, Timestamp, Token};

use crate::format::entry;
use crate::index::location::{FileRef, Location};
use crate::index::shard::{Purge, Slot};
use crate::log::Log;
use crate::log::lease_space::LeaseSpace;
use crate::log::staging::{Claim, ClaimKind, Refused, Wait, check_size};
use crate::store::read_back::ReadRecord;

/// The result of an attempt.
pub(super) enum Attempt<T> {
    Done(T),
    /// To be attempted again after this condition holds.
    Wait(Wait),
    /// To be attempted again once the record with this LSN is read from this location.
    OnDisk(u64, Location),
}

pub(super) enum SwapAttempt {
    Answer(CasResult),
    /// Staged, and stored once this LSN is visible. The record is given if it differs from the one
    /// in the change.
    Staged(u64, Option<Record>),
}

/// Buffers for one encoded entry and for the record in it.
type Buffers = (Vec<u8>, Vec<u8>);

impl Log {
    pub(super) fn attempt_load(
        &self,
        key: &Key,
        known: &ReadRecord,
    ) -> Result<Attempt<Snapshot>, StoreError> {
        let shard = self.index.read(key);
        let record = match shard.slot(key) {
            None => None,
            Some(slot) => match self.visible_record(slot, known) {
                Attempt::Done(record) => Some(record),
                Attempt::Wait(wait) => return Ok(Attempt::Wait(wait)),
                Attempt::OnDisk(lsn, location) => return Ok(Attempt::OnDisk(lsn, location)),
            },
        };
        // The clock is read while the shard is locked, so that the record is current at that time.
        let seen = self.seen(record);
        drop(shard);
        seen
    }

    /// Returns the record of a slot if it is visible and in memory.
    fn visible_record(&self, slot: &Slot, known: &ReadRecord) -> Attempt<Record> {
        if slot.lsn > self.committer.visible() {
            return Attempt::Wait(Wait::Visible(slot.lsn));
        }
        match slot.record.as_ref().or(record_at(known, slot.lsn)) {
            Some(record) => Attempt::Done(record.clone()),
            None => Attempt::OnDisk(slot.lsn, slot.location),
        }
    }

    fn seen(&self, record: Option<Record>) -> Result<Attempt<Snapshot>, StoreError> {
        Ok(match self.reserved_now() {
            Some(now) => Attempt::Done(Snapshot::new(record, now)),
            None => Attempt::Wait(Wait::Reservation),
        })
    }

    /// Returns the time if the clock is reserved up to it. Otherwise it is after
    /// [`Wait::Reservation`].
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
        change: &ConditionalWrite<'_>,
        known: &ReadRecord,
    ) -> Result<Attempt<SwapAttempt>, StoreError> {
        thread_local! {
            /// Reused by all calls of the thread.
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
        // A thread that is being torn down has no thread-local buffers.
        ENTRY
            .try_with(|buffers| attempt(&mut buffers.borrow_mut()))
            .unwrap_or_else(|_| attempt(&mut Buffers::default()))
    }

    fn attempt_put(
        &self,
        key: &Key,
        change: &ConditionalWrite<'_>,
        known: &ReadRecord,
        buffers: &mut Buffers,
    ) -> Result<Attempt<SwapAttempt>, StoreError> {
        let mut encoded = encode(key, change.next, buffers)?;
        let mut shard = self.index.write(key);
        let slot = shard.slot(key);
        let length = slot.map_or(0, |slot| slot.location.length);
        let current = match slot {
            None => None,
            // A record that is not visible yet can be replaced, but no outcome that depends on it
            // is returned before it is visible.
            Some(slot) => match slot.record.as_ref().or(record_at(known, slot.lsn)) {
                Some(record) if slot.lsn > self.committer.visible() => {
                    if !change.matches(Some(record)) {
                        return Ok(Attempt::Wait(Wait::Visible(slot.lsn)));
                    }
                    Some(record.clone())
                }
                Some(record) => Some(record.clone()),
                None => return Ok(Attempt::OnDisk(slot.lsn, slot.location)),
            },
        };
        if !change.matches(current.as_ref()) {
            return Ok(self.seen(current)?.map(|seen| SwapAttempt::Answer(CasResult::Conflict(seen))));
        }
        // A purge raises the floor while it holds the lock of the shard, which is held here.
        let is_above_floor = change.is_above_floor(Token::from_u64(self.token_floor.load(Ordering::Relaxed)));
        let mut stamped = None;
        if !is_above_floor || change.is_timed() {
            let Some(now) = self.reserved_now() else { return Ok(Attempt::Wait(Wait::Reservation)) };
            if !is_above_floor || !change.in_window(now) {
                let visible = self.committer.visible();
                if let Some(slot) = shard.slot(key).filter(|slot| slot.lsn > visible) {
                    return Ok(Attempt::Wait(Wait::Visible(slot.lsn)));
                }
                return Ok(Attempt::Done(SwapAttempt::Answer(CasResult::Rejected(Snapshot::new(
                    current, now,
                )))));
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
        let location =
            Location { file_ref: FileRef::Log, position, length: encoded.length, checksum: encoded.checksum };
        let slot = Slot {
            lsn: staged.lsn,
            location,
            token: next.token().as_u64(),
            purge_at: next.purge_at(),
            record: Some(next.clone()),
            bucket: 0,
        };
        shard.put(key, slot);
        if !matches!(next.stage(), lessor_core::Stage::InProgress) {
            let visible = self.committer.visible();
            shard.cache(staged.lsn, encoded.length, visible);
        }
        Ok(Attempt::Done(SwapAttempt::Staged(staged.lsn, stamped)))
    }

    pub(super) fn purge(&self, limit: usize, now: Timestamp) -> Purged {
        let visible = self.committer.visible();
        let purge = Purge { limit, now: now.as_micros(), visible };
        // Called while the shard is locked.
        self.index.purge(&purge, &mut |slot| {
            self.token_floor.fetch_max(slot.token, Ordering::Relaxed);
        })
    }

    /// Returns the first keys after the cursor in order, and where the next page begins.
    pub(super) fn keys(&self, query: &Scan, now: Timestamp) -> (Vec<Key>, Option<Key>) {
        let mut first = FirstKeys::new(query);
        for shard in self.index.shards() {
            for (key, slot) in shard.read().slots() {
                if slot.record.as_ref().is_none_or(|record| query.needs(record, now)) {
                    first.offer(key);
                }
            }
        }
        first.finish()
    }
}

/// Returns the effect of a change on the space that leases need.
fn claim(key: &Key, before: Option<&Record>, before_bytes: u32, after: &Record, after_bytes: u32) -> Claim {
    let is_grant = before.is_none_or(|before| before.token() != after.token());
    let is_shorter = before.is_some_and(|before| after.expires_at() < before.expires_at());
    let before = before.and_then(|before| LeaseSpace::of(key, before, before_bytes));
    let after = LeaseSpace::of(key, after, after_bytes);
    let kind = match after {
        None => ClaimKind::Outcome,
        Some(_) if is_grant => ClaimKind::Grant,
        // The holder gave up part of its lease.
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
            Self::OnDisk(lsn, location) => Attempt::OnDisk(lsn, location),
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

/// Returns the record that was read back, if it belongs to the write with this LSN.
fn record_at(known: &ReadRecord, lsn: u64) -> Option<&Record> {
    known.as_ref().filter(|(of, _)| *of == lsn).map(|(_, record)| record)
}
