//! The log as a store of records.

use std::cell::RefCell;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lessor_core::store::{Change, Closing, Hints, OwnedChange, Page, Purged, Reply, Scan, Seen, Swap};
use lessor_core::{Durability, Key, Pending, Record, Store, StoreError, Timestamp, Token};
use parking_lot::Mutex;

use crate::FileStore;
use crate::closing::{Bound, Ended};
use crate::commit::{Claim, Kind, Refused, Wait, check_size};
use crate::entry;
use crate::index::{Home, Place, Purge, Slot};
use crate::live::Lease;
use crate::log::{Log, Waiting};
use crate::reader::{Known, read_back};
use crate::threads;

/// What an attempt to do something at once came to.
pub(crate) enum Attempt<T> {
    Done(T),
    /// It has to be tried again after this.
    Wait(Wait),
    /// It has to be tried again once the record was read back from the disk.
    Cold(u64, Place),
}

enum Swapped {
    Answer(Swap),
    /// Stored, once this LSN is visible; as this record, if it is not the change's own.
    Staged(u64, Option<Record>),
}

/// Memory for one entry: the entry, and the record in it.
type Buffers = (Vec<u8>, Vec<u8>);

impl Log {
    fn attempt_load(&self, key: &Key, known: &Known) -> Result<Attempt<Seen>, StoreError> {
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
        if slot.lsn > self.visible.load(Ordering::Acquire) {
            return Attempt::Wait(Wait::Visible(slot.lsn));
        }
        match slot.record.as_ref().or(of(known, slot.lsn)) {
            Some(record) => Attempt::Done(record.clone()),
            None => Attempt::Cold(slot.lsn, slot.place),
        }
    }

    fn seen(&self, record: Option<Record>) -> Result<Attempt<Seen>, StoreError> {
        Ok(match self.covered_now() {
            Some(now) => Attempt::Done(Seen { record, now }),
            None => Attempt::Wait(Wait::Time),
        })
    }

    /// The time, if it may be told for good; else it will be after [`Wait::Time`].
    fn covered_now(&self) -> Option<Timestamp> {
        let (now, is_short) = self.time.covered_now();
        if is_short {
            self.time_is_short();
        }
        now
    }

    fn attempt_swap(
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
        if let Some(error) = self.poison() {
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
                Some(record) if slot.lsn > self.visible.load(Ordering::Acquire) => {
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
        let outruns = change.outruns(Token::from_u64(self.purged.load(Ordering::Relaxed)));
        let mut stamped = None;
        if !outruns || change.is_timed() {
            let Some(now) = self.covered_now() else { return Ok(Attempt::Wait(Wait::Time)) };
            if !outruns || !change.is_due(now) {
                let visible = self.visible.load(Ordering::Acquire);
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
            let visible = self.visible.load(Ordering::Acquire);
            shard.keep(staged.lsn, encoded.length, visible);
        }
        Ok(Attempt::Done(Swapped::Staged(staged.lsn, stamped)))
    }

    fn purge(&self, limit: usize, now: Timestamp) -> Purged {
        let visible = self.visible.load(Ordering::Acquire);
        let purge = Purge { limit, now: now.as_micros(), visible };
        // While the shard is locked.
        self.index.purge(&purge, &mut |slot| {
            self.purged.fetch_max(slot.token, Ordering::Relaxed);
        })
    }

    /// The first keys behind the cursor, in order.
    fn keys(&self, query: &Scan) -> Vec<Key> {
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
        None => Kind::Outcome,
        Some(_) if is_grant => Kind::Grant,
        // It was given up.
        Some(_) if is_shorter => Kind::Outcome,
        Some(_) => Kind::Upkeep,
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

/// Tries until there is an answer.
async fn persist<T>(
    log: &Arc<Log>,
    key: &Key,
    mut first: Option<Attempt<T>>,
    attempt: impl Fn(&Known) -> Result<Attempt<T>, StoreError>,
) -> Result<T, StoreError> {
    let mut known = None;
    loop {
        let tried = match first.take() {
            Some(tried) => tried,
            None => attempt(&known)?,
        };
        match tried {
            Attempt::Done(done) => return Ok(done),
            Attempt::Wait(wait) => Waiting::new(log, wait).await?,
            Attempt::Cold(lsn, place) => known = read_back(log, key, lsn, place).await?,
        }
    }
}

async fn load(log: Arc<Log>, key: Key, first: Option<Attempt<Seen>>) -> Result<Seen, StoreError> {
    persist(&log, &key, first, |known| log.attempt_load(&key, known)).await
}

/// Waits until what was staged is stored, and tells the other engines about it, if there are any.
async fn stored(mut waiting: Waiting, key: Option<Key>, stamped: Option<Record>) -> Result<Swap, StoreError> {
    match (&mut waiting).await {
        Ok(()) => {
            key.inspect(|key| waiting.log.engines.changed(key));
            Ok(stamped.map_or(Swap::Stored, Swap::Stamped))
        }
        Err(error) => Err(waiting.told(error)),
    }
}

async fn swap(
    log: Arc<Log>,
    key: Key,
    change: OwnedChange,
    first: Attempt<Swapped>,
) -> Result<Swap, StoreError> {
    match persist(&log, &key, Some(first), |known| log.attempt_swap(&key, &change.borrow(), known)).await? {
        Swapped::Answer(swap) => Ok(swap),
        Swapped::Staged(lsn, stamped) => {
            let key = log.engines.are_several().then_some(key);
            stored(Waiting::new(&log, Wait::Visible(lsn)), key, stamped).await
        }
    }
}

async fn scan(log: Arc<Log>, query: Scan) -> Result<Page, StoreError> {
    let now = covered_now(&log).await?;
    let keys = log.keys(&query);
    let next = (keys.len() == query.limit).then(|| keys.last().cloned()).flatten();
    let mut entries = Vec::with_capacity(keys.len());
    for key in keys {
        if let Some(record) = load(Arc::clone(&log), key.clone(), None).await?.record {
            entries.push((key, record));
        }
    }
    Ok(Page { entries, next, now })
}

async fn covered_now(log: &Arc<Log>) -> Result<Timestamp, StoreError> {
    loop {
        match log.covered_now() {
            Some(now) => return Ok(now),
            None => Waiting::new(log, Wait::Time).await?,
        }
    }
}

impl Store for FileStore {
    #[inline]
    fn now(&self) -> Reply<Timestamp> {
        let (now, is_short) = self.log.time.now();
        if let Err(error) = self.log.check_process_at(now) {
            return Pending::ready(Err(error));
        }
        if is_short {
            self.log.time_is_short();
        }
        Pending::ready(Ok(now))
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        if let Err(error) = self.log.check_process() {
            return Pending::ready(Err(error));
        }
        match self.log.attempt_load(key, &None) {
            Ok(Attempt::Done(seen)) => Pending::ready(Ok(seen)),
            Err(error) => Pending::ready(Err(error)),
            Ok(first) => Pending::later(load(Arc::clone(&self.log), key.clone(), Some(first))),
        }
    }

    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        match self.log.attempt_swap(key, change, &None) {
            Ok(Attempt::Done(Swapped::Staged(lsn, stamped))) => {
                let key = self.log.engines.are_several().then(|| key.clone());
                Pending::later(stored(Waiting::new(&self.log, Wait::Visible(lsn)), key, stamped))
            }
            Ok(Attempt::Done(Swapped::Answer(swap))) => Pending::ready(Ok(swap)),
            Err(error) => Pending::ready(Err(error)),
            Ok(first) => Pending::later(swap(Arc::clone(&self.log), key.clone(), change.to_owned(), first)),
        }
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        match self.log.check_process() {
            Ok(()) => Pending::later(scan(Arc::clone(&self.log), query)),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        if let Err(error) = self.log.check_process() {
            return Pending::ready(Err(error));
        }
        if let Some(now) = self.log.covered_now() {
            return Pending::ready(Ok(self.log.purge(limit, now)));
        }
        let log = Arc::clone(&self.log);
        Pending::later(async move {
            let now = covered_now(&log).await?;
            Ok(log.purge(limit, now))
        })
    }

    fn durability(&self) -> Durability {
        self.log.settings.sync.into()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        if let Err(error) = self.log.check_process() {
            return Pending::ready(Err(error));
        }
        threads::stop(&self.log, Bound::Until(closing.clone()));
        Pending::later(Ended(Arc::clone(&self.log)))
    }

    fn glance(&self, key: &str, look: &mut dyn FnMut(Option<(&Record, Timestamp)>)) -> bool {
        if !self.log.time.is_covered() || self.log.is_known_to_be_forked() {
            return false;
        }
        // Does not wait: in a forked child a lock may be held for ever by a thread that is not there.
        let Some(shard) = self.log.index.try_read(key) else { return false };
        match shard.slot(key) {
            None => look(None),
            Some(slot) if slot.lsn <= self.log.visible.load(Ordering::Acquire) => {
                match slot.record.as_ref().and_then(|record| Some((record, self.log.covered_now()?))) {
                    Some(found) => look(Some(found)),
                    None => return false,
                }
            }
            Some(_) => return false,
        }
        true
    }

    fn attach(&self, hints: Hints) {
        if self.log.check_process().is_err() {
            return;
        }
        self.log.time.clock().on_step(hints.clone());
        self.log.engines.attach(hints);
    }
}

/// The engines over a store: a change that one makes is told to the others.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    all: Mutex<Vec<Hints>>,
    are_several: AtomicBool,
}

impl Engines {
    fn attach(&self, hints: Hints) {
        let mut all = self.all.lock();
        all.retain(|engine| !engine.is_stale());
        all.push(hints);
        self.are_several.store(all.len() > 1, Ordering::Release);
    }

    fn are_several(&self) -> bool {
        self.are_several.load(Ordering::Acquire)
    }

    fn changed(&self, key: &Key) {
        let all = self.all.lock().clone();
        all.iter().for_each(|engine| engine.changed(key));
    }
}
