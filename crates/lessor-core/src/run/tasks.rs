//! The tasks that an engine runs on its background threads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_lite::future;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::time::Timestamp;
use crate::rules::{Command, HolderCommand};
use crate::run::context::{Handle, Shared};
use crate::run::holders::{Step, WatchedGrant};

/// So many records one call to a store's purge looks at. Each takes about a microsecond.
pub(crate) const PURGE_SLICE: usize = 512;
/// The shortest pause between two tries to renew a lease.
const MIN_RETRY: Duration = Duration::from_millis(1);

/// Starts the tasks that run for as long as the engine is there.
///
/// The engine has to be there before: a task that does not find it takes it to be gone, and ends.
pub(crate) fn start(shared: &Arc<Shared>) {
    let (engine, background) = (Arc::downgrade(shared), &shared.background);
    // Counted from here, however late the thread gets to it.
    let first = shared.clock.now().saturating_add(shared.settings.purge_every);
    background.purger.spawner().spawn(purge_now_and_then(engine.clone(), first));
    background.leases.spawner().spawn(look_after(engine.clone()));
    background.readers.spawner().spawn(serve(engine));
}

/// Gives a lease up at the store, in the background.
pub(crate) fn give_up(engine: &Arc<Handle>, key: Key, lease_id: LeaseId) {
    if let Some((engine, key, lease_id)) = engine.given_up.add((Arc::clone(engine), key, lease_id)) {
        let leases = engine.background.leases.spawner();
        leases.spawn(give_up_all(engine, key, lease_id));
    }
}

async fn give_up_all(engine: Arc<Handle>, key: Key, lease_id: LeaseId) {
    let mut next = Some((Arc::clone(&engine), key, lease_id));
    while let Some((engine, key, lease_id)) = next {
        give_up_one(&engine, &key, lease_id).await;
        next = engine.given_up.next();
        // A store that answers at once would otherwise keep the renewals waiting.
        future::yield_now().await;
    }
}

/// Nothing is guessed: the lease ends by the time that comes with the record. The store's `now` may be ahead, and the lease
/// would live on until then.
async fn give_up_one(engine: &Handle, key: &Key, lease_id: LeaseId) {
    let outcome = engine.run(key, Command::Holder(lease_id, HolderCommand::Abandon)).await;
    if let Err(Error::Store(error)) = outcome {
        tracing::warn!(%key, %error, "a dropped lease could not be given up; it will lapse with its ttl");
    }
}

/// Drops records whose retention has ended, slice by slice.
async fn purge_now_and_then(engine: Weak<Shared>, mut next: Timestamp) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let sleep = shared.background.purger.sleep_until(next);
        drop(shared);
        sleep.await;
        while let Some(shared) = engine.upgrade() {
            match shared.store.purge(PURGE_SLICE).await {
                Ok(purged) if purged.more => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "the store could not be purged; it is tried again");
                    break;
                }
            }
            drop(shared);
            future::yield_now().await;
        }
        let Some(shared) = engine.upgrade() else { return };
        next = shared.clock.now().saturating_add(shared.settings.purge_every);
    }
}

/// Renews and checks all watched leases, on the thread for leases.
async fn look_after(engine: Weak<Shared>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let earlier = shared.watches.holders.earlier();
        let (due, planned) = shared.watches.holders.take_due(shared.clock.now());
        let none_due = due.is_empty();
        for (grant, step) in due {
            take(&shared, grant, &step);
        }
        let sleep = planned.map(|at| shared.background.leases.sleep_until(at));
        drop(shared);
        match sleep {
            Some(sleep) if none_due => future::or(earlier, sleep).await,
            // Others on this thread get their turn: renewals under way, and leases that are given up.
            _ => future::yield_now().await,
        }
    }
}

fn take(shared: &Arc<Shared>, grant: Arc<dyn WatchedGrant>, step: &Step) {
    let leases = shared.background.leases.spawner();
    match step {
        Step::Nothing => {}
        Step::End => grant.notify(),
        Step::Renew => leases.spawn(renew(Arc::clone(shared), grant)),
        Step::Check => leases.spawn(check(Arc::clone(shared), grant)),
    }
}

/// Renews a third of the way through, and tries again sooner where the store does not answer.
async fn renew(shared: Arc<Shared>, grant: Arc<dyn WatchedGrant>) {
    let before = shared.clock.now();
    let (key, ttl) = (grant.key(), grant.ttl());
    let pause = match Arc::clone(&grant).renew().await {
        Ok(()) => ttl / 3,
        Err(error @ (Error::Store(_) | Error::ClockOutOfRange)) => {
            tracing::warn!(%key, %error, "a lease could not be renewed; it is tried again");
            (ttl / 12).max(MIN_RETRY)
        }
        Err(error) => {
            tracing::warn!(%key, %error, "a lease is lost");
            ttl
        }
    };
    let check_at = before.saturating_add(shared.settings.poll_every);
    shared.watches.holders.answered(&*grant, check_at, Some(before.saturating_add(pause)));
}

/// Looks at the record, which another process may have changed.
async fn check(shared: Arc<Shared>, grant: Arc<dyn WatchedGrant>) {
    let (holders, key) = (&shared.watches.holders, grant.key());
    let before = shared.clock.now();
    match shared.store.load(key).await {
        Ok(seen) => holders.observe(key, seen.record.as_ref(), seen.now),
        Err(error) => tracing::debug!(%key, %error, "a held lease could not be looked at"),
    }
    holders.answered(&*grant, before.saturating_add(shared.settings.poll_every), None);
}

/// Reads records for those who wait for a key, on the thread for readers.
async fn serve(engine: Weak<Shared>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let earlier = shared.watches.waiting.earlier();
        let planned = shared.watches.waiting.run_due();
        let readers = &shared.background.readers;
        let sleep = planned
            .map(|(at, really_at)| future::or(readers.sleep_until(at), readers.pause_until(really_at)));
        drop(shared);
        match sleep {
            Some(sleep) => future::or(earlier, sleep).await,
            // Others on this thread get their turn.
            None => future::yield_now().await,
        }
    }
}
