//! Where those who wait for a key register: one entry per key that is waited for.
//!
//! Nobody is answered from what was seen before they came. Each reading of a record has a number, counted from when the
//! reading *begins*; a waiter accepts only readings with a higher number than the last one that had begun when it came. A write
//! is no answer but a reason to read again.
//!
//! A key that is free without an outcome is *offered* to one contender at a time. One that does not take the offer, or is not
//! done with its try, within [`OFFER`] loses it to the next.
//!
//! This file is all of the hand-made synchronisation between waiters, readers and writers. It knows neither stores nor leases,
//! so that the package `models` can check every interleaving of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use crate::sync::presence::Presence;
use crate::sync::primitives::{Arc, Mutex, Ordering, fence};

/// How long an offer lasts, in microseconds of real time.
pub(crate) const OFFER: u64 = 20_000;
/// A waiter is given an error only after so many readings in a row have failed.
const FAILURES: u32 = 3;

/// What a reading means to those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Somebody holds the key.
    Held,
    /// There is an outcome.
    Finished,
    /// Nobody holds the key, and there is no outcome.
    Free,
}

/// What a waiter makes of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep<T> {
    Answer(T),
    /// Nothing follows from it.
    Wait,
    /// The key may be acquired.
    Try,
}

/// What a waiter's look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked<T> {
    Answer(T),
    /// It is this waiter's turn to try for the key.
    Turn,
    Nothing,
}

/// A waiter's number within its entry; they grow.
pub(crate) type Ticket = u64;

type Entry<K, R, W> = Arc<Watched<K, R, W>>;

/// All keys that are waited for. `R` is a reading, `W` what wakes a waiter.
pub(crate) struct Registry<K, R, W> {
    watched: Presence,
    entries: Mutex<HashMap<K, Entry<K, R, W>>>,
}

/// One key that is waited for.
pub(crate) struct Watched<K, R, W> {
    pub(crate) key: K,
    /// When the reading thread looks at the key next. For its own use.
    pub(crate) read_at: AtomicU64,
    state: Mutex<State<R, W>>,
}

struct State<R, W> {
    /// In the order of their tickets. Those who have left are removed once they are the greater part.
    waiters: Vec<Waiter<W>>,
    left: usize,
    tickets: Ticket,
    /// How many readings have begun.
    begun: u64,
    in_flight: bool,
    /// Somebody came, or something was written, after the reading in flight began.
    again: bool,
    failures: u32,
    latest: Option<Latest<R>>,
    offer: Option<Offer>,
}

struct Waiter<W> {
    ticket: Ticket,
    has_left: bool,
    contends: bool,
    /// Only readings that began after this one count.
    since: u64,
    waker: Option<W>,
}

struct Latest<R> {
    number: u64,
    meaning: Meaning,
    reading: R,
}

#[derive(Clone, Copy)]
struct Offer {
    to: Ticket,
    until: u64,
}

/// What follows from a change of an entry, to be done outside of its lock.
#[must_use = "waiters sleep on if nobody does what follows"]
pub(crate) struct Follows<W> {
    /// Who has to be woken.
    pub(crate) wake: Vec<W>,
    /// A reading has to begin now.
    pub(crate) read: bool,
    /// When [`Watched::pass_on`] has to be called.
    pub(crate) pass_on_at: Option<u64>,
    /// Nobody waits for the key any more.
    pub(crate) ended: bool,
}

impl<W> Follows<W> {
    fn nothing() -> Self {
        Self { wake: Vec::new(), read: false, pass_on_at: None, ended: false }
    }
}

impl<K, R, W> Default for Registry<K, R, W> {
    fn default() -> Self {
        Self { watched: Presence::default(), entries: Mutex::new(HashMap::new()) }
    }
}

impl<K: Hash + Eq + Clone, R, W> Registry<K, R, W> {
    /// How many keys are waited for.
    pub(crate) fn watched(&self) -> usize {
        self.watched.count()
    }

    /// Returns whether a caller may wait for `key`.
    #[inline]
    pub(crate) fn may_have(&self, key: &K) -> bool {
        self.watched.may_have(key)
    }

    /// The entry of a key that was just written, if anybody waits for it. Takes no lock where nobody does, as a rule.
    #[inline]
    pub(crate) fn written(&self, key: &K) -> Option<Entry<K, R, W>> {
        // The write comes before this look, and a waiter registers before its first reading begins. With the two
        // fences, either this sees the waiter or that reading sees the write.
        fence(Ordering::SeqCst);
        if self.may_have(key) { self.find(key) } else { None }
    }

    /// The entry of a key, if anybody waits for it.
    pub(crate) fn find(&self, key: &K) -> Option<Entry<K, R, W>> {
        self.entries.lock().get(key).map(Arc::clone)
    }

    /// All entries.
    pub(crate) fn all(&self) -> Vec<Entry<K, R, W>> {
        self.entries.lock().values().map(Arc::clone).collect()
    }

    /// Registers a waiter. A reading that begins from now on answers it: the caller asks for one.
    pub(crate) fn join(&self, key: &K, contends: bool) -> (Entry<K, R, W>, Ticket) {
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
        // Under the lock of all entries, so that the entry is not removed in between.
        let ticket = watched.state.lock().join(contends);
        drop(entries);
        fence(Ordering::SeqCst);
        (watched, ticket)
    }

    /// Removes a waiter, and the entry with the last one. A waiter that leaves with an offer has the key read again, which
    /// lets the next one try.
    pub(crate) fn leave(&self, watched: &Entry<K, R, W>, ticket: Ticket) -> Follows<W> {
        let mut entries = self.entries.lock();
        let mut state = watched.state.lock();
        let (waker, had_offer) = state.leave(ticket);
        let mut follows = Follows::nothing();
        follows.ended = state.is_empty();
        let entry = if follows.ended {
            self.watched.remove(&watched.key);
            entries.remove(&watched.key)
        } else {
            follows.read = had_offer && state.ask();
            None
        };
        drop(state);
        drop(entries);
        // Outside of the locks: what is dropped may be a caller's.
        drop((waker, entry));
        follows
    }
}

impl<K, R, W> Watched<K, R, W> {
    fn new(key: K) -> Self {
        let state = State {
            waiters: Vec::with_capacity(1),
            left: 0,
            tickets: 0,
            begun: 0,
            in_flight: false,
            again: false,
            failures: 0,
            latest: None,
            offer: None,
        };
        Self { key, read_at: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Asks for a reading that begins from now on. True if the caller has to begin it; else one is in flight, after which another
    /// one follows.
    pub(crate) fn ask(&self) -> bool {
        self.state.lock().ask()
    }

    /// Takes in the reading that was in flight, or its failure. Waiters are given a failure once too many came in a row.
    pub(crate) fn publish(&self, reading: Result<(Meaning, R), R>, now: u64) -> Follows<W> {
        let mut state = self.state.lock();
        state.failures = if reading.is_ok() { 0 } else { state.failures.saturating_add(1) };
        let kept = match reading {
            Ok(kept) => Some(kept),
            // A failure is an answer for all who wait, as an outcome is.
            Err(failure) => (state.failures >= FAILURES).then_some((Meaning::Finished, failure)),
        };
        let mut follows = match kept {
            Some((meaning, reading)) => state.keep(meaning, reading, now),
            None => Follows::nothing(),
        };
        state.in_flight = false;
        if std::mem::take(&mut state.again) {
            follows.read = state.ask();
        }
        follows
    }

    /// Takes an offer that has run out from its waiter, and gives it to the next.
    pub(crate) fn pass_on(&self, now: u64) -> Follows<W> {
        self.state.lock().pass_on(now)
    }

    /// Looks at the latest reading on behalf of a waiter; registers `waker` if nothing comes of it.
    pub(crate) fn look<T>(
        &self,
        ticket: Ticket,
        now: u64,
        waker: W,
        judge: impl FnOnce(&R) -> NextStep<T>,
    ) -> (Looked<T>, Follows<W>) {
        let mut state = self.state.lock();
        let mut follows = Follows::nothing();
        let judged = match state.reading_for(ticket) {
            Some(reading) => judge(reading),
            None => NextStep::Wait,
        };
        let looked = match judged {
            NextStep::Answer(answer) => Looked::Answer(answer),
            NextStep::Try if state.take_offer(ticket, now) => {
                follows.pass_on_at = Some(now + OFFER);
                Looked::Turn
            }
            NextStep::Try | NextStep::Wait => Looked::Nothing,
        };
        let former = match (&looked, state.waiter(ticket)) {
            (Looked::Nothing, Some(waiter)) => waiter.waker.replace(waker),
            _ => Some(waker),
        };
        drop(state);
        drop(former);
        (looked, follows)
    }

    /// The waiter's try was in vain: from now on it waits for a reading that begins after this. True if the caller has
    /// to begin one.
    pub(crate) fn tried(&self, ticket: Ticket) -> bool {
        let mut state = self.state.lock();
        if state.offer.is_some_and(|offer| offer.to == ticket) {
            state.offer = None;
        }
        let begun = state.begun;
        if let Some(waiter) = state.waiter(ticket) {
            waiter.since = begun;
        }
        state.ask()
    }

    /// Whether nobody waits for the key any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.lock().is_empty()
    }

    /// The latest reading that counts for the waiter.
    pub(crate) fn seen<T>(&self, ticket: Ticket, see: impl FnOnce(&R) -> T) -> Option<T> {
        self.state.lock().reading_for(ticket).map(see)
    }
}

impl<R, W> State<R, W> {
    fn join(&mut self, contends: bool) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        let since = self.begun;
        self.waiters.push(Waiter { ticket, has_left: false, contends, since, waker: None });
        ticket
    }

    /// The waiter's waker, and whether the key was offered to it.
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
            // What the waiter did with its offer is not known.
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

    fn ask(&mut self) -> bool {
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

    fn keep(&mut self, meaning: Meaning, reading: R, now: u64) -> Follows<W> {
        let number = self.begun;
        self.latest = Some(Latest { number, meaning, reading });
        let mut follows = Follows::nothing();
        match meaning {
            Meaning::Held => self.offer = None,
            Meaning::Finished => {
                self.offer = None;
                let answered = self.waiters.iter_mut().filter(|waiter| waiter.since < number);
                follows.wake = answered.filter_map(|waiter| waiter.waker.take()).collect();
            }
            Meaning::Free => {
                let answered =
                    self.waiters.iter_mut().filter(|waiter| waiter.since < number && !waiter.contends);
                follows.wake = answered.filter_map(|waiter| waiter.waker.take()).collect();
                if self.offer.is_none_or(|offer| offer.until <= now) {
                    let next = self.pass_on(now);
                    follows.wake.extend(next.wake);
                    follows.pass_on_at = next.pass_on_at;
                }
            }
        }
        follows
    }

    /// Offers the key to the next contender that sleeps, behind the one that had the last offer.
    fn pass_on(&mut self, now: u64) -> Follows<W> {
        let mut follows = Follows::nothing();
        let former = match self.offer {
            Some(offer) if offer.until > now => {
                follows.pass_on_at = Some(offer.until);
                return follows;
            }
            former => former.map_or(0, |offer| offer.to),
        };
        // Where nobody sleeps, the next one who looks may try.
        self.offer = None;
        let Some(latest) = self.latest.as_ref().filter(|latest| latest.meaning != Meaning::Held) else {
            return follows;
        };
        let number = latest.number;
        let may_try = |waiter: &&mut Waiter<W>| {
            waiter.contends && !waiter.has_left && waiter.since < number && waiter.waker.is_some()
        };
        let (before, behind) = {
            let at = self.waiters.partition_point(|waiter| waiter.ticket <= former);
            self.waiters.split_at_mut(at)
        };
        let next = behind.iter_mut().find(may_try).or_else(|| before.iter_mut().find(may_try));
        if let Some(waiter) = next {
            follows.wake.extend(waiter.waker.take());
            self.offer = Some(Offer { to: waiter.ticket, until: now + OFFER });
            follows.pass_on_at = Some(now + OFFER);
        }
        follows
    }

    /// Whether the waiter may try for the key, which is offered to it from now on.
    fn take_offer(&mut self, ticket: Ticket, now: u64) -> bool {
        if self.offer.is_some_and(|offer| offer.to != ticket && offer.until > now) {
            return false;
        }
        self.offer = Some(Offer { to: ticket, until: now + OFFER });
        true
    }
}
