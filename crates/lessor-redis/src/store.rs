//! The server as a store of records.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lessor_core::store::{Change, Closing, Hints, Page, Purged, Reply, Scan, Seen, Swap};
use lessor_core::{Durability, Key, Pending, Record, Store, StoreError, Timestamp};
use redis::{Cmd, Value};

use crate::failure::Effect;
use crate::scripts::{SCRIPTS, Script};
use crate::server::time_of;
use crate::{RedisStore, Shared};

/// No record goes before its token is this old, even if its retention has ended. A fresh grant is made by a single command, which knows no
/// purge; but if it was answered before its own token is half as old as this, then nothing that was purged had a higher one.
pub(crate) const TOKEN_AGE: Duration = Duration::from_secs(600);
/// How much longer than that the server keeps a record by itself.
pub(crate) const MARGIN: Duration = Duration::from_secs(3600);

/// What a script answered.
pub(crate) struct Answer {
    pub(crate) status: i64,
    pub(crate) bytes: Option<Vec<u8>>,
    /// The server's time, or a later one.
    pub(crate) now: Timestamp,
}

const DONE: i64 = 0;
const CONFLICT: i64 = 1;

impl Shared {
    pub(crate) fn decode(key: &Key, bytes: &[u8]) -> Result<Record, StoreError> {
        Record::decode(bytes).map_err(|error| StoreError::undecodable(format!("key {key:?}"), error))
    }

    fn seen(key: &Key, answer: &Answer) -> Result<Seen, StoreError> {
        let record = answer.bytes.as_deref().map(|bytes| Self::decode(key, bytes)).transpose()?;
        Ok(Seen { record, now: answer.now })
    }

    /// Runs a script. If the server does not have it, the script itself is sent: nothing has happened before.
    pub(crate) async fn run(
        &self,
        script: &Script,
        args: &Args<'_>,
        effect: Effect,
    ) -> Result<Answer, StoreError> {
        let sent = self.link.clock.local();
        let command = args.command(script, effect, false);
        let answer = match self.link.call_script(&command, effect, args.is_told).await? {
            Some(answer) => answer,
            None => {
                let in_full = args.command(script, effect, true);
                let in_full = Box::pin(self.link.call_script(&in_full, effect, args.is_told));
                in_full.await?.unwrap_or_default()
            }
        };
        let unknown = || StoreError::Incompatible {
            reason: format!("{} answered in a way that is not known", self.link.address.place),
        };
        match answer {
            Value::Int(status) => Ok(Answer { status, bytes: None, now: self.link.clock.now() }),
            answer => {
                let answer = answer_of(answer).ok_or_else(unknown)?;
                self.link.saw(sent, answer.now);
                Ok(answer)
            }
        }
    }

    /// From when on nobody misses the record.
    fn purge_at(record: &Record) -> Timestamp {
        record.purge_at().max(drawn_at(record).saturating_add(TOKEN_AGE))
    }

    async fn load(&self, key: &Key) -> Result<Seen, StoreError> {
        let args = Args { name: self.prefix.name(key), more: Vec::new(), is_told: true };
        Self::seen(key, &self.run(&SCRIPTS.load, &args, Effect::Read).await?)
    }

    async fn put(&self, key: &Key, put: &Put) -> Result<Swap, StoreError> {
        self.next_purge.fetch_min(put.purge_at.as_micros(), Ordering::Relaxed);
        if put.is_fresh { self.put_fresh(key, put).await } else { self.put_over(key, put).await }
    }

    /// In one command, which is the fastest way to do it.
    async fn put_fresh(&self, key: &Key, put: &Put) -> Result<Swap, StoreError> {
        let name = self.prefix.name(key);
        if self.is_old(put.token) {
            return Ok(Swap::OutOfWindow(Seen { record: None, now: self.link.clock.now() }));
        }
        let from = self.link.clock.at_least();
        let mut command = Cmd::with_capacity(7, name.len() + put.next().len() + 64);
        command.arg("SET").arg(&name).arg(put.next()).arg("NX").arg("GET").arg("PXAT").arg(put.expires_ms());
        let (answer, now) = match self.link.call(&command, Effect::Write).await {
            Err(full @ StoreError::Full { .. }) => return Box::pin(self.conflict_or(key, full)).await,
            answer => answer?,
        };
        match answer {
            Value::BulkString(there) => {
                let record = Self::decode(key, &there)?;
                // The answer has no time with it. If the lease may have ended while it was under way, the record is to be seen as it is now, with
                // the time that belongs to it.
                if (from..=now).contains(&record.expires_at()) {
                    let args = Args { name, more: Vec::new(), is_told: false };
                    let answer = Box::pin(self.run(&SCRIPTS.load, &args, Effect::Read)).await?;
                    return Ok(Swap::Conflict(Self::seen(key, &answer)?));
                }
                Ok(Swap::Conflict(Seen { record: Some(record), now }))
            }
            Value::Nil if self.is_old(put.token) => Box::pin(self.take_back(name, put)).await,
            Value::Nil => Ok(Swap::Stored),
            _ => Err(StoreError::Incompatible {
                reason: format!("{} answered SET in a way that is not known", self.link.address.place),
            }),
        }
    }

    /// A server without room refuses the write before it looks at what is there; but refusals and replays need no room.
    async fn conflict_or(&self, key: &Key, full: StoreError) -> Result<Swap, StoreError> {
        let args = Args { name: self.prefix.name(key), more: Vec::new(), is_told: false };
        let seen = Self::seen(key, &self.run(&SCRIPTS.load, &args, Effect::Read).await?)?;
        if seen.record.is_some() { Ok(Swap::Conflict(seen)) } else { Err(full) }
    }

    /// Whether a record with a higher token may have been purged since this one was drawn.
    fn is_old(&self, token: Timestamp) -> bool {
        self.link.clock.now().saturating_since(token) >= TOKEN_AGE / 2
    }

    /// Undoes a fresh grant that came so late that its token may not be the highest. Nobody was told of it.
    async fn take_back(&self, name: String, put: &Put) -> Result<Swap, StoreError> {
        let args = Args { name, more: vec![Arg::Bytes(put.next())], is_told: false };
        let answer = self.run(&SCRIPTS.undo, &args, Effect::Write).await.map_err(|error| match error {
            StoreError::Unavailable { reason } | StoreError::Misconfigured { reason } => {
                StoreError::Indeterminate { reason }
            }
            other => other,
        })?;
        Ok(Swap::OutOfWindow(Seen { record: None, now: answer.now }))
    }

    async fn put_over(&self, key: &Key, put: &Put) -> Result<Swap, StoreError> {
        let mut more = Vec::with_capacity(5);
        more.extend([Arg::Bytes(put.expected()), Arg::Bytes(put.next()), Arg::Number(put.expires_ms())]);
        if let Some((not_before, not_after)) = put.window {
            more.push(Arg::Number(not_before.as_micros()));
            more.push(Arg::Number(not_after.map_or(u64::MAX >> 10, Timestamp::as_micros)));
        }
        let args = Args { name: self.prefix.name(key), more, is_told: false };
        let answer = self.run(&SCRIPTS.swap, &args, Effect::Write).await?;
        match answer.status {
            DONE => Ok(Swap::Stored),
            CONFLICT => Ok(Swap::Conflict(Self::seen(key, &answer)?)),
            _ => Ok(Swap::OutOfWindow(Self::seen(key, &answer)?)),
        }
    }
}

/// Tokens are times, or later than their time.
fn drawn_at(record: &Record) -> Timestamp {
    Timestamp::from_micros(record.token().as_u64()).unwrap_or(Timestamp::MAX)
}

/// A change as it is sent.
struct Put {
    /// What is expected, and behind it what is to be stored.
    records: Vec<u8>,
    expected_length: usize,
    /// Nothing is expected, and at no certain time.
    is_fresh: bool,
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
        Self {
            records,
            expected_length,
            is_fresh: change.expected.is_none() && !change.is_timed(),
            token: drawn_at(change.next),
            window: change
                .is_timed()
                .then_some((change.not_before.unwrap_or(Timestamp::EPOCH), change.not_after)),
            purge_at: Shared::purge_at(change.next),
        }
    }

    fn expected(&self) -> &[u8] {
        self.records.get(..self.expected_length).unwrap_or_default()
    }

    fn next(&self) -> &[u8] {
        self.records.get(self.expected_length..).unwrap_or_default()
    }

    fn expires_ms(&self) -> u64 {
        self.purge_at.saturating_add(MARGIN).as_micros().div_ceil(1_000)
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
    fn command(&self, script: &Script, effect: Effect, in_full: bool) -> Cmd {
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

fn answer_of(value: Value) -> Option<Answer> {
    let Value::Array(mut parts) = value else { return None };
    let [status, bytes, time @ ..] = &mut parts[..] else { return None };
    let Value::Int(status) = *status else { return None };
    let now = time_of(time)?;
    let bytes = match std::mem::take(bytes) {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    Some(Answer { status, bytes, now })
}

impl Store for RedisStore {
    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.shared.link.clock.now()))
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        Pending::later(async move { shared.load(&key).await })
    }

    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        let (shared, key, put) = (Arc::clone(&self.shared), key.clone(), Put::new(change));
        Pending::later(async move { shared.put(&key, &put).await })
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        Pending::later(Arc::clone(&self.shared).scan(query))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        Pending::later(Arc::clone(&self.shared).purge(limit))
    }

    fn durability(&self) -> Durability {
        Durability::Server
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        self.shared.link.close();
        Pending::ready(Ok(true))
    }

    fn attach(&self, hints: Hints) {
        self.shared.link.listeners.add(hints);
    }
}
