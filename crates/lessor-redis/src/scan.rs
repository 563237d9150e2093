//! Listing and purging, by walking over the names that there are, in small steps.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_core::store::{Page, Purged, Scan};
use lessor_core::{Key, Record, StoreError, Timestamp};
use redis::{Cmd, Value, cmd};

use crate::Shared;
use crate::cluster::{Master, Own};
use crate::failure::Effect;
use crate::landing::{MARGIN, may_be_late};
use crate::scripts::SCRIPTS;
use crate::server::time_of;
use crate::store::{Arg, Args, answer_of};

/// How many names the server looks at in one step.
const STEP: usize = 1_000;
/// How many steps a purge makes in one call, if what it may drop is not more.
const STEPS: usize = 4;
/// How many records are dropped in one round trip.
const TOGETHER: usize = 100;
/// How often a listing is begun anew because keys are being moved.
const WALKS: usize = 20;

/// A walk over all names that a pattern fits, each at least once if it is there from begin to end.
struct Walk {
    pattern: String,
    /// Those that are still to be visited, the one that is being visited last.
    masters: Vec<Option<Master>>,
    cursor: Vec<u8>,
    /// Which keys were where when the walk began; empty where that does not matter.
    layout: Vec<(Master, Own)>,
    /// Whether this is already the second time over this layout.
    is_again: bool,
    /// How often it may begin anew.
    rest: usize,
}

impl Walk {
    async fn begin(shared: &Shared, pattern: String) -> Result<Self, StoreError> {
        let layout = shared.link.layout().await?;
        let masters = match layout.is_empty() {
            true => vec![None],
            false => layout.iter().map(|(master, _)| Some(master.clone())).collect(),
        };
        Ok(Self { pattern, masters, cursor: b"0".to_vec(), layout, is_again: false, rest: WALKS })
    }

    /// A record that went from a node that was not visited yet to one that was is found by going there again.
    async fn end(&mut self, shared: &Shared) -> Result<bool, StoreError> {
        if self.layout.is_empty() {
            return Ok(true);
        }
        let layout = shared.link.layout().await?;
        let is_same = layout == self.layout;
        let is_moving = layout.iter().any(|(_, own)| !own.targets.is_empty());
        if is_same && (!is_moving || self.is_again) {
            return Ok(true);
        }
        let Some(rest) = self.rest.checked_sub(1) else {
            let reason = "keys are being moved from node to node faster than they can be listed";
            return Err(StoreError::Unavailable { reason: reason.to_owned() });
        };
        self.masters = layout.iter().map(|(master, _)| Some(master.clone())).collect();
        (self.layout, self.is_again, self.rest) = (layout, is_same, rest);
        Ok(false)
    }

    async fn step(&mut self, shared: &Shared) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        if self.masters.is_empty() && self.end(shared).await? {
            return Ok(None);
        }
        let Some(master) = self.masters.last() else { return Ok(None) };
        let mut command = cmd("SCAN");
        command.arg(&self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let unknown =
            || StoreError::Incompatible { reason: "SCAN was answered in a way that is not known".to_owned() };
        let Value::Array(mut parts) = shared.link.ask(master.as_ref(), &command, Effect::Read).await? else {
            return Err(unknown());
        };
        let (Some(Value::Array(names)), Some(Value::BulkString(next))) = (parts.pop(), parts.pop()) else {
            return Err(unknown());
        };
        if next == b"0" {
            self.masters.pop();
        }
        self.cursor = next;
        let bytes = |name| if let Value::BulkString(name) = name { Some(name) } else { None };
        Ok(Some(names.into_iter().filter_map(bytes).collect()))
    }
}

fn command(verb: &str, name: &str) -> Cmd {
    let mut command = cmd(verb);
    command.arg(name);
    command
}

impl Shared {
    pub(crate) async fn scan(self: Arc<Self>, query: Scan) -> Result<Page, StoreError> {
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let mut walk = Walk::begin(&self, self.prefix.pattern(&query.prefix)).await?;
        while let Some(names) = walk.step(&self).await? {
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
        // The time first: it is not to be later than the reading of any record.
        let mut reads = vec![cmd("TIME")];
        reads.extend(keys.iter().map(|key| command("GET", &self.prefix.name(key))));
        let mut values = self.link.each(&reads, Effect::Read).await?.into_iter();
        let now = match values.next() {
            Some(Value::Array(time)) => time_of(&time),
            _ => None,
        };
        let now = now.ok_or_else(|| StoreError::Incompatible {
            reason: "TIME was answered in a way that is not known".to_owned(),
        })?;
        self.link.clock.saw(now);
        let mut entries = Vec::with_capacity(keys.len());
        for (key, value) in keys.into_iter().zip(values) {
            if let Value::BulkString(bytes) = value {
                let record = Self::decode(&key, &bytes)?;
                entries.push((key, record));
            }
        }
        let latest = self.link.clock.now();
        self.leave_out_late(&mut entries, latest).await?;
        Ok(Page { entries, next, now })
    }

    /// Reads those again that may have arrived too late to be grants, together with when they arrived.
    async fn leave_out_late(
        &self,
        entries: &mut Vec<(Key, Record)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let doubtful = || entries.iter().filter(|(_, record)| may_be_late(record, now));
        let read = |key: &Key| {
            let args = Args { name: self.prefix.name(key), more: Vec::new(), is_told: false };
            args.command(&SCRIPTS.load, Effect::Read, true)
        };
        let reads: Vec<Cmd> = doubtful().map(|(key, _)| read(key)).collect();
        let mut shown = Vec::with_capacity(reads.len());
        let answers =
            if reads.is_empty() { Vec::new() } else { self.link.each(&reads, Effect::Read).await? };
        for ((key, _), answer) in doubtful().zip(answers) {
            let answer = answer_of(answer).ok_or_else(|| StoreError::Incompatible {
                reason: "a script was answered in a way that is not known".to_owned(),
            })?;
            shown.push(Self::seen(key, &answer)?.record);
        }
        let mut shown = shown.into_iter();
        let mut all = Vec::with_capacity(entries.len());
        for (key, record) in entries.drain(..) {
            let record = if may_be_late(&record, now) { shown.next().flatten() } else { Some(record) };
            all.extend(record.map(|record| (key, record)));
        }
        *entries = all;
        Ok(())
    }

    /// Drops records before the server does, whose own time is later by [`MARGIN`]. Does nothing while none is due that this store
    /// has written or seen. Goes on where the call before has stopped, and stops when it has dropped `limit` records or looked at about so many names, or at
    /// some thousands.
    pub(crate) async fn purge(self: Arc<Self>, limit: usize) -> Result<Purged, StoreError> {
        let begun = self.purging.lock().take();
        if begun.is_none() {
            // Whatever is written meanwhile lowers it again.
            let due = self.next_purge.swap(u64::MAX, Ordering::Relaxed);
            if self.link.clock.now().as_micros() < due {
                self.next_purge.fetch_min(due, Ordering::Relaxed);
                return Ok(Purged::default());
            }
        }
        // Until it is known when the next is due: a call that fails or is dropped leaves that to the next one.
        let mut again = Again { next_purge: &self.next_purge, at: 0 };
        let mut purge = match begun {
            Some(purge) => purge,
            None => Purge::begin(&self).await?,
        };
        let mut dropped = 0;
        for _ in 0..STEPS.max(limit / STEP) {
            dropped += purge.drop_due(&self, limit - dropped).await?;
            if dropped == limit {
                break;
            }
            if !purge.step(&self).await? {
                again.at = purge.next;
                return Ok(Purged { dropped, more: false });
            }
        }
        *self.purging.lock() = Some(purge);
        Ok(Purged { dropped, more: true })
    }
}

/// When to look again for what is due.
struct Again<'a> {
    next_purge: &'a AtomicU64,
    at: u64,
}

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.next_purge.fetch_min(self.at, Ordering::Relaxed);
    }
}

/// A purge of all names, from call to call.
pub(crate) struct Purge {
    walk: Walk,
    /// What is due, and since when, in µs.
    due: Vec<(String, u64)>,
    /// When the next is due of those that were visited.
    next: u64,
}

impl fmt::Debug for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purge").field("due", &self.due.len()).finish_non_exhaustive()
    }
}

impl Purge {
    async fn begin(shared: &Shared) -> Result<Self, StoreError> {
        let mut walk = Walk::begin(shared, shared.prefix.pattern("")).await?;
        // What is missed is dropped another time.
        walk.layout.clear();
        Ok(Self { walk, due: Vec::new(), next: u64::MAX })
    }

    /// Visits more names. Returns false if there are no more.
    async fn step(&mut self, shared: &Shared) -> Result<bool, StoreError> {
        let Some(names) = self.walk.step(shared).await? else { return Ok(false) };
        let names: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
        if names.is_empty() {
            return Ok(true);
        }
        let times: Vec<Cmd> = names.iter().map(|name| command("PEXPIRETIME", name)).collect();
        let times = shared.link.each(&times, Effect::Read).await?;
        let now = shared.link.clock.now().as_micros();
        for (name, time) in names.into_iter().zip(times) {
            let Value::Int(at) = time else { continue };
            let Some(at) = u64::try_from(at).ok().and_then(|at| at.checked_sub(margin())) else { continue };
            match at.saturating_mul(1_000) {
                at if at > now => self.next = self.next.min(at),
                at => self.due.push((name, at)),
            }
        }
        Ok(true)
    }

    /// Drops up to `limit` of what is due, and returns how many were.
    async fn drop_due(&mut self, shared: &Shared, limit: usize) -> Result<usize, StoreError> {
        let mut dropped = 0;
        while dropped < limit && !self.due.is_empty() {
            let count = self.due.len().min(limit - dropped).min(TOGETHER);
            let due = self.due.split_off(self.due.len() - count);
            let purge = |(name, _): &(String, u64)| {
                let args = Args { name: name.clone(), more: vec![Arg::Number(margin())], is_told: false };
                args.command(&SCRIPTS.purge, Effect::Write, true)
            };
            let answers = shared.link.each(&due.iter().map(purge).collect::<Vec<_>>(), Effect::Write).await?;
            for ((_, at), answer) in due.into_iter().zip(answers) {
                match answer_of(answer) {
                    Some(answer) if answer.status == 0 => dropped += 1,
                    // By the server's own clock it is not due.
                    _ => self.next = self.next.min(at),
                }
            }
        }
        Ok(dropped)
    }
}

fn margin() -> u64 {
    u64::try_from(MARGIN.as_millis()).unwrap_or(u64::MAX)
}
