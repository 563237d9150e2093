//! The state that the handles of one grant share.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use crate::data::error::Error;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::record::{Record, Stage};
use crate::data::time::Timestamp;
use crate::rules::{Ack, Answer, HolderCommand};
use crate::run::context::{Handle, Work};
use crate::run::holders::WatchedGrant;
use crate::run::observer::event::{Event, Outcome};
use crate::run::tasks::abandon;
use crate::store::contract::Store;
use crate::store::operation::{Execution, Guess, Operation, Report};
use crate::sync::pending::Pending;
use crate::sync::signal::Signal;

/// A grant. Its handles share it, and so does the engine's background while the lease is watched.
pub(crate) struct Grant {
    pub(super) shared: Arc<Handle>,
    pub(super) key: Key,
    pub(super) lease_id: LeaseId,
    ttl: Duration,
    /// The time before the end of the lease at which the holder stops, in µs.
    margin: u64,
    /// The grant, unless only the lease id is known.
    pub(super) granted: Option<Granted>,
    /// The record as this holder has last written it, if it has written one since the grant.
    newer: Mutex<Option<Box<Record>>>,
    has_newer: AtomicBool,
    /// The time from which the holder considers the lease lost, in µs.
    deadline: AtomicU64,
    /// One of the four constants below.
    standing: AtomicU8,
    /// True once the [`Lease`](crate::Lease) was dropped.
    dropped: AtomicBool,
    /// True if the [`Lease`](crate::Lease) was dropped before the work began.
    not_begun: AtomicBool,
    /// The number of operations in progress that end the lease.
    ending: AtomicU16,
    /// Created by the first future that waits for the lease to be lost.
    changed: OnceLock<Signal>,
    /// The number of the lease among the watched ones, or 0 if it is not watched.
    watch_id: AtomicU64,
    /// True if renewal depends on the progress of the work.
    needs_progress: AtomicBool,
    /// The time of the last progress of the work, in µs. The epoch if there was none.
    progressed_at: AtomicU64,
}

const OPEN: u8 = 0;
/// There is an outcome, or the lease was released.
const ENDED: u8 = 1;
/// Another holder has the key, or an operator took it away.
const SUPERSEDED: u8 = 2;
/// The lease has ended without an outcome: it was abandoned through another handle, or has lapsed.
const LAPSED: u8 = 3;

impl Grant {
    #[inline]
    pub(super) fn new(
        shared: Arc<Handle>,
        key: Key,
        lease_id: LeaseId,
        ttl: Duration,
        granted: Option<Granted>,
    ) -> Arc<Self> {
        let margin = margin(ttl);
        let deadline = match &granted {
            Some(granted) => granted.expires_at.as_micros().saturating_sub(margin),
            None => Timestamp::MAX.as_micros(),
        };
        Arc::new(Self {
            shared,
            key,
            lease_id,
            ttl,
            margin,
            granted,
            newer: Mutex::new(None),
            has_newer: AtomicBool::new(false),
            deadline: AtomicU64::new(deadline),
            standing: AtomicU8::new(OPEN),
            dropped: AtomicBool::new(false),
            not_begun: AtomicBool::new(false),
            ending: AtomicU16::new(0),
            changed: OnceLock::new(),
            watch_id: AtomicU64::new(0),
            needs_progress: AtomicBool::new(false),
            progressed_at: AtomicU64::new(0),
        })
    }

    /// Sends a holder's command to the store, and takes the answer into account.
    #[inline]
    pub(super) fn act(self: &Arc<Self>, act: HolderCommand) -> Pending<Result<Ack, Error>> {
        let ends = outcome_of(&act);
        let newer = self.newer();
        let guess = match (&newer, &self.granted) {
            _ if matches!(act, HolderCommand::Abandon | HolderCommand::Doubt) => Guess::None,
            (Some(newer), _) => Guess::Record(newer),
            (None, Some(granted)) if granted.is_as_granted() => Guess::Granted(self.lease_id, granted),
            (None, _) => Guess::None,
        };
        let (mut answer, mut written, mut made) = (None, None, None);
        let mut sink = |report: Report<'_>| match report {
            Report::Answer(Answer::Done(ack)) => answer = Some(Ok(*ack)),
            Report::Written(record, now) => written = Some((record.clone(), now)),
            Report::Refused(error) => answer = Some(Err(error.clone())),
            _ => answer = Some(Err(Error::unexpected())),
        };
        let shared = &self.shared;
        let keep = shared.keep;
        let act = (&self.lease_id, &act);
        let mut operation = Operation::act(&**shared, keep, &self.key, &mut made, act, guess, &mut sink);
        match shared.store.execute(&mut operation) {
            Execution::Done(_) => {
                if let Some((record, now)) = &written {
                    shared.watches.written(&self.key, record, *now);
                }
                let answer = answer.unwrap_or_else(|| Err(Error::unexpected()));
                self.learn(&answer, ends, written.map(|(record, _)| record));
                Pending::ready(answer)
            }
            Execution::Later(reply) => {
                let in_progress = InProgress::new(self, ends.is_some());
                reply.map(move |executed| {
                    let grant = &in_progress.grant;
                    let (answer, written) = match grant.shared.take(&grant.key, executed) {
                        Ok((Answer::Done(ack), written)) => (Ok(ack), written),
                        Ok(_) => return Err(Error::unexpected()),
                        Err(error) => (Err(error), None),
                    };
                    grant.learn(&answer, ends, written);
                    answer
                })
            }
        }
    }

    /// Takes the answer to a holder's command into account.
    #[inline]
    fn learn(&self, answer: &Result<Ack, Error>, ends: Option<Outcome>, written: Option<Record>) {
        match (answer, ends) {
            (Ok(ack), Some(outcome)) => {
                self.shared.record(&Event::Ended { key: (&self.key).into(), outcome, late: ack.is_late() });
                self.end(ENDED);
            }
            (Ok(ack), None) => self.learn_of_write(ack, written),
            (Err(error), _) => self.learn_of_refusal(error),
        }
    }

    #[cold]
    fn learn_of_refusal(&self, error: &Error) {
        match error {
            Error::NotHolder { token } => {
                self.shared.record(&Event::Stale { key: (&self.key).into(), current: *token });
                self.end(SUPERSEDED);
            }
            Error::NotFound | Error::Released => self.end(SUPERSEDED),
            Error::Finished { .. } => self.end(ENDED),
            Error::Lapsed => self.end(LAPSED),
            _ => {}
        }
    }

    fn learn_of_write(&self, ack: &Ack, record: Option<Record>) {
        self.deadline.store(ack.expires_at().as_micros().saturating_sub(self.margin), Ordering::Relaxed);
        if let Some(record) = record {
            *self.newer.lock() = Some(Box::new(record));
            self.has_newer.store(true, Ordering::Release);
        }
    }

    /// Returns the record as this holder has last written it, if it has written one since the
    /// grant.
    #[inline]
    fn newer(&self) -> Option<Box<Record>> {
        if self.has_newer.load(Ordering::Acquire) { self.newer.lock().clone() } else { None }
    }

    /// Ends the renewal and the observation of the lease.
    pub(super) fn unwatch(&self) {
        self.shared.watches.holders.unwatch(self);
    }

    /// Takes into account that the [`Lease`](crate::Lease) was dropped. A lease without an outcome
    /// is abandoned, unless an operation that ends it is still in progress. A second call has no
    /// effect.
    pub(super) fn on_drop(&self, work: Work) {
        self.unwatch();
        if self.is_open() && !self.dropped.load(Ordering::SeqCst) {
            self.not_begun.store(work == Work::NotBegun, Ordering::Relaxed);
            if !self.dropped.swap(true, Ordering::SeqCst) {
                self.abandon_if_idle();
            }
        }
    }

    fn abandon_if_idle(&self) {
        if self.ending.load(Ordering::SeqCst) == 0 && self.is_open() {
            let not_begun = self.not_begun.load(Ordering::Relaxed);
            let work = if not_begun { Work::NotBegun } else { Work::MayHaveBegun };
            abandon(&self.shared, self.key.clone(), self.lease_id, work);
        }
    }

    /// Returns whether this is a holder of `key` in `store` that has no outcome yet and has not
    /// been lost, as far as the engine knows.
    pub(super) fn holds(&self, store: &Arc<dyn Store>, key: &str) -> bool {
        self.key.as_bytes() == key.as_bytes()
            && std::ptr::addr_eq(Arc::as_ptr(&self.shared.store), Arc::as_ptr(store))
            && self.is_open()
    }

    fn deadline(&self) -> Timestamp {
        Timestamp::from_micros(self.deadline.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX)
    }

    fn standing(&self) -> u8 {
        self.standing.load(Ordering::Acquire)
    }

    /// Returns whether the lease has no outcome yet and has not been lost, except by its time.
    fn is_open(&self) -> bool {
        self.standing() == OPEN
    }

    #[inline]
    fn end(&self, standing: u8) {
        if standing == ENDED {
            self.standing.store(ENDED, Ordering::Release);
        } else {
            self.lose(standing);
        }
        self.notify();
    }

    #[cold]
    fn lose(&self, standing: u8) {
        let was_open = self.standing.swap(standing, Ordering::AcqRel) == OPEN;
        if was_open && !self.dropped.load(Ordering::SeqCst) {
            let token = self.granted.as_ref().map(|granted| granted.token);
            let reason = if standing == SUPERSEDED { "the key was taken away" } else { "it has lapsed" };
            self.shared.record(&Event::Lost { key: (&self.key).into(), token, reason });
        }
    }

    /// Wakes the futures that wait for the lease to be lost.
    #[inline]
    fn notify(&self) {
        // A waiter registers and then reads the state; here the order is reversed. With the two
        // fences, one of them sees the other.
        fence(Ordering::SeqCst);
        if let Some(changed) = self.changed.get() {
            changed.notify(&self.shared.background.notifier);
        }
    }

    /// Compares the grant with the record that was stored under its key at `now`, after the grant.
    fn observe(&self, record: Option<&Record>, now: Timestamp) {
        let Some(granted) = &self.granted else { return };
        if !self.is_open() {
            return;
        }
        let Some(body) = record.map(Record::body) else { return self.end(SUPERSEDED) };
        if body.token() > granted.token || (body.token() == granted.token && body.lease_id != self.lease_id) {
            self.end(SUPERSEDED);
        } else if body.token() == granted.token {
            match body.stage {
                Stage::InProgress if body.is_live(now) => {}
                Stage::InProgress => self.end(LAPSED),
                Stage::Completed | Stage::Failed | Stage::Released => self.end(ENDED),
                Stage::Forgotten => self.end(SUPERSEDED),
            }
        }
    }

    /// Returns whether the work has to stop, as far as the engine knows.
    pub(super) fn is_lost(&self) -> bool {
        match self.standing() {
            OPEN => self.shared.clock.now() >= self.deadline(),
            standing => standing != ENDED,
        }
    }

    /// Returns the time until the lease lapses, or zero if it has ended.
    pub(super) fn time_left(&self) -> Duration {
        if !self.is_open() {
            return Duration::ZERO;
        }
        let expires_at = self.deadline().saturating_add(Duration::from_micros(self.margin));
        expires_at.saturating_since(self.shared.clock.now())
    }

    /// Resolves when the work has to stop.
    pub(super) fn lost(self: &Arc<Self>) -> Pending<()> {
        if self.is_lost() {
            return Pending::ready(());
        }
        let mut waiting = LostPlace { grant: Arc::clone(self), place: None };
        self.watch();
        Pending::later(poll_fn(move |context| {
            let LostPlace { grant, place } = &mut waiting;
            grant.poll_lost(place, context)
        }))
    }

    fn poll_lost(self: &Arc<Self>, place: &mut Option<u64>, context: &Context<'_>) -> Poll<()> {
        let changed = self.changed.get_or_init(Signal::default);
        changed.register(place, context);
        fence(Ordering::SeqCst);
        if self.is_lost() {
            return Poll::Ready(());
        }
        self.watch();
        Poll::Pending
    }

    fn watch(self: &Arc<Self>) {
        if self.is_open() {
            self.shared.watches.holders.watch(self);
        }
    }

    /// Has the engine renew the lease in the background. With `stall_after`, only while the work
    /// progresses.
    pub(super) fn keep_alive(self: &Arc<Self>, stall_after: Option<Duration>) {
        if let (true, Some(granted)) = (self.is_open(), &self.granted) {
            if stall_after.is_some() {
                self.needs_progress.store(true, Ordering::Relaxed);
            }
            let granted_at = granted.expires_at.saturating_sub(self.ttl);
            self.shared.watches.holders.keep_alive(self, granted_at, &self.shared.settings, stall_after);
        }
    }

    /// Takes into account that the work has made progress. Reads the clock only if renewal depends
    /// on progress.
    #[inline]
    pub(super) fn tick(&self) {
        if self.needs_progress.load(Ordering::Relaxed) {
            self.progressed();
        }
    }

    #[cold]
    fn progressed(&self) {
        self.progressed_at.store(self.shared.clock.now().as_micros(), Ordering::Relaxed);
    }
}

impl WatchedGrant for Grant {
    fn key(&self) -> &Key {
        &self.key
    }

    fn ttl(&self) -> Duration {
        self.ttl
    }

    #[inline]
    fn watch_id(&self) -> &AtomicU64 {
        &self.watch_id
    }

    fn is_open(&self) -> bool {
        self.is_open()
    }

    fn deadline(&self) -> Timestamp {
        self.deadline()
    }

    fn progressed_at(&self) -> Timestamp {
        Timestamp::from_micros(self.progressed_at.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX)
    }

    fn observe(&self, record: Option<&Record>, now: Timestamp) {
        self.observe(record, now);
    }

    fn notify(&self) {
        self.notify();
    }

    fn record(&self, event: &Event<'_>) {
        self.shared.record(event);
    }

    fn renew(self: Arc<Self>) -> Pending<Result<(), Error>> {
        self.act(HolderCommand::Extend { ttl: self.ttl }).map(|extended| extended.map(drop))
    }
}

/// An operation of a holder that waits for the store.
///
/// A lease can be dropped while such an operation is in progress. If the operation ends the lease,
/// it decides how: the lease is abandoned only once the operation was dropped or has failed.
struct InProgress {
    grant: Arc<Grant>,
    ends: bool,
}

impl InProgress {
    fn new(grant: &Arc<Grant>, ends: bool) -> Self {
        if ends {
            grant.ending.fetch_add(1, Ordering::SeqCst);
        }
        Self { grant: Arc::clone(grant), ends }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if self.ends {
            self.grant.ending.fetch_sub(1, Ordering::SeqCst);
            if self.grant.dropped.load(Ordering::SeqCst) {
                self.grant.abandon_if_idle();
            }
        }
    }
}

/// The registration of a future that waits for a lease to be lost.
struct LostPlace {
    grant: Arc<Grant>,
    place: Option<u64>,
}

impl Drop for LostPlace {
    fn drop(&mut self) {
        if let Some(changed) = self.grant.changed.get() {
            changed.unregister(self.place);
        }
    }
}

/// Returns the outcome with which a command ends the lease, if it does.
#[inline]
fn outcome_of(act: &HolderCommand) -> Option<Outcome> {
    match act {
        HolderCommand::Extend { .. } | HolderCommand::Checkpoint(_) => None,
        HolderCommand::Complete(..) => Some(Outcome::Completed),
        HolderCommand::Fail(_) => Some(Outcome::Failed),
        HolderCommand::Release => Some(Outcome::Released),
        HolderCommand::Abandon => Some(Outcome::Abandoned),
        HolderCommand::Unused => Some(Outcome::Unused),
        HolderCommand::Doubt => Some(Outcome::InDoubt),
    }
}

/// Returns the time by which a holder stops before any other caller can be granted the key, in µs.
fn margin(ttl: Duration) -> u64 {
    const MOST: u64 = 1_000_000;
    u64::try_from(ttl.as_micros() / 10).unwrap_or(MOST).min(MOST)
}
