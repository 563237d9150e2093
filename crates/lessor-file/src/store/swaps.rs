//! Compare-and-swap on an open log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lessor_core::store::{
    CasResult, Closing, ConditionalWrite, OwnedConditionalWrite, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{CompareAndSwap, Durability, Key, Pending, Record, StoreError, Timestamp};

use crate::commit::waiting::Waiting;
use crate::log::Log;
use crate::log::close_state::CloseLimit;
use crate::log::staging::Wait;
use crate::store::attempt::{Attempt, SwapAttempt};
use crate::store::read_back::{ReadRecord, read_back};

/// Attempts until there is an answer.
async fn retry<T>(
    log: &Arc<Log>,
    key: &Key,
    mut first: Option<Attempt<T>>,
    attempt: impl Fn(&ReadRecord) -> Result<Attempt<T>, StoreError>,
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
            Attempt::OnDisk(lsn, place) => known = read_back(log, key, lsn, place).await?,
        }
    }
}

async fn load(log: Arc<Log>, key: Key, first: Option<Attempt<Snapshot>>) -> Result<Snapshot, StoreError> {
    retry(&log, &key, first, |known| log.attempt_load(&key, known)).await
}

/// Waits until a staged change is stored.
async fn stored(mut waiting: Waiting, stamped: Option<Record>) -> Result<CasResult, StoreError> {
    match (&mut waiting).await {
        Ok(()) => Ok(stamped.map_or(CasResult::Written, CasResult::WrittenAs)),
        Err(error) => Err(waiting.unacknowledged(error)),
    }
}

async fn swap(
    log: Arc<Log>,
    key: Key,
    change: OwnedConditionalWrite,
    first: Attempt<SwapAttempt>,
) -> Result<CasResult, StoreError> {
    match retry(&log, &key, Some(first), |known| log.attempt_swap(&key, &change.borrow(), known)).await? {
        SwapAttempt::Answer(swap) => Ok(swap),
        SwapAttempt::Staged(lsn, stamped) => stored(Waiting::new(&log, Wait::Visible(lsn)), stamped).await,
    }
}

async fn scan(log: Arc<Log>, query: Scan) -> Result<Page, StoreError> {
    let now = reserved_now(&log).await?;
    let (keys, next) = log.keys(&query, now);
    let mut entries = Vec::with_capacity(keys.len());
    for key in keys {
        if let Some(record) = load(Arc::clone(&log), key.clone(), None).await?.record {
            entries.push((key, record));
        }
    }
    Ok(Page::new(entries, next, now))
}

async fn reserved_now(log: &Arc<Log>) -> Result<Timestamp, StoreError> {
    loop {
        match log.reserved_now() {
            Some(now) => return Ok(now),
            None => Waiting::new(log, Wait::Reservation).await?,
        }
    }
}

/// Resolves once the log is closed.
struct Closed(Arc<Log>);

impl Future for Closed {
    type Output = Result<bool, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.close_state.poll(context)
    }
}

/// The log as a store that compares and swaps. Records are encoded before a shard of the index is
/// locked.
#[derive(Debug)]
pub(crate) struct LogSwaps(pub(crate) Arc<Log>);

impl CompareAndSwap for LogSwaps {
    #[inline]
    fn now(&self) -> Reply<Timestamp> {
        let (now, is_short) = self.0.clock.now();
        if let Err(error) = self.0.check_process_at(now) {
            return Pending::ready(Err(error));
        }
        if is_short {
            self.0.signals.request_reservation();
        }
        Pending::ready(Ok(now))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        if let Err(error) = self.0.check_process() {
            return Pending::ready(Err(error));
        }
        match self.0.attempt_load(key, &None) {
            Ok(Attempt::Done(seen)) => Pending::ready(Ok(seen)),
            Err(error) => Pending::ready(Err(error)),
            Ok(first) => Pending::later(load(Arc::clone(&self.0), key.clone(), Some(first))),
        }
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        match self.0.attempt_swap(key, change, &None) {
            Ok(Attempt::Done(SwapAttempt::Staged(lsn, stamped))) => {
                Pending::later(stored(Waiting::new(&self.0, Wait::Visible(lsn)), stamped))
            }
            Ok(Attempt::Done(SwapAttempt::Answer(swap))) => Pending::ready(Ok(swap)),
            Err(error) => Pending::ready(Err(error)),
            Ok(first) => Pending::later(swap(Arc::clone(&self.0), key.clone(), change.to_owned(), first)),
        }
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        match self.0.check_process() {
            Ok(()) => Pending::later(scan(Arc::clone(&self.0), query)),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        if let Err(error) = self.0.check_process() {
            return Pending::ready(Err(error));
        }
        if let Some(now) = self.0.reserved_now() {
            return Pending::ready(Ok(self.0.purge(limit, now)));
        }
        let log = Arc::clone(&self.0);
        Pending::later(async move {
            let now = reserved_now(&log).await?;
            Ok(log.purge(limit, now))
        })
    }

    fn durability(&self) -> Durability {
        self.0.settings.sync.into()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        if let Err(error) = self.0.check_process() {
            return Pending::ready(Err(error));
        }
        self.0.stop(CloseLimit::Until(closing.clone()));
        Pending::later(Closed(Arc::clone(&self.0)))
    }
}
