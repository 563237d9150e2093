//! A lease in its holder's hands.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::error::Error;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::payload::Payload;
use crate::data::record::{Failure, PreviousGrant, Record, Stage, Token};
use crate::data::time::Timestamp;
use crate::data::value::{json_payload, json_text, payload};
use crate::rules::settings::{check_result_hash, failure};
use crate::rules::{Ack, Answer, HolderCommand};
use crate::run::context::Handle;
use crate::run::holders::WatchedGrant;
use crate::run::tasks::abandon;
use crate::store::contract::Store;
use crate::store::operation::{Execution, Guess, Operation, Report};
use crate::sync::pending::Pending;
use crate::sync::signal::Signal;

/// What a holder can do under a key and a lease id. A [`Lease`] is one; [`Engine::lease_handle`](crate::Engine::lease_handle) makes one
/// for a holder on the other side of a boundary.
///
/// None of the operations consumes it: if the store was unavailable, the same operation can be sent again. Sending one
/// again that had taken effect gives the same answer and writes nothing.
#[derive(Clone)]
pub struct LeaseHandle(pub(crate) Arc<Grant>);

/// What is known of a grant: shared by its handles and, while the lease is watched, the engine's background.
pub(crate) struct Grant {
    pub(crate) shared: Arc<Handle>,
    pub(crate) key: Key,
    lease_id: LeaseId,
    pub(crate) ttl: Duration,
    /// The time before the end of the lease at which the holder stops, in µs.
    margin: u64,
    /// The grant, unless only the lease id is known.
    granted: Option<Granted>,
    /// The record as this holder last wrote it, if it wrote one since.
    newer: Mutex<Option<Box<Record>>>,
    has_newer: AtomicBool,
    /// From here on the holder has to think that the lease is lost, in µs.
    deadline: AtomicU64,
    /// One of the following four.
    standing: AtomicU8,
    /// Made by the first who waits for the lease to be lost.
    changed: OnceLock<Signal>,
    /// The number of the lease among those that are watched; 0 while it is not.
    pub(crate) watch_id: AtomicU64,
}

const OPEN: u8 = 0;
/// There is an outcome, or the lease was handed back.
const ENDED: u8 = 1;
/// Somebody else has the key, or an operator took it away.
const SUPERSEDED: u8 = 2;
/// The lease has ended without an outcome: it was given up through another handle, or was found to have lapsed.
const LAPSED: u8 = 3;

/// The exclusive right to do the work of one key, for some time. Made by [`Engine::acquire`](crate::Engine::acquire).
///
/// Do the work, then [`complete`](LeaseHandle::complete) or [`fail`](LeaseHandle::fail) it. Dropping a lease before is a crash noticed at
/// once: the lease lapses, and whoever acquires the key next decides by its policy what follows. Nothing blocks in
/// `Drop`; the engine reports it to the store in the background.
///
/// No lease makes a side effect in the outside world exactly-once by itself. Send [`token`](Self::token) along, so that the
/// other side can refuse a holder that was superseded.
#[must_use = "a lease that is dropped is given up at once"]
pub struct Lease {
    held: LeaseHandle,
    token: Token,
    resent: bool,
}

impl LeaseHandle {
    pub(crate) fn by_id(shared: Arc<Handle>, key: Key, lease_id: LeaseId) -> Self {
        let ttl = shared.settings.limits.default_ttl;
        Self::new(shared, key, lease_id, ttl, None)
    }

    #[inline]
    fn new(
        shared: Arc<Handle>,
        key: Key,
        lease_id: LeaseId,
        ttl: Duration,
        granted: Option<Granted>,
    ) -> Self {
        let margin = margin(ttl);
        let deadline = match &granted {
            Some(granted) => granted.expires_at.as_micros().saturating_sub(margin),
            None => Timestamp::MAX.as_micros(),
        };
        Self(Arc::new(Grant {
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
            changed: OnceLock::new(),
            watch_id: AtomicU64::new(0),
        }))
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// The secret that makes its bearer the holder. Hand it on to nobody but a holder.
    #[must_use]
    pub fn lease_id(&self) -> &LeaseId {
        &self.0.lease_id
    }

    /// Holds the lease for at least `ttl` from now; never shortens it. Refused with [`Error::Lapsed`] once it has lapsed.
    pub fn extend(&self, ttl: Duration) -> Pending<'_, Result<Ack, Error>> {
        match self.0.shared.settings.limits.check_ttl(ttl) {
            Ok(ttl) => self.act(HolderCommand::Extend { ttl }),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Leaves a value for whoever takes over if this holder dies. Does not extend the lease.
    pub fn checkpoint<T: Serialize + ?Sized>(&self, value: &T) -> Pending<'_, Result<Ack, Error>> {
        self.act_on(
            json_payload("checkpoint", value, self.0.shared.settings.limits.max_checkpoint)
                .map(HolderCommand::Checkpoint),
        )
    }

    /// The same as [`checkpoint`](Self::checkpoint), for raw bytes.
    pub fn checkpoint_bytes(&self, bytes: &[u8]) -> Pending<'_, Result<Ack, Error>> {
        self.act_on(
            payload("checkpoint", bytes, self.0.shared.settings.limits.max_checkpoint)
                .map(HolderCommand::Checkpoint),
        )
    }

    /// Delivers the result, which is kept as JSON and replayed to every later caller. Refused, with nothing written, is what JSON
    /// would not give back: floats that are not finite, `Some(None)`, keys that are no text. An outcome counts even if the lease has lapsed,
    /// as long as nobody else acquired the key: [`Ack::is_late`].
    #[inline]
    pub fn complete<T: Serialize + ?Sized>(&self, result: &T) -> Pending<'_, Result<Ack, Error>> {
        let result = json_payload("result", result, self.0.shared.settings.limits.max_result);
        self.act_on(result.map(|result| HolderCommand::Complete(result, None)))
    }

    /// The same as [`complete`](Self::complete), for raw bytes.
    pub fn complete_bytes(&self, result: &[u8]) -> Pending<'_, Result<Ack, Error>> {
        self.complete_bytes_as(result, None)
    }

    /// The same, with a word of the caller's own for the result, 1 to 128 characters. Two results with the same
    /// word count as the same when a completion is sent again.
    pub fn complete_bytes_as(&self, result: &[u8], hash: Option<&str>) -> Pending<'_, Result<Ack, Error>> {
        let hash = hash.map(check_result_hash).transpose();
        let result = payload("result", result, self.0.shared.settings.limits.max_result);
        self.act_on(result.and_then(|result| Ok(HolderCommand::Complete(result, hash?))))
    }

    /// Delivers a failure, which is replayed to every later caller unless its policy says to retry. The code has 1 to 256
    /// characters.
    pub fn fail(&self, code: &str) -> Pending<'_, Result<Ack, Error>> {
        self.act_on(failure(&self.0.shared.settings.limits, code, None).map(HolderCommand::Fail))
    }

    /// The same as [`fail`](Self::fail), with details of up to
    /// [`Limits::max_error_detail`](field@crate::Limits::max_error_detail) bytes.
    pub fn fail_with(&self, code: &str, detail: &str) -> Pending<'_, Result<Ack, Error>> {
        self.act_on(failure(&self.0.shared.settings.limits, code, Some(detail)).map(HolderCommand::Fail))
    }

    /// The same as [`fail`](Self::fail), with a value as details, kept as JSON: [`View::failure`](crate::View::failure) gives it
    /// back.
    pub fn fail_as<T: Serialize + ?Sized>(&self, code: &str, detail: &T) -> Pending<'_, Result<Ack, Error>> {
        let failure = json_text("error detail", detail)
            .and_then(|detail| failure(&self.0.shared.settings.limits, code, Some(&detail)));
        self.act_on(failure.map(HolderCommand::Fail))
    }

    /// Fails the work with the code `canceled`, or `canceled:<reason>` if the reason is not empty.
    pub fn cancel(&self, reason: Option<&str>) -> Pending<'_, Result<Ack, Error>> {
        match reason {
            None | Some("") => self.fail("canceled"),
            Some(reason) => self.fail(&format!("canceled:{reason}")),
        }
    }

    /// Hands the lease back with nothing done: the next caller gets the work.
    pub fn release(&self) -> Pending<'_, Result<Ack, Error>> {
        self.act(HolderCommand::Release)
    }

    /// The holder is gone, and the work may be half done: the lease lapses now.
    pub fn abandon(&self) -> Pending<'_, Result<Ack, Error>> {
        self.act(HolderCommand::Abandon)
    }

    pub(crate) fn complete_with(&self, result: Payload) -> Pending<'_, Result<Ack, Error>> {
        self.act(HolderCommand::Complete(result, None))
    }

    /// A failure that the engine itself describes. No limit for callers applies to it.
    pub(crate) fn fail_for(
        &self,
        code: &'static str,
        detail: Option<&str>,
    ) -> Pending<'_, Result<Ack, Error>> {
        self.act(HolderCommand::Fail(Failure { code: code.into(), detail: detail.map(Into::into) }))
    }

    /// Whether this is a holder of `key` in `store` that has not settled or lost it, as far as is known.
    pub(crate) fn holds(&self, store: &Arc<dyn Store>, key: &str) -> bool {
        self.0.key.as_bytes() == key.as_bytes()
            && std::ptr::addr_eq(Arc::as_ptr(&self.0.shared.store), Arc::as_ptr(store))
            && self.0.standing() == OPEN
    }

    fn act_on(&self, act: Result<HolderCommand, Error>) -> Pending<'_, Result<Ack, Error>> {
        match act {
            Ok(act) => self.act(act),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    #[inline]
    fn act(&self, act: HolderCommand) -> Pending<'_, Result<Ack, Error>> {
        let ends = !matches!(act, HolderCommand::Extend { .. } | HolderCommand::Checkpoint(_));
        let grant = &*self.0;
        let newer = grant.newer();
        let guess = match (&newer, &grant.granted) {
            _ if matches!(act, HolderCommand::Abandon) => Guess::None,
            (Some(newer), _) => Guess::Record(newer),
            (None, Some(granted)) => Guess::Granted(grant.lease_id, granted),
            (None, None) => Guess::None,
        };
        let (mut answer, mut written, mut made) = (None, None, None);
        let mut sink = |report: Report<'_>| match report {
            Report::Answer(Answer::Done(ack)) => answer = Some(Ok(*ack)),
            Report::Written(record, now) => written = Some((record.clone(), now)),
            Report::Refused(error) => answer = Some(Err(error.clone())),
            _ => answer = Some(Err(Error::unexpected())),
        };
        let shared = &grant.shared;
        let retention = shared.settings.limits.retention;
        let act = (&grant.lease_id, &act);
        let mut operation =
            Operation::act(&***shared, retention, &grant.key, &mut made, act, guess, &mut sink);
        match shared.store.execute(&mut operation) {
            Execution::Done(_) => {
                if let Some((record, now)) = &written {
                    shared.watches.written(&grant.key, record, *now);
                }
                let answer = answer.unwrap_or_else(|| Err(Error::unexpected()));
                self.learn(&answer, ends, written.map(|(record, _)| record));
                Pending::ready(answer)
            }
            Execution::Later(reply) => reply.map(move |executed| {
                let (answer, written) = match self.0.shared.take(&self.0.key, executed) {
                    Ok((Answer::Done(ack), written)) => (Ok(ack), written),
                    Ok(_) => return Err(Error::unexpected()),
                    Err(error) => (Err(error), None),
                };
                self.learn(&answer, ends, written);
                answer
            }),
        }
    }

    /// Takes the answer to an act into account.
    #[inline]
    fn learn(&self, answer: &Result<Ack, Error>, ends: bool, written: Option<Record>) {
        let grant = &self.0;
        match answer {
            Ok(_) if ends => grant.end(ENDED),
            Ok(ack) => grant.learn(ack, written),
            Err(Error::NotHolder { .. } | Error::NotFound | Error::Released) => grant.end(SUPERSEDED),
            Err(Error::Finished { .. }) => grant.end(ENDED),
            Err(Error::Lapsed) => grant.end(LAPSED),
            Err(_) => {}
        }
    }
}

impl Grant {
    /// Returns the record as this holder last wrote it, if it wrote one since the grant.
    #[inline]
    fn newer(&self) -> Option<Box<Record>> {
        if self.has_newer.load(Ordering::Acquire) { self.newer.lock().clone() } else { None }
    }

    fn learn(&self, ack: &Ack, record: Option<Record>) {
        self.deadline.store(ack.expires_at().as_micros().saturating_sub(self.margin), Ordering::Relaxed);
        if let Some(record) = record {
            *self.newer.lock() = Some(Box::new(record));
            self.has_newer.store(true, Ordering::Release);
        }
    }

    pub(crate) fn deadline(&self) -> Timestamp {
        Timestamp::from_micros(self.deadline.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX)
    }

    fn standing(&self) -> u8 {
        self.standing.load(Ordering::Acquire)
    }

    /// Whether nothing is known that has ended the lease, other than its time.
    pub(crate) fn is_open(&self) -> bool {
        self.standing() == OPEN
    }

    #[inline]
    fn end(&self, standing: u8) {
        self.standing.store(standing, Ordering::Release);
        self.notify();
    }

    /// Has all who wait for the lease to be lost look again.
    #[inline]
    pub(crate) fn notify(&self) {
        // Who waits registers and then looks; here it is the other way round. With the two fences one of them sees the other.
        fence(Ordering::SeqCst);
        if let Some(changed) = self.changed.get() {
            changed.notify(&self.shared.background.notifier);
        }
    }

    /// Compares the grant with what was stored under its key at `now`, after it was granted.
    pub(crate) fn observe(&self, record: Option<&Record>, now: Timestamp) {
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

    /// Whether the work has to stop, as far as the engine knows.
    fn is_lost(&self) -> bool {
        match self.standing() {
            OPEN => self.shared.clock.now() >= self.deadline(),
            standing => standing != ENDED,
        }
    }

    fn poll_lost(self: &Arc<Self>, place: &mut Option<u64>, context: &Context<'_>) -> Poll<()> {
        let changed = self.changed.get_or_init(Signal::default);
        changed.register(place, context);
        fence(Ordering::SeqCst);
        if self.is_lost() {
            return Poll::Ready(());
        }
        if self.is_open() {
            self.shared.watches.holders.watch(self);
        }
        Poll::Pending
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

    fn observe(&self, record: Option<&Record>, now: Timestamp) {
        self.observe(record, now);
    }

    fn notify(&self) {
        self.notify();
    }

    fn renew(self: Arc<Self>) -> Pending<'static, Result<(), Error>> {
        let ttl = self.ttl;
        Pending::later(async move { LeaseHandle(self).extend(ttl).await.map(drop) })
    }
}

/// A future's place among those who wait for a lease to be lost.
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

/// Returns the time by which a holder stops before any other caller can be granted the key, in µs.
fn margin(ttl: Duration) -> u64 {
    const MOST: u64 = 1_000_000;
    u64::try_from(ttl.as_micros() / 10).unwrap_or(MOST).min(MOST)
}

impl Lease {
    #[inline]
    pub(crate) fn granted(
        shared: Arc<Handle>,
        (key, lease_id): (Key, LeaseId),
        ttl: Duration,
        granted: Granted,
        resent: bool,
    ) -> Self {
        let token = granted.token;
        Self { held: LeaseHandle::new(shared, key, lease_id, ttl, Some(granted)), token, resent }
    }

    /// The fencing token: strictly increasing over all grants of the key. Send it along with every effect.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// How many grants the key's record has seen, this one included. More than 1 means that an earlier holder did not
    /// finish: see [`previous_grant`](Self::previous_grant).
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.grant().granted.as_ref().map_or(1, |granted| granted.attempt)
    }

    /// The grant before this one and how it ended, if there was one.
    #[must_use]
    pub fn previous_grant(&self) -> Option<PreviousGrant<'_>> {
        self.grant().granted.as_ref().and_then(Granted::previous_grant)
    }

    /// The checkpoint that earlier holders left.
    pub fn previous_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let parse = |bytes| serde_json::from_slice(bytes).map_err(|error| Error::json("checkpoint", &error));
        self.previous_checkpoint_bytes().map(parse).transpose()
    }

    /// The same as [`previous_checkpoint`](Self::previous_checkpoint), as raw bytes.
    #[must_use]
    pub fn previous_checkpoint_bytes(&self) -> Option<&[u8]> {
        self.grant()
            .granted
            .as_ref()
            .and_then(|granted| granted.attributes()?.checkpoint.as_ref())
            .map(|checkpoint| checkpoint.bytes())
    }

    /// This grant had been made before, and its reply was lost.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.resent
    }

    /// Whether the work has to stop: the lease has run out, up to a margin, or the key was taken away. False once an
    /// outcome was delivered.
    ///
    /// The margin is a tenth of the ttl, at most a second. That another process took the key away is noticed while the lease is
    /// [kept alive](Self::keep_alive) or somebody waits for [`lost`](Self::lost); else with the next operation on it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.grant().is_lost()
    }

    /// Resolves when the work has to stop: a little before anybody else can be granted the key, or as soon as the engine knows
    /// that it was taken away. Pends for ever once an outcome was delivered.
    ///
    /// What is done through this engine is noticed at once. What another process does is noticed by the store's notifications, and at the
    /// latest after [`Schedule::poll_every`](field@crate::Schedule::poll_every).
    pub fn lost(&self) -> Pending<'_, ()> {
        if self.is_lost() {
            return Pending::ready(());
        }
        let mut waiting = LostPlace { grant: Arc::clone(&self.held.0), place: None };
        self.watch();
        Pending::later(poll_fn(move |context| {
            let LostPlace { grant, place } = &mut waiting;
            grant.poll_lost(place, context)
        }))
    }

    fn watch(&self) {
        if self.grant().is_open() {
            self.grant().shared.watches.holders.watch(&self.held.0);
        }
    }

    /// Renews the lease in the background, on a thread of the engine, for as long as this is
    /// neither dropped nor finished, up to [`Limits::max_hold`](field@crate::Limits::max_hold). If
    /// renewing fails, [`lost`](Self::lost) resolves in time.
    pub fn keep_alive(self) -> Self {
        let grant = &self.held.0;
        if let (true, Some(granted)) = (grant.is_open(), &grant.granted) {
            let granted_at = granted.expires_at.saturating_sub(grant.ttl);
            grant.shared.watches.holders.keep_alive(grant, granted_at, &grant.shared.settings);
        }
        self
    }

    fn grant(&self) -> &Grant {
        &self.held.0
    }
}

impl Deref for Lease {
    type Target = LeaseHandle;
    fn deref(&self) -> &LeaseHandle {
        &self.held
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let grant = self.grant();
        grant.shared.watches.holders.unwatch(grant);
        if grant.is_open() {
            abandon(&grant.shared, grant.key.clone(), grant.lease_id);
        }
    }
}

impl fmt::Debug for LeaseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseHandle")
            .field("key", self.key())
            .field("lease_id", self.lease_id())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", self.key())
            .field("lease_id", self.lease_id())
            .field("token", &self.token().as_u64())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
