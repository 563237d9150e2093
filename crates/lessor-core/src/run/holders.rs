//! The watched leases of an engine: it renews those that are kept alive, and detects when one is
//! lost.
//!
//! [`keep_alive`](crate::Lease::keep_alive) and [`lost`](crate::Lease::lost) start watching a
//! lease. Its entry has one instant at which it is due next: for a renewal, for a check of the
//! record, or because the holder's time is over. A separate thread carries out the steps. If the
//! store does not answer for one lease, the other leases and the deadline of this one are not
//! delayed.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use event_listener::{Event, EventListener};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::rules::settings::Settings;
use crate::run::observer::event::Event as Observed;
use crate::sync::pending::Pending;
use crate::sync::presence::Presence;

/// The maximum number of leases handled between two readings of the clock.
const BATCH: usize = 64;

/// The grant of a lease that is watched.
pub(crate) trait WatchedGrant: Send + Sync + 'static {
    fn key(&self) -> &Key;
    fn ttl(&self) -> Duration;
    /// Returns the number of the lease among the watched ones, or 0 if it is not watched.
    fn watch_id(&self) -> &AtomicU64;
    /// Returns whether the lease has no outcome yet and has not been lost.
    fn is_open(&self) -> bool;
    /// Returns the time at which the holder has to stop.
    fn deadline(&self) -> Timestamp;
    /// Returns the time of the last progress of the work. The epoch if there was none.
    fn progressed_at(&self) -> Timestamp;
    /// Compares the grant with the record that was stored under its key at `now`.
    fn observe(&self, record: Option<&Record>, now: Timestamp);
    /// Wakes the futures that wait for the lease to be lost.
    fn notify(&self);
    /// Counts and reports an event of the lease.
    fn record(&self, event: &Observed<'_>);
    /// Extends the lease by its ttl.
    fn renew(self: Arc<Self>) -> Pending<Result<(), Error>>;
}

/// The watched leases of an engine. See the module.
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
    /// The time until which the thread sleeps. `None` while it is running.
    planned: Option<Timestamp>,
}

struct Entry {
    grant: Weak<dyn WatchedGrant>,
    due: Timestamp,
    renewal: Option<Renewal>,
    check_at: Timestamp,
    /// True if a request to the store is in progress.
    busy: bool,
    /// True if another party may have changed the record.
    hinted: bool,
}

#[derive(Clone, Copy)]
struct Renewal {
    renew_at: Timestamp,
    until: Timestamp,
    progress: Option<Progress>,
}

/// Lets a renewal depend on the progress of the work.
#[derive(Clone, Copy)]
struct Progress {
    /// The time for which the lease is renewed without progress.
    stall_after: Duration,
    /// Counts as progress.
    granted_at: Timestamp,
    /// True if the last renewal was omitted.
    stalled: bool,
}

/// The work that is due for a lease.
pub(crate) enum Step {
    Nothing,
    /// The lease has ended, or the holder's time is over. The lease is no longer watched.
    End,
    Renew,
    Check,
    /// The lease is not renewed, because its work has stopped making progress.
    Stall,
}

/// The pause before another look at work that makes no progress. Shrinks before the end of the
/// lease, so that late progress is seen too.
fn stall_pause(ttl: Duration, left: Duration) -> Duration {
    (ttl / 12).min(left / 2).max(Duration::from_millis(1))
}

/// A lease that is due, and its work.
pub(crate) type DueLease = (Arc<dyn WatchedGrant>, Step);

impl Holders {
    /// Returns whether a lease of `key` may be watched.
    #[inline]
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.watched.may_have(key)
    }

    /// Returns the number of watched leases.
    pub(crate) fn count(&self) -> usize {
        self.watched.count()
    }

    /// Watches the lease, unless it is watched already. The record is checked soon, because the
    /// lease may have been lost before it was watched.
    pub(crate) fn watch(&self, grant: &Arc<impl WatchedGrant>) {
        self.insert(grant, Timestamp::EPOCH, None);
    }

    /// Renews the lease, which was granted at `granted_at`, from now on. With `stall_after`, only
    /// while the work progresses.
    pub(crate) fn keep_alive(
        &self,
        grant: &Arc<impl WatchedGrant>,
        granted_at: Timestamp,
        settings: &Settings,
        stall_after: Option<Duration>,
    ) {
        let until = granted_at.saturating_add(settings.limits.max_hold);
        let progress = stall_after.map(|stall_after| Progress { stall_after, granted_at, stalled: false });
        let renewal = Renewal { renew_at: granted_at.saturating_add(grant.ttl() / 3), until, progress };
        self.insert(grant, granted_at.saturating_add(settings.schedule.poll_every), Some(renewal));
    }

    /// Adds the lease if it is not watched yet. With `renewal`, also renews it from now on. The
    /// time of the next renewal does not change if it is renewed already.
    fn insert<G: WatchedGrant>(&self, grant: &Arc<G>, check_at: Timestamp, renewal: Option<Renewal>) {
        let mut state = self.state.lock();
        let id = match grant.watch_id().load(Ordering::Relaxed) {
            0 => {
                state.count += 1;
                let id = state.count;
                grant.watch_id().store(id, Ordering::Relaxed);
                let due = Timestamp::MAX;
                let weak: Weak<G> = Arc::downgrade(grant);
                let entry = Entry { grant: weak, due, renewal: None, check_at, busy: false, hinted: false };
                state.entries.insert(id, entry);
                state.by_key.entry(grant.key().clone()).or_default().push(id);
                self.watched.add(grant.key());
                id
            }
            id => id,
        };
        let Some(entry) = state.entries.get_mut(&id) else { return };
        if let Some(mut renewal) = renewal {
            if let Some(known) = entry.renewal {
                renewal.renew_at = known.renew_at;
            }
            entry.renewal = Some(renewal);
        }
        let due = entry.next_due(&**grant);
        self.schedule(&mut state, id, due);
    }

    /// Stops watching and renewing the lease.
    #[inline]
    pub(crate) fn unwatch(&self, grant: &impl WatchedGrant) {
        if grant.watch_id().load(Ordering::Relaxed) != 0 {
            self.remove(&mut self.state.lock(), grant);
        }
    }

    fn remove(&self, state: &mut State, grant: &dyn WatchedGrant) {
        let id = grant.watch_id().swap(0, Ordering::Relaxed);
        let Some(entry) = state.entries.remove(&id) else { return };
        state.due.remove(&(entry.due, id));
        if let Some(ids) = state.by_key.get_mut(grant.key()) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                state.by_key.remove(grant.key());
            }
        }
        self.watched.remove(grant.key());
    }

    fn schedule(&self, state: &mut State, id: u64, due: Timestamp) {
        let Some(entry) = state.entries.get_mut(&id) else { return };
        let previous = std::mem::replace(&mut entry.due, due);
        state.due.remove(&(previous, id));
        state.due.insert((due, id));
        if state.planned.is_some_and(|planned| due < planned) {
            state.planned = None;
            self.earlier.notify(1);
        }
    }

    /// Compares the watched leases of `key` with the record that was stored under it at `now`.
    pub(crate) fn observe(&self, key: &Key, record: Option<&Record>, now: Timestamp) {
        if self.may_have(key) {
            for grant in self.of_key(key) {
                grant.observe(record, now);
            }
        }
    }

    /// Schedules a check of the record of `key`, if a lease of it is watched.
    pub(crate) fn hint(&self, key: &Key) {
        if self.may_have(key) {
            let mut state = self.state.lock();
            let ids = state.by_key.get(key).cloned().unwrap_or_default();
            ids.into_iter().for_each(|id| self.hint_one(&mut state, id));
        }
    }

    /// Schedules a check of the records of all watched leases.
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

    fn of_key(&self, key: &Key) -> Vec<Arc<dyn WatchedGrant>> {
        let state = self.state.lock();
        let ids = state.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| state.entries.get(id)?.grant.upgrade()).collect()
    }

    /// Returns a listener that is notified when a lease becomes due earlier than planned.
    pub(crate) fn earlier(&self) -> EventListener {
        self.earlier.listen()
    }

    /// Returns the leases that are due, each with its work. If none is due, also returns the time
    /// at which the next one will be.
    pub(crate) fn take_due(&self, now: Timestamp) -> (Vec<DueLease>, Option<Timestamp>) {
        let mut state = self.state.lock();
        let due: Vec<u64> = state.due.range(..=(now, u64::MAX)).take(BATCH).map(|(_, id)| *id).collect();
        let mut taken = Vec::with_capacity(due.len());
        for id in due {
            let Some(entry) = state.entries.get_mut(&id) else { continue };
            let Some(grant) = entry.grant.upgrade() else {
                // The lease is being dropped, which removes its entry.
                self.schedule(&mut state, id, Timestamp::MAX);
                continue;
            };
            let step = entry.step(&*grant, now);
            if matches!(step, Step::Renew | Step::Check) {
                entry.busy = true;
                // A hint that arrives after this may concern a change that this step does not see.
                entry.hinted = false;
            }
            let due = entry.next_due(&*grant);
            match step {
                Step::End => self.remove(&mut state, &*grant),
                _ => self.schedule(&mut state, id, due),
            }
            taken.push((grant, step));
        }
        if taken.is_empty() {
            state.planned = Some(state.due.first().map_or(Timestamp::MAX, |(at, _)| *at));
        }
        (taken, state.planned)
    }

    /// Ends the step of a lease. The record is checked again at `check_at`. If `renew_at` is given,
    /// the lease is renewed again at that time.
    pub(crate) fn finish_step(
        &self,
        grant: &dyn WatchedGrant,
        check_at: Timestamp,
        renew_at: Option<Timestamp>,
    ) {
        let mut state = self.state.lock();
        let id = grant.watch_id().load(Ordering::Relaxed);
        let Some(entry) = state.entries.get_mut(&id) else { return };
        entry.busy = false;
        entry.check_at = check_at;
        if let (Some(renewal), Some(renew_at)) = (&mut entry.renewal, renew_at) {
            renewal.renew_at = renew_at;
        }
        let due = entry.next_due(grant);
        self.schedule(&mut state, id, due);
    }
}

impl Entry {
    fn step(&mut self, grant: &dyn WatchedGrant, now: Timestamp) -> Step {
        if !grant.is_open() || now >= grant.deadline() {
            return Step::End;
        }
        if self.busy {
            return Step::Nothing;
        }
        match &mut self.renewal {
            Some(renewal) if now >= renewal.renew_at && renewal.renew_at < renewal.until => {
                renewal.step(grant, now)
            }
            _ if self.hinted || now >= self.check_at => Step::Check,
            _ => Step::Nothing,
        }
    }

    /// Returns the time at which the entry is due next.
    fn next_due(&self, grant: &dyn WatchedGrant) -> Timestamp {
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
        let renewal = self.renewal.filter(|renewal| renewal.renew_at < renewal.until);
        deadline.min(self.check_at).min(renewal.map_or(Timestamp::MAX, |renewal| renewal.renew_at))
    }
}

impl Renewal {
    /// Returns the step of a renewal that is due.
    fn step(&mut self, grant: &dyn WatchedGrant, now: Timestamp) -> Step {
        let Some(progress) = &mut self.progress else { return Step::Renew };
        let since = grant.progressed_at().max(progress.granted_at);
        if now.saturating_since(since) <= progress.stall_after {
            progress.stalled = false;
            return Step::Renew;
        }
        self.renew_at = now.saturating_add(stall_pause(grant.ttl(), grant.deadline().saturating_since(now)));
        match std::mem::replace(&mut progress.stalled, true) {
            true => Step::Nothing,
            false => Step::Stall,
        }
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holders").field("watched", &self.watched.count()).finish_non_exhaustive()
    }
}
