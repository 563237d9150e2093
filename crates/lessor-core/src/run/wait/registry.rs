//! The registry of waiters: one entry per key that has waiters.
//!
//! No waiter is answered with data from before it registered. Readings of a record are numbered
//! when they *begin*. A waiter accepts only readings with a higher number than the last one that
//! had begun when it registered. A write through this engine is not an answer; it causes another
//! reading.
//!
//! A key that is free and has no outcome is *offered* to one contender at a time. A contender that
//! does not take the offer, or does not finish its attempt to acquire the key, within [`OFFER`]
//! loses it to the next.
//!
//! This file has the synchronisation between waiters, readers and writers. It knows neither stores
//! nor leases, so that the package `lessor-models` can check all interleavings of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use crate::sync::presence::Presence;
use crate::sync::primitives::{Arc, Mutex, Ordering, fence};

/// The duration of an offer, in microseconds of real time.
pub(crate) const OFFER: u64 = 20_000;
/// The number of consecutive failed readings after which waiters receive the error.
const FAILURES: u32 = 3;

/// The state of a key, as far as it matters to waiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// The key has a live lease.
    Held,
    /// The key has an outcome.
    Finished,
    /// The key has neither a live lease nor an outcome.
    Free,
}

/// The conclusion that a waiter draws from a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep<T> {
    /// The wait ends.
    Answer(T),
    /// The wait goes on.
    Wait,
    /// The key can be acquired.
    Try,
}

/// The result of [`Watched::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked<T> {
    Answer(T),
    /// The key is offered to this waiter, which may try to acquire it.
    MayTry,
    Nothing,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The end of the current lease, to acquire the key.
    Acquire,
    /// The end of the current lease.
    End,
    /// Any change. The waiter judges every reading, also of a key that is held.
    Change,
}

/// The number of a waiter within its entry. Numbers rise and are not reused.
pub(crate) type Ticket = u64;
/// The number of the first waiter of an entry. An entry without waiters is removed, so no other
/// waiter of its key was registered when this one was.
pub(crate) const FIRST_TICKET: Ticket = 1;

type Entry<K, R, W> = Arc<Watched<K, R, W>>;

/// The keys that have waiters. `R` is the type of a reading, `W` that of a waker.
pub(crate) struct Registry<K, R, W> {
    watched: Presence,
    entries: Mutex<HashMap<K, Entry<K, R, W>>>,
}

/// The entry of a key that has waiters.
pub(crate) struct Watched<K, R, W> {
    pub(crate) key: K,
    /// The time of the next scheduled reading. Only the agenda uses it.
    pub(crate) read_at: AtomicU64,
    state: Mutex<State<R, W>>,
}

struct State<R, W> {
    /// In the order of their tickets. Waiters that have left are removed when they are the
    /// majority.
    waiters: Vec<Waiter<W>>,
    left: usize,
    tickets: Ticket,
    /// The number of readings that have begun.
    begun: u64,
    in_flight: bool,
    /// True if another reading was requested after the one in flight began.
    again: bool,
    failures: u32,
    latest: Option<Latest<R>>,
    offer: Option<Offer>,
}

struct Waiter<W> {
    ticket: Ticket,
    has_left: bool,
    purpose: Purpose,
    /// The waiter accepts only readings with a higher number.
    since: u64,
    waker: Option<W>,
}

struct Latest<R> {
    number: u64,
    availability: Availability,
    reading: R,
}

#[derive(Clone, Copy)]
struct Offer {
    to: Ticket,
    until: u64,
}

/// The consequences of a change of an entry, which the caller carries out without holding its lock.
#[must_use = "waiters are not woken until the effects are carried out"]
pub(crate) struct Effects<W> {
    /// The waiters to wake.
    pub(crate) wake: Vec<W>,
    /// True if the caller has to begin a reading.
    pub(crate) read: bool,
    /// The time at which [`Watched::pass_on`] has to be called.
    pub(crate) pass_on_at: Option<u64>,
    /// True if the key has no waiters any more.
    pub(crate) ended: bool,
}

impl<W> Effects<W> {
    fn none() -> Self {
        Self { wake: Vec::new(), read: false, pass_on_at: None, ended: false }
    }
}

impl<K, R, W> Default for Registry<K, R, W> {
    fn default() -> Self {
        Self { watched: Presence::default(), entries: Mutex::new(HashMap::new()) }
    }
}

impl<K: Hash + Eq + Clone, R, W> Registry<K, R, W> {
    /// Returns the number of keys that have waiters.
    pub(crate) fn watched(&self) -> usize {
        self.watched.count()
    }

    /// Returns whether `key` may have waiters.
    #[inline]
    pub(crate) fn may_have(&self, key: &K) -> bool {
        self.watched.may_have(key)
    }

    /// Returns the entry of a key that was just written, if the key has waiters. Usually takes no
    /// lock otherwise.
    #[inline]
    pub(crate) fn find_after_write(&self, key: &K) -> Option<Entry<K, R, W>> {
        // The writer writes before it checks for waiters. A waiter registers before its first
        // reading begins. With the two fences, either this check sees the waiter or that reading
        // sees the write.
        fence(Ordering::SeqCst);
        if self.may_have(key) { self.find(key) } else { None }
    }

    /// Returns the entry of a key, if the key has waiters.
    pub(crate) fn find(&self, key: &K) -> Option<Entry<K, R, W>> {
        self.entries.lock().get(key).map(Arc::clone)
    }

    /// Returns all entries.
    pub(crate) fn all(&self) -> Vec<Entry<K, R, W>> {
        self.entries.lock().values().map(Arc::clone).collect()
    }

    /// Registers a waiter, which accepts readings that begin after this call. The caller has to
    /// request one.
    pub(crate) fn join(&self, key: &K, purpose: Purpose) -> (Entry<K, R, W>, Ticket) {
        let mut entries = self.entries.lock();
        let watched = match entries.get(key) {
            Some(watched) => Arc::clone(watched),
            None => {
                let watched = Arc::new(Watched::new(key.clone()));
                entries.insert(key.clone(), Arc::clone(&watched));
                self.watched.add(key);
                watched
            }
        };
        // The lock of all entries is still held, so the entry cannot be removed in between.
        let ticket = watched.state.lock().join(purpose);
        drop(entries);
        fence(Ordering::SeqCst);
        (watched, ticket)
    }

    /// Removes a waiter, and with the last waiter also the entry. If the key was offered to the
    /// waiter, the record is read again, so that the next contender may try.
    pub(crate) fn leave(&self, watched: &Entry<K, R, W>, ticket: Ticket) -> Effects<W> {
        let mut entries = self.entries.lock();
        let mut state = watched.state.lock();
        let (waker, had_offer) = state.leave(ticket);
        let mut effects = Effects::none();
        effects.ended = state.is_empty();
        let entry = if effects.ended {
            self.watched.remove(&watched.key);
            entries.remove(&watched.key)
        } else {
            effects.read = had_offer && state.request_reading();
            None
        };
        drop(state);
        drop(entries);
        // Dropped outside of the locks, because the destructor of a waker is a caller's code.
        drop((waker, entry));
        effects
    }
}

impl<K, R, W> Watched<K, R, W> {
    fn new(key: K) -> Self {
        let state = State {
            waiters: Vec::with_capacity(1),
            left: 0,
            tickets: FIRST_TICKET - 1,
            begun: 0,
            in_flight: false,
            again: false,
            failures: 0,
            latest: None,
            offer: None,
        };
        Self { key, read_at: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Requests a reading that begins after this call. Returns whether the caller has to begin it.
    /// If not, one is in flight, and another follows after it.
    pub(crate) fn request_reading(&self) -> bool {
        self.state.lock().request_reading()
    }

    /// Publishes the result of the reading in flight: the availability of the key with the reading,
    /// or a failure. Waiters receive a failure only after [`FAILURES`] consecutive ones.
    pub(crate) fn publish(&self, result: Result<(Availability, R), R>, now: u64) -> Effects<W> {
        let mut state = self.state.lock();
        state.failures = if result.is_ok() { 0 } else { state.failures.saturating_add(1) };
        let published = match result {
            Ok(published) => Some(published),
            // A failure ends the wait of all waiters, as an outcome does.
            Err(failure) => (state.failures >= FAILURES).then_some((Availability::Finished, failure)),
        };
        let mut effects = match published {
            Some((availability, reading)) => state.set_latest(availability, reading, now),
            None => Effects::none(),
        };
        state.in_flight = false;
        if std::mem::take(&mut state.again) {
            effects.read = state.request_reading();
        }
        effects
    }

    /// Withdraws an offer that has expired, and offers the key to the next contender.
    pub(crate) fn pass_on(&self, now: u64) -> Effects<W> {
        self.state.lock().pass_on(now)
    }

    /// Applies `judge` to the latest reading on behalf of a waiter. Registers `waker` if the result
    /// is [`Checked::Nothing`].
    pub(crate) fn check<T>(
        &self,
        ticket: Ticket,
        now: u64,
        waker: W,
        judge: impl FnOnce(&R) -> NextStep<T>,
    ) -> (Checked<T>, Effects<W>) {
        let mut state = self.state.lock();
        let mut effects = Effects::none();
        let next = match state.reading_for(ticket) {
            Some(reading) => judge(reading),
            None => NextStep::Wait,
        };
        let checked = match next {
            NextStep::Answer(answer) => Checked::Answer(answer),
            NextStep::Try if state.take_offer(ticket, now) => {
                effects.pass_on_at = Some(now + OFFER);
                Checked::MayTry
            }
            NextStep::Try | NextStep::Wait => Checked::Nothing,
        };
        let unused = match (&checked, state.waiter(ticket)) {
            (Checked::Nothing, Some(waiter)) => waiter.waker.replace(waker),
            _ => Some(waker),
        };
        drop(state);
        drop(unused);
        (checked, effects)
    }

    /// Returns whether a waiter judges every reading, also of a key that is held.
    pub(crate) fn is_observed(&self) -> bool {
        self.state.lock().waiters.iter().any(|waiter| waiter.purpose == Purpose::Change && !waiter.has_left)
    }

    /// Continues the wait of a waiter that could not acquire the key. Readings that began earlier
    /// are ignored. Returns whether the caller has to begin a reading.
    pub(crate) fn attempt_failed(&self, ticket: Ticket) -> bool {
        let mut state = self.state.lock();
        if state.offer.is_some_and(|offer| offer.to == ticket) {
            state.offer = None;
        }
        let begun = state.begun;
        if let Some(waiter) = state.waiter(ticket) {
            waiter.since = begun;
        }
        state.request_reading()
    }

    /// Returns whether the key has no waiters any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.lock().is_empty()
    }

    /// Passes the latest reading to `f`, if the waiter accepts it.
    pub(crate) fn latest<T>(&self, ticket: Ticket, f: impl FnOnce(&R) -> T) -> Option<T> {
        self.state.lock().reading_for(ticket).map(f)
    }
}

impl<R, W> State<R, W> {
    fn join(&mut self, purpose: Purpose) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        let since = self.begun;
        self.waiters.push(Waiter { ticket, has_left: false, purpose, since, waker: None });
        ticket
    }

    /// Returns the waiter's waker, and whether the key was offered to the waiter.
    fn leave(&mut self, ticket: Ticket) -> (Option<W>, bool) {
        let Some(waiter) = self.waiter(ticket) else { return (None, false) };
        waiter.has_left = true;
        let waker = waiter.waker.take();
        self.left += 1;
        if self.left > self.waiters.len() / 2 {
            self.waiters.retain(|waiter| !waiter.has_left);
            self.left = 0;
        }
        let had_offer = self.offer.is_some_and(|offer| offer.to == ticket);
        if had_offer {
            self.offer = None;
            // The waiter may have used the offer, so the latest reading may be outdated.
            self.latest = None;
        }
        (waker, had_offer)
    }

    fn is_empty(&self) -> bool {
        self.left == self.waiters.len()
    }

    fn waiter(&mut self, ticket: Ticket) -> Option<&mut Waiter<W>> {
        let at = self.waiters.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()?;
        self.waiters.get_mut(at).filter(|waiter| !waiter.has_left)
    }

    fn request_reading(&mut self) -> bool {
        if self.in_flight {
            self.again = true;
            return false;
        }
        self.in_flight = true;
        self.begun += 1;
        true
    }

    fn reading_for(&mut self, ticket: Ticket) -> Option<&R> {
        let since = self.waiter(ticket)?.since;
        self.latest.as_ref().filter(|latest| latest.number > since).map(|latest| &latest.reading)
    }

    fn set_latest(&mut self, availability: Availability, reading: R, now: u64) -> Effects<W> {
        let number = self.begun;
        self.latest = Some(Latest { number, availability, reading });
        let mut effects = Effects::none();
        match availability {
            Availability::Held => {
                self.offer = None;
                let answered = self
                    .waiters
                    .iter_mut()
                    .filter(|waiter| waiter.since < number && waiter.purpose == Purpose::Change);
                effects.wake = answered.filter_map(|waiter| waiter.waker.take()).collect();
            }
            Availability::Finished => {
                self.offer = None;
                let answered = self.waiters.iter_mut().filter(|waiter| waiter.since < number);
                effects.wake = answered.filter_map(|waiter| waiter.waker.take()).collect();
            }
            Availability::Free => {
                let answered = self
                    .waiters
                    .iter_mut()
                    .filter(|waiter| waiter.since < number && waiter.purpose != Purpose::Acquire);
                effects.wake = answered.filter_map(|waiter| waiter.waker.take()).collect();
                if self.offer.is_none_or(|offer| offer.until <= now) {
                    let next = self.pass_on(now);
                    effects.wake.extend(next.wake);
                    effects.pass_on_at = next.pass_on_at;
                }
            }
        }
        effects
    }

    /// Offers the key to the next sleeping contender, in the order of tickets after the one that
    /// had the last offer.
    fn pass_on(&mut self, now: u64) -> Effects<W> {
        let mut effects = Effects::none();
        let previous = match self.offer {
            Some(offer) if offer.until > now => {
                effects.pass_on_at = Some(offer.until);
                return effects;
            }
            expired => expired.map_or(0, |offer| offer.to),
        };
        // If no contender sleeps, the next one that checks may try.
        self.offer = None;
        let Some(latest) = self.latest.as_ref().filter(|latest| latest.availability != Availability::Held)
        else {
            return effects;
        };
        let number = latest.number;
        let may_try = |waiter: &&mut Waiter<W>| {
            waiter.purpose == Purpose::Acquire
                && !waiter.has_left
                && waiter.since < number
                && waiter.waker.is_some()
        };
        let (before, behind) = {
            let at = self.waiters.partition_point(|waiter| waiter.ticket <= previous);
            self.waiters.split_at_mut(at)
        };
        let next = behind.iter_mut().find(may_try).or_else(|| before.iter_mut().find(may_try));
        if let Some(waiter) = next {
            effects.wake.extend(waiter.waker.take());
            self.offer = Some(Offer { to: waiter.ticket, until: now + OFFER });
            effects.pass_on_at = Some(now + OFFER);
        }
        effects
    }

    /// Offers the key to the waiter, and returns true, unless another waiter has an offer that has
    /// not expired.
    fn take_offer(&mut self, ticket: Ticket, now: u64) -> bool {
        if self.offer.is_some_and(|offer| offer.to != ticket && offer.until > now) {
            return false;
        }
        self.offer = Some(Offer { to: ticket, until: now + OFFER });
        true
    }
}
