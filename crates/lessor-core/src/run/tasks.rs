//! The tasks that an engine runs on its background threads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_lite::future;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::rules::{Command, HolderCommand};
use crate::run::context::{Handle, Orphan, Shared, Work};
use crate::run::holders::{Step, WatchedGrant};
use crate::run::observer::event::{Event, Outcome};
use crate::run::survey::survey_periodically;
use crate::store::types::Purged;

/// The number of records that one call of a store's `purge` examines. Each takes about a
/// microsecond.
const PURGE_SLICE: usize = 512;
/// The minimum pause between two attempts to renew a lease.
const MIN_RETRY: Duration = Duration::from_millis(1);

/// Starts the tasks that run until the engine is dropped.
///
/// The engine must be complete: a task ends when it cannot upgrade its reference to the engine.
pub(crate) fn start(shared: &Arc<Shared>) {
    let (engine, background) = (Arc::downgrade(shared), &shared.background);
    // The first period begins now, even if the thread starts late.
    let first = shared.clock.now().saturating_add(shared.schedule.purge_every);
    background.purger.spawner().spawn(purge_periodically(engine.clone(), first));
    if let Some(every) = shared.schedule.survey_every {
        background.purger.spawner().spawn(survey_periodically(engine.clone(), every));
    }
    background.leases.spawner().spawn(watch_leases(engine.clone()));
    background.readers.spawner().spawn(run_readings(engine));
}

/// Ends a lease without a holder at the store, in the background.
pub(crate) fn abandon(engine: &Arc<Handle>, key: Key, lease_id: LeaseId, work: Work) {
    let orphan = Orphan { engine: Arc::clone(engine), key, lease_id, work };
    if let Some(orphan) = engine.abandoned.add(orphan) {
        engine.background.leases.spawner().spawn(abandon_all(orphan));
    }
}

async fn abandon_all(first: Orphan) {
    let engine = Arc::clone(&first.engine);
    let mut next = Some(first);
    while let Some(orphan) = next {
        abandon_one(&orphan).await;
        next = engine.abandoned.next();
        // If the store answers immediately, renewals would otherwise be delayed.
        future::yield_now().await;
    }
}

/// The command is decided on the record that is read, not on a guess, so the lease ends at the time
/// that comes with the record. The store's `now` may be ahead of that time, and the lease would
/// stay live until then.
async fn abandon_one(Orphan { engine, key, lease_id, work }: &Orphan) {
    let (act, outcome) = match work {
        Work::NotBegun => (HolderCommand::Unused, Outcome::Unused),
        Work::MayHaveBegun => (HolderCommand::Abandon, Outcome::Abandoned),
    };
    match engine.run(key, Command::Holder(*lease_id, act)).await {
        Ok(_) => engine.record(&Event::Ended { key: key.into(), outcome, late: false }),
        Err(Error::Store(error)) => engine.record(&Event::NotAbandoned { key: key.into(), error: &error }),
        // The lease has an outcome, or another holder has the key.
        Err(_) => {}
    }
}

/// Examines up to `most` records, but not more than [`PURGE_SLICE`], and removes those whose
/// retention has ended.
pub(crate) async fn purge_slice(shared: &Shared, most: usize) -> Result<Purged, StoreError> {
    let purged = shared.store.purge(most.min(PURGE_SLICE)).await?;
    if purged.dropped > 0 {
        shared.record(&Event::Purged { records: purged.dropped as u64 });
    }
    Ok(purged)
}

/// Removes records whose retention has ended, in slices.
async fn purge_periodically(engine: Weak<Shared>, mut next: Timestamp) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let sleep = shared.background.purger.sleep_until(next);
        drop(shared);
        sleep.await;
        while let Some(shared) = engine.upgrade() {
            match purge_slice(&shared, PURGE_SLICE).await {
                Ok(purged) if !purged.more => break,
                Ok(_) => {}
                Err(error) => {
                    shared.record(&Event::NotPurged { error: &error });
                    break;
                }
            }
            drop(shared);
            future::yield_now().await;
        }
        let Some(shared) = engine.upgrade() else { return };
        next = shared.clock.now().saturating_add(shared.schedule.purge_every);
    }
}

/// Renews and checks the watched leases, on the thread for leases.
async fn watch_leases(engine: Weak<Shared>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let earlier = shared.watches.holders.earlier();
        let (due, planned) = shared.watches.holders.take_due(shared.clock.now());
        let none_due = due.is_empty();
        for (grant, step) in due {
            start_step(&shared, grant, &step);
        }
        let sleep = planned.map(|at| shared.background.leases.sleep_until(at));
        drop(shared);
        match sleep {
            Some(sleep) if none_due => future::or(earlier, sleep).await,
            // The other tasks of this thread run: renewals, checks, and abandoned leases.
            _ => future::yield_now().await,
        }
    }
}

fn start_step(shared: &Arc<Shared>, grant: Arc<dyn WatchedGrant>, step: &Step) {
    let leases = shared.background.leases.spawner();
    match step {
        Step::Nothing => {}
        Step::End => {
            if grant.is_open() {
                grant.record(&Event::Lost {
                    key: grant.key().into(),
                    token: None,
                    reason: "its time is over",
                });
            }
            grant.notify();
        }
        Step::Stall => grant.record(&Event::Stalled { key: grant.key().into() }),
        Step::Renew => leases.spawn(renew(Arc::clone(shared), grant)),
        Step::Check => leases.spawn(check(Arc::clone(shared), grant)),
    }
}

/// Renews a lease. The next renewal follows after a third of the ttl, or after a twelfth if the
/// store did not answer.
async fn renew(shared: Arc<Shared>, grant: Arc<dyn WatchedGrant>) {
    let before = shared.clock.now();
    let (key, ttl) = (grant.key(), grant.ttl());
    let margin = grant.deadline().saturating_since(before);
    let pause = match Arc::clone(&grant).renew().await {
        Ok(()) => {
            grant.record(&Event::Renewed { key: key.into(), margin, ttl });
            ttl / 3
        }
        Err(error @ (Error::Store(_) | Error::ClockOutOfRange)) => {
            grant.record(&Event::NotRenewed { key: key.into(), error: &error });
            (ttl / 12).max(MIN_RETRY)
        }
        // The grant has taken into account that it is lost.
        Err(_) => ttl,
    };
    let check_at = before.saturating_add(shared.schedule.poll_every);
    shared.watches.holders.finish_step(&*grant, check_at, Some(before.saturating_add(pause)));
}

/// Reads the record, which another process may have changed, and compares the lease with it.
async fn check(shared: Arc<Shared>, grant: Arc<dyn WatchedGrant>) {
    let (holders, key) = (&shared.watches.holders, grant.key());
    let before = shared.clock.now();
    match shared.store.load(key).await {
        Ok(snapshot) => holders.observe(key, snapshot.record.as_ref(), snapshot.now),
        Err(error) => grant.record(&Event::NotChecked { key: key.into(), error: &error }),
    }
    holders.finish_step(&*grant, before.saturating_add(shared.schedule.poll_every), None);
}

/// Reads records for waiters, on the thread for readers.
async fn run_readings(engine: Weak<Shared>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let earlier = shared.watches.waiters.earlier();
        let planned = shared.watches.waiters.run_due();
        let readers = &shared.background.readers;
        let sleep = planned
            .map(|(at, really_at)| future::or(readers.sleep_until(at), readers.pause_until(really_at)));
        drop(shared);
        match sleep {
            Some(sleep) => future::or(earlier, sleep).await,
            // The other tasks of this thread run.
            None => future::yield_now().await,
        }
    }
}
