//! Listing: walks over all names and reads the records of one page.

use std::collections::BTreeSet;
use std::sync::Arc;

use lessor_core::store::{Page, Scan};
use lessor_core::{Key, Record, StoreError, Timestamp};
use redis::{Cmd, Value, cmd};

use super::key_walk::KeyWalk;
use super::shared::Shared;
use crate::protocol::arrival::may_have_arrived_late;
use crate::protocol::errors::Effect;
use crate::protocol::script_call::{ScriptCall, parse_reply};
use crate::protocol::scripts::SCRIPTS;
use crate::protocol::values::parse_time;

impl Shared {
    pub(super) async fn scan(self: Arc<Self>, query: Scan) -> Result<Page, StoreError> {
        let manager = &self.manager;
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let mut walk = KeyWalk::begin(manager, self.prefix.pattern(&query.prefix)).await?;
        while let Some(names) = walk.step(manager).await? {
            for key in names.iter().filter_map(|name| self.prefix.key(name)) {
                if key.starts_with(&query.prefix) && query.after.as_ref().is_none_or(|after| key > *after) {
                    keys.insert(key);
                }
            }
            while keys.len() > query.limit {
                keys.pop_last();
            }
        }
        let next = (keys.len() == query.limit).then(|| keys.last().cloned()).flatten();
        // The time is read first, because it must not be later than the reading of any record.
        let mut reads = vec![cmd("TIME")];
        reads.extend(keys.iter().map(|key| {
            let mut get = cmd("GET");
            get.arg(self.prefix.name(key));
            get
        }));
        let mut values = manager.call_each(&reads, Effect::Read).await?.into_iter();
        let now = match values.next() {
            Some(Value::Array(time)) => parse_time(&time),
            _ => None,
        };
        let now = now.ok_or_else(|| StoreError::incompatible("unexpected reply to TIME"))?;
        manager.context.clock.observe(now);
        let mut entries = Vec::with_capacity(keys.len());
        for (key, value) in keys.into_iter().zip(values) {
            if let Value::BulkString(bytes) = value {
                let record = Self::decode(&key, &bytes)?;
                entries.push((key, record));
            }
        }
        let latest = manager.context.clock.now();
        self.drop_late_grants(&mut entries, latest).await?;
        Ok(Page::new(entries, next, now))
    }

    /// Removes the entries that arrived too late to be grants. Entries that may have done so are
    /// read again together with their expiry times.
    async fn drop_late_grants(
        &self,
        entries: &mut Vec<(Key, Record)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doubtful = || entries.iter().filter(|(_, record)| may_have_arrived_late(record, now));
        let read = |key: &Key| {
            let call = ScriptCall { name: self.prefix.name(key), args: Vec::new(), tracking: false };
            call.command(&SCRIPTS.load, Effect::Read, true)
        };
        let reads: Vec<Cmd> = doubtful().map(|(key, _)| read(key)).collect();
        let mut reread = Vec::with_capacity(reads.len());
        let replies = match reads.is_empty() {
            true => Vec::new(),
            false => self.manager.call_each(&reads, Effect::Read).await?,
        };
        for ((key, _), reply) in doubtful().zip(replies) {
            let reply =
                parse_reply(reply).ok_or_else(|| StoreError::incompatible("unexpected reply to a script"))?;
            reread.push(Self::snapshot(key, &reply)?.record);
        }
        let mut reread = reread.into_iter();
        let mut all = Vec::with_capacity(entries.len());
        for (key, record) in entries.drain(..) {
            let is_doubtful = may_have_arrived_late(&record, now);
            let record = if is_doubtful { reread.next().flatten() } else { Some(record) };
            all.extend(record.map(|record| (key, record)));
        }
        *entries = all;
        Ok(())
    }
}
