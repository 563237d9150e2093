//! The server as a store of records.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lessor_core::store::{
    Change, Closing, Execution, Hints, Operation, Page, Purged, Reply, Scan, Seen, Swap,
};
use lessor_core::{CompareAndSwap, Durability, Key, Pending, Record, Store, StoreError, Timestamp};
use redis::{Cmd, Value};

use crate::budget::Charge;
use crate::failure::Effect;
use crate::landing::{
    self, AHEAD, LATEST, drawn_at, expires_ms, is_first, lifetime_ms, may_be_late, purge_at,
};
use crate::scripts::{SCRIPTS, Script};
use crate::server::time_of;
use crate::{RedisStore, Shared};

/// What a script answered.
pub(crate) struct Answer {
    pub(crate) status: i64,
    pub(crate) bytes: Option<Vec<u8>>,
    /// The server's time, or a later one.
    pub(crate) now: Timestamp,
    /// When the server drops the record by itself, in ms; negative if it does not.
    pub(crate) expires_ms: i64,
}

/// What the server says of a record that it does not drop by itself.
const NEVER: i64 = -1;
const DONE: i64 = 0;
const CONFLICT: i64 = 1;

impl Shared {
    pub(crate) fn decode(key: &Key, bytes: &[u8]) -> Result<Record, StoreError> {
        Record::decode(bytes).map_err(|error| StoreError::undecodable(format!("key {key:?}"), error))
    }

    /// What a script answered. A record that arrived too late to be a grant counts as absent.
    pub(crate) fn seen(key: &Key, answer: &Answer) -> Result<Seen, StoreError> {
        let record = answer.bytes.as_deref().map(|bytes| Self::decode(key, bytes)).transpose()?;
        let record = record.filter(|record| !landing::is_late(record, answer.expires_ms));
        Ok(Seen { record, now: answer.now })
    }

    /// Runs a script. If the server does not have it, the script itself is sent: nothing has happened before.
    pub(crate) async fn run(
        &self,
        script: &Script,
        args: &Args<'_>,
        effect: Effect,
        limit: u64,
    ) -> Result<Answer, StoreError> {
        let sent = self.link.clock.local();
        let command = args.command(script, effect, false);
        let answer = match self.link.call_script(&command, effect, args.is_told, limit).await? {
            Some(answer) => answer,
            None => {
                let in_full = args.command(script, effect, true);
                let in_full = Box::pin(self.link.call_script(&in_full, effect, args.is_told, limit));
                in_full.await?.unwrap_or_default()
            }
        };
        let unknown = || StoreError::Incompatible {
            reason: format!("{} answered in a way that is not known", self.link.address.place),
        };
        match answer {
            Value::Int(status) => {
                Ok(Answer { status, bytes: None, now: self.link.clock.now(), expires_ms: NEVER })
            }
            answer => {
                let answer = answer_of(answer).ok_or_else(unknown)?;
                self.link.saw(sent, answer.now);
                Ok(answer)
            }
        }
    }

    async fn load(&self, key: &Key) -> Result<Seen, StoreError> {
        let args = Args { name: self.prefix.name(key), more: Vec::new(), is_told: true };
        Self::seen(key, &self.run(&SCRIPTS.load, &args, Effect::Read, self.link.limit()).await?)
    }

    async fn put(&self, key: &Key, put: &Put) -> Result<Swap, StoreError> {
        self.next_purge.fetch_min(put.purge_at.as_micros(), Ordering::Relaxed);
        let (limit, from) = (self.link.limit(), self.link.clock.at_least());
        match put.lifetime_ms {
            Some(lifetime) if put.token <= from.saturating_add(AHEAD) => {
                self.put_fresh(key, put, lifetime, from, limit).await
            }
            _ => self.put_over(key, put, limit).await,
        }
    }

    /// In one command, which is the fastest way to do it. `from` is a time that the server's clock has reached.
    async fn put_fresh(
        &self,
        key: &Key,
        put: &Put,
        lifetime: u64,
        from: Timestamp,
        limit: u64,
    ) -> Result<Swap, StoreError> {
        let name = self.prefix.name(key);
        if self.is_old(put.token) {
            return Ok(Swap::OutOfWindow(Seen { record: None, now: self.link.clock.now() }));
        }
        let mut command = Cmd::with_capacity(7, name.len() + put.next().len() + 64);
        command.arg("SET").arg(&name).arg(put.next()).arg("NX").arg("GET").arg("PX").arg(lifetime);
        let (answer, now) = match self.link.call(&command, Effect::Write, limit).await {
            Err(full @ StoreError::Full { .. }) => return Box::pin(self.conflict_or(key, full, limit)).await,
            answer => answer?,
        };
        match answer {
            Value::BulkString(there) => {
                let record = Self::decode(key, &there)?;
                // The answer says neither the time nor when the record arrived. If the lease may have ended while the answer was under way, or the
                // record may not count, the record has to be read again together with these. That is so as well if it may be handed out, since
                // the time that is known here may be wrong.
                let is_in_doubt = may_be_late(&record, now) || put.record.same_holder(&record);
                if is_in_doubt || (from..=now).contains(&record.expires_at()) {
                    let answer = Box::pin(self.read(key, limit)).await?;
                    return Box::pin(self.conflict(key, &answer, true, limit)).await;
                }
                Ok(Swap::Conflict(Seen { record: Some(record), now }))
            }
            Value::Nil if self.is_old(put.token) => Box::pin(self.look_after_late(key, put, limit)).await,
            Value::Nil => Ok(Swap::Stored),
            _ => Err(StoreError::Incompatible {
                reason: format!("{} answered SET in a way that is not known", self.link.address.place),
            }),
        }
    }

    /// The answer to a fresh grant came late. Whether the grant arrived late as well, the record itself says.
    async fn look_after_late(&self, key: &Key, put: &Put, limit: u64) -> Result<Swap, StoreError> {
        let answer = self.read(key, limit).await.map_err(|error| match error {
            StoreError::Unavailable { reason } | StoreError::Misconfigured { reason } => {
                StoreError::Indeterminate { reason }
            }
            other => other,
        })?;
        let is_own = answer.bytes.as_deref() == Some(put.next());
        if is_own && Self::seen(key, &answer)?.record.is_some() {
            return Ok(Swap::Stored);
        }
        self.conflict(key, &answer, true, limit).await
    }

    async fn read(&self, key: &Key, limit: u64) -> Result<Answer, StoreError> {
        let args = Args { name: self.prefix.name(key), more: Vec::new(), is_told: false };
        self.run(&SCRIPTS.load, &args, Effect::Read, limit).await
    }

    /// Something else is there than what was expected. What arrived too late to be a grant is in the way of a fresh grant, and goes.
    async fn conflict(
        &self,
        key: &Key,
        answer: &Answer,
        is_fresh: bool,
        limit: u64,
    ) -> Result<Swap, StoreError> {
        let seen = Self::seen(key, answer)?;
        let (Some(bytes), None, true) = (&answer.bytes, &seen.record, is_fresh) else {
            return Ok(Swap::Conflict(seen));
        };
        let more = vec![Arg::Bytes(bytes), Arg::Number(u64::try_from(answer.expires_ms).unwrap_or(0))];
        let args = Args { name: self.prefix.name(key), more, is_told: false };
        let removed =
            self.run(&SCRIPTS.remove, &args, Effect::Write, limit).await.map_err(|error| match error {
                // Whether or not it is removed, nothing has changed that counts.
                StoreError::Indeterminate { reason } => StoreError::Unavailable { reason },
                other => other,
            })?;
        Ok(Swap::OutOfWindow(Seen { record: None, now: removed.now }))
    }

    /// A server without room refuses the write before it looks at what is there; but refusals and replays need no room.
    async fn conflict_or(&self, key: &Key, full: StoreError, limit: u64) -> Result<Swap, StoreError> {
        let seen = Self::seen(key, &self.read(key, limit).await?)?;
        if seen.record.is_some() { Ok(Swap::Conflict(seen)) } else { Err(full) }
    }

    /// Whether a record with a higher token may have been purged since this one was drawn.
    fn is_old(&self, token: Timestamp) -> bool {
        self.link.clock.now().saturating_since(token) >= LATEST
    }

    async fn put_over(&self, key: &Key, put: &Put, limit: u64) -> Result<Swap, StoreError> {
        let mut more = Vec::with_capacity(5);
        more.extend([Arg::Bytes(put.expected()), Arg::Bytes(put.next()), Arg::Number(put.expires_ms)]);
        if let Some((not_before, not_after)) = put.window {
            more.push(Arg::Number(not_before.as_micros()));
            more.push(Arg::Number(not_after.map_or(u64::MAX >> 10, Timestamp::as_micros)));
        }
        let args = Args { name: self.prefix.name(key), more, is_told: false };
        let answer = self.run(&SCRIPTS.swap, &args, Effect::Write, limit).await?;
        match answer.status {
            DONE => Ok(Swap::Stored),
            CONFLICT => self.conflict(key, &answer, put.is_fresh, limit).await,
            // The record is the expected one. Whoever expects it was told of it, so it counts.
            _ => {
                let record = answer.bytes.as_deref().map(|bytes| Self::decode(key, bytes)).transpose()?;
                Ok(Swap::OutOfWindow(Seen { record, now: answer.now }))
            }
        }
    }
}

/// A change as it is sent.
struct Put {
    /// What is to be stored.
    record: Record,
    /// What is expected, and behind it what is to be stored.
    records: Vec<u8>,
    expected_length: usize,
    /// Nothing is expected.
    is_fresh: bool,
    /// If a single command may make the change: how long the server keeps the record by itself, in ms.
    lifetime_ms: Option<u64>,
    /// When the server drops the record by itself, in ms.
    expires_ms: u64,
    token: Timestamp,
    /// If the change depends on the clock: from when on, and until when.
    window: Option<(Timestamp, Option<Timestamp>)>,
    purge_at: Timestamp,
}

impl Put {
    fn new(change: &Change<'_>) -> Self {
        let mut records = Vec::with_capacity(512);
        if let Some(expected) = change.expected {
            expected.encode_into(&mut records);
        }
        let expected_length = records.len();
        change.next.encode_into(&mut records);
        let (is_fresh, token) = (change.expected.is_none(), drawn_at(change.next));
        // Over nothing, it must not arrive late either.
        let latest = if is_fresh { token.checked_add(LATEST) } else { None };
        let not_after = change.not_after.into_iter().chain(latest).min();
        let window = (change.is_timed() || is_fresh)
            .then_some((change.not_before.unwrap_or(Timestamp::EPOCH), not_after));
        Self {
            record: change.next.clone(),
            records,
            expected_length,
            is_fresh,
            lifetime_ms: (is_fresh && !change.is_timed() && is_first(change.next))
                .then(|| lifetime_ms(change.next)),
            expires_ms: expires_ms(change.next),
            token,
            window,
            purge_at: purge_at(change.next),
        }
    }

    fn expected(&self) -> &[u8] {
        self.records.get(..self.expected_length).unwrap_or_default()
    }

    fn next(&self) -> &[u8] {
        self.records.get(self.expected_length..).unwrap_or_default()
    }
}

pub(crate) enum Arg<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

/// What a script is given.
pub(crate) struct Args<'a> {
    pub(crate) name: String,
    pub(crate) more: Vec<Arg<'a>>,
    /// The server shall tell when what is read changes.
    pub(crate) is_told: bool,
}

impl Args<'_> {
    pub(crate) fn command(&self, script: &Script, effect: Effect, in_full: bool) -> Cmd {
        let verb = match (in_full, effect) {
            (false, Effect::Write) => "EVALSHA",
            (false, Effect::Read) => "EVALSHA_RO",
            (true, Effect::Write) => "EVAL",
            (true, Effect::Read) => "EVAL_RO",
        };
        let script = if in_full { script.code } else { &*script.hash };
        let length = |arg: &Arg<'_>| match arg {
            Arg::Bytes(bytes) => bytes.len(),
            Arg::Number(_) => 20,
        };
        let length = script.len() + self.name.len() + self.more.iter().map(length).sum::<usize>();
        let mut command = Cmd::with_capacity(4 + self.more.len(), length + 16);
        command.arg(verb).arg(script).arg(1).arg(&self.name);
        for arg in &self.more {
            match arg {
                Arg::Bytes(bytes) => command.arg(bytes),
                Arg::Number(number) => command.arg(number),
            };
        }
        command
    }
}

pub(crate) fn answer_of(value: Value) -> Option<Answer> {
    let Value::Array(mut parts) = value else { return None };
    let [status, bytes, time @ ..] = &mut parts[..] else { return None };
    let Value::Int(status) = *status else { return None };
    let now = time_of(time)?;
    let bytes = match std::mem::take(bytes) {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    let expires_ms = match time.get(2) {
        Some(Value::Int(at)) => *at,
        _ => NEVER,
    };
    Some(Answer { status, bytes, now, expires_ms })
}

/// The server as a store that compares and swaps.
#[derive(Debug)]
pub(crate) struct Commands(pub(crate) Arc<Shared>);

impl Commands {
    /// Lets a call begin that has records of so many bytes, and says why not.
    fn admit(&self, bytes: usize) -> Result<Charge, StoreError> {
        self.0.link.check_process()?;
        self.0.budget.charge(bytes)
    }
}

impl CompareAndSwap for Commands {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(self.0.link.check_process().map(|()| self.0.link.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        let (shared, key) = (Arc::clone(&self.0), key.clone());
        match self.admit(0) {
            Ok(charge) => Pending::later(charge.during(async move { shared.load(&key).await })),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn compare_and_swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        let (shared, key, put) = (Arc::clone(&self.0), key.clone(), Put::new(change));
        let charge = match self.admit(put.records.capacity()) {
            Ok(charge) => charge,
            Err(error) => return Pending::ready(Err(error)),
        };
        Pending::later(async move {
            let _charge = charge;
            let swap = shared.put(&key, &put).await?;
            if matches!(swap, Swap::Stored) {
                shared.link.listeners.wrote(&key);
            }
            Ok(swap)
        })
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        match self.admit(0) {
            Ok(charge) => Pending::later(charge.during(Arc::clone(&self.0).scan(query))),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        match self.admit(0) {
            Ok(charge) => Pending::later(charge.during(Arc::clone(&self.0).purge(limit))),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    fn durability(&self) -> Durability {
        Durability::Server
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        self.0.link.close();
        Pending::ready(Ok(true))
    }
}

impl Store for RedisStore {
    fn now(&self) -> Reply<Timestamp> {
        self.cas.now()
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        self.cas.load(key)
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.cas.execute(operation)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.cas.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.cas.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.cas.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.cas.close(closing)
    }

    /// The connection notifies the engines: the server reports each change, also those of this client.
    fn attach(&self, hints: Hints) {
        self.shared.link.listeners.add(hints);
    }
}
