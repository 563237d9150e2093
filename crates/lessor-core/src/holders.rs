//! The leases that an engine looks after: it renews those that are kept alive, and notices when one is lost.
//!
//! A lease is watched from [`keep_alive`](crate::Lease::keep_alive) or [`lost`](crate::Lease::lost) on. Its entry has one
//! instant at which it is due next: for renewal, for a look at the record, or because the holder's time is up. All of this runs on
//! a thread of its own, and a store that does not answer holds up neither the other leases nor the end of this one.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use event_listener::Event;
use foldhash::fast::RandomState;
use futures_lite::future;
use parking_lot::Mutex;

use crate::context::Shared;
use crate::error::Error;
use crate::key::Key;
use crate::lease::{Grant, Held};
use crate::presence::Presence;
use crate::record::Record;
use crate::time::Timestamp;

/// So many leases are looked after between two looks at the clock.
const BATCH: usize = 64;
/// The shortest pause between two tries to renew a lease.
const MIN_RETRY: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Holders {
    watched: Presence,
    state: Mutex<State>,
    /// Notified when an entry becomes due earlier than the thread expects.
    earlier: Event,
}

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry, RandomState>,
    by_key: HashMap<Key, Vec<u64>, RandomState>,
    due: BTreeSet<(Timestamp, u64)>,
    count: u64,
    /// When the thread looks next by itself; `None` while it is at work.
    planned: Option<Timestamp>,
}

struct Entry {
    grant: Weak<Grant>,
    due: Timestamp,
    keep: Option<Keep>,
    check_at: Timestamp,
    /// The store has been asked for something, and has not answered yet.
    busy: bool,
    /// Somebody else may have changed the record.
    hinted: bool,
}

#[derive(Clone, Copy)]
struct Keep {
    renew_at: Timestamp,
    until: Timestamp,
}

/// What is due for a lease.
enum Step {
    Nothing,
    /// The lease has ended, or the holder's time is up: it is not watched any more.
    End,
    Renew,
    Check,
}

impl Holders {
    /// Returns whether a lease of `key` may be watched.
    #[inline]
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.watched.may_have(key)
    }

    /// Watches the lease, unless it is watched already. The record is looked at soon: the key may have been taken away while
    /// nobody watched.
    pub(crate) fn watch(&self, grant: &Arc<Grant>) {
        self.enter(grant, Timestamp::EPOCH, None);
    }

    /// Renews the lease, which was granted at `granted_at`, from now on.
    pub(crate) fn keep(&self, grant: &Arc<Grant>, granted_at: Timestamp) {
        let until = granted_at.saturating_add(grant.shared.settings.max_hold);
        let keep = Keep { renew_at: granted_at.saturating_add(grant.ttl / 3), until };
        self.enter(grant, granted_at.saturating_add(grant.shared.settings.poll_every), Some(keep));
    }

    fn enter(&self, grant: &Arc<Grant>, check_at: Timestamp, keep: Option<Keep>) {
        let mut state = self.state.lock();
        let id = match grant.watch_id.load(Ordering::Relaxed) {
            0 => {
                state.count += 1;
                let id = state.count;
                grant.watch_id.store(id, Ordering::Relaxed);
                let due = Timestamp::MAX;
                let entry = Entry {
                    grant: Arc::downgrade(grant),
                    due,
                    keep: None,
                    check_at,
                    busy: false,
                    hinted: false,
                };
                state.entries.insert(id, entry);
                state.by_key.entry(grant.key.clone()).or_default().push(id);
                self.watched.add(&grant.key);
                id
            }
            id => id,
        };
        let Some(entry) = state.entries.get_mut(&id) else { return };
        if entry.keep.is_none() {
            entry.keep = keep;
        }
        let due = entry.next_due(grant);
        self.schedule(&mut state, id, due);
    }

    /// Ends watching and renewing the lease.
    pub(crate) fn leave(&self, grant: &Grant) {
        if grant.watch_id.load(Ordering::Relaxed) != 0 {
            self.remove(&mut self.state.lock(), grant);
        }
    }

    fn remove(&self, state: &mut State, grant: &Grant) {
        let id = grant.watch_id.swap(0, Ordering::Relaxed);
        let Some(entry) = state.entries.remove(&id) else { return };
        state.due.remove(&(entry.due, id));
        if let Some(ids) = state.by_key.get_mut(&grant.key) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                state.by_key.remove(&grant.key);
            }
        }
        self.watched.remove(&grant.key);
    }

    fn schedule(&self, state: &mut State, id: u64, due: Timestamp) {
        let Some(entry) = state.entries.get_mut(&id) else { return };
        let former = std::mem::replace(&mut entry.due, due);
        state.due.remove(&(former, id));
        state.due.insert((due, id));
        if state.planned.is_some_and(|planned| due < planned) {
            state.planned = None;
            self.earlier.notify(1);
        }
    }

    /// Compares the leases of `key` with what is stored under it now.
    pub(crate) fn observe(&self, key: &Key, record: Option<&Record>, now: Timestamp) {
        if self.may_have(key) {
            for grant in self.of_key(key) {
                grant.observe(record, now);
            }
        }
    }

    /// Has the record of `key` looked at soon, if a lease on it is watched.
    pub(crate) fn hint(&self, key: &Key) {
        if self.may_have(key) {
            let mut state = self.state.lock();
            let ids = state.by_key.get(key).cloned().unwrap_or_default();
            ids.into_iter().for_each(|id| self.hint_one(&mut state, id));
        }
    }

    /// Has the records of all watched leases looked at soon.
    pub(crate) fn hint_all(&self) {
        let mut state = self.state.lock();
        let ids: Vec<u64> = state.entries.keys().copied().collect();
        ids.into_iter().for_each(|id| self.hint_one(&mut state, id));
    }

    fn hint_one(&self, state: &mut State, id: u64) {
        if let Some(entry) = state.entries.get_mut(&id) {
            entry.hinted = true;
            if !entry.busy {
                self.schedule(state, id, Timestamp::EPOCH);
            }
        }
    }

    fn of_key(&self, key: &Key) -> Vec<Arc<Grant>> {
        let state = self.state.lock();
        let ids = state.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| state.entries.get(id)?.grant.upgrade()).collect()
    }

    /// The leases that are due, with what is to be done for each; and when the next one is due otherwise.
    fn take_due(&self, now: Timestamp) -> (Vec<(Arc<Grant>, Step)>, Option<Timestamp>) {
        let mut state = self.state.lock();
        let due: Vec<u64> = state.due.range(..=(now, u64::MAX)).take(BATCH).map(|(_, id)| *id).collect();
        let mut taken = Vec::with_capacity(due.len());
        for id in due {
            let Some(entry) = state.entries.get_mut(&id) else { continue };
            let Some(grant) = entry.grant.upgrade() else {
                // The lease is being dropped right now, and leaves by itself.
                self.schedule(&mut state, id, Timestamp::MAX);
                continue;
            };
            let step = entry.step(&grant, now);
            if matches!(step, Step::Renew | Step::Check) {
                entry.busy = true;
                // A hint that comes from here on may be about a change that this step does not see.
                entry.hinted = false;
            }
            let due = entry.next_due(&grant);
            match step {
                Step::End => self.remove(&mut state, &grant),
                _ => self.schedule(&mut state, id, due),
            }
            taken.push((grant, step));
        }
        if taken.is_empty() {
            state.planned = Some(state.due.first().map_or(Timestamp::MAX, |(at, _)| *at));
        }
        (taken, state.planned)
    }

    /// What the store answered: the entry is no longer busy.
    fn answered(&self, grant: &Grant, change: impl FnOnce(&mut Entry)) {
        let mut state = self.state.lock();
        let id = grant.watch_id.load(Ordering::Relaxed);
        let Some(entry) = state.entries.get_mut(&id) else { return };
        entry.busy = false;
        change(entry);
        let due = entry.next_due(grant);
        self.schedule(&mut state, id, due);
    }
}

impl Entry {
    fn step(&self, grant: &Grant, now: Timestamp) -> Step {
        if !grant.is_open() || now >= grant.deadline() {
            return Step::End;
        }
        if self.busy {
            return Step::Nothing;
        }
        match self.keep {
            Some(keep) if now >= keep.renew_at && keep.renew_at < keep.until => Step::Renew,
            _ if self.hinted || now >= self.check_at => Step::Check,
            _ => Step::Nothing,
        }
    }

    /// When the entry has to be looked at next.
    fn next_due(&self, grant: &Grant) -> Timestamp {
        if !grant.is_open() {
            return Timestamp::EPOCH;
        }
        let deadline = grant.deadline();
        if self.busy {
            return deadline;
        }
        if self.hinted {
            return Timestamp::EPOCH;
        }
        let renew_at = self.keep.filter(|keep| keep.renew_at < keep.until).map(|keep| keep.renew_at);
        deadline.min(self.check_at).min(renew_at.unwrap_or(Timestamp::MAX))
    }
}

/// Looks after all watched leases for as long as the engine is there. Runs on the engine's thread for leases.
pub(crate) async fn look_after(engine: Weak<Shared>) {
    loop {
        let Some(shared) = engine.upgrade() else { return };
        let earlier = shared.watches.holders.earlier.listen();
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

fn take(shared: &Shared, grant: Arc<Grant>, step: &Step) {
    let leases = shared.background.leases.spawner();
    match step {
        Step::Nothing => {}
        Step::End => grant.notify(),
        Step::Renew => leases.spawn(renew(grant)),
        Step::Check => leases.spawn(check(grant)),
    }
}

/// Renews a third of the way through, and tries again sooner where the store does not answer.
async fn renew(grant: Arc<Grant>) {
    let before = grant.shared.clock.now();
    let extended = Held(Arc::clone(&grant)).extend(grant.ttl).await;
    let pause = match extended {
        Ok(_) => grant.ttl / 3,
        Err(error @ (Error::Store(_) | Error::ClockOutOfRange)) => {
            tracing::warn!(key = %grant.key, %error, "a lease could not be renewed; it is tried again");
            (grant.ttl / 12).max(MIN_RETRY)
        }
        Err(error) => {
            tracing::warn!(key = %grant.key, %error, "a lease is lost");
            grant.ttl
        }
    };
    let poll_every = grant.shared.settings.poll_every;
    grant.shared.watches.holders.answered(&grant, |entry| {
        entry.check_at = before.saturating_add(poll_every);
        if let Some(keep) = &mut entry.keep {
            keep.renew_at = before.saturating_add(pause);
        }
    });
}

/// Looks at the record, which another process may have changed.
async fn check(grant: Arc<Grant>) {
    let holders = &grant.shared.watches.holders;
    let before = grant.shared.clock.now();
    match grant.shared.store.load(&grant.key).await {
        Ok(seen) => holders.observe(&grant.key, seen.record.as_ref(), seen.now),
        Err(error) => tracing::debug!(key = %grant.key, %error, "a held lease could not be looked at"),
    }
    let poll_every = grant.shared.settings.poll_every;
    holders.answered(&grant, |entry| entry.check_at = before.saturating_add(poll_every));
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holders").field("watched", &self.watched.count()).finish_non_exhaustive()
    }
}
