//! Conditional writes. A fresh grant is one `SET … NX`; every other change is a script.

use std::sync::atomic::Ordering;

use lessor_core::store::{CasResult, Snapshot};
use lessor_core::{Key, StoreError, Timestamp};
use redis::{Cmd, Value};

use super::encoded_change::EncodedChange;
use super::shared::Shared;
use crate::protocol::arrival::{MAX_ARRIVAL_DELAY, MAX_TOKEN_LEAD, may_have_arrived_late};
use crate::protocol::errors::Effect;
use crate::protocol::script_call::{CONFLICT, DONE, ScriptArg, ScriptCall, ScriptReply};
use crate::protocol::scripts::SCRIPTS;

impl Shared {
    pub(super) async fn write(&self, key: &Key, change: &EncodedChange) -> Result<CasResult, StoreError> {
        self.next_purge.fetch_min(change.purge_at.as_micros(), Ordering::Relaxed);
        let (deadline, from) = (self.manager.call_deadline(), self.manager.context.clock.earliest());
        match change.lifetime_ms {
            Some(lifetime) if change.token <= from.saturating_add(MAX_TOKEN_LEAD) => {
                self.write_with_set(key, change, lifetime, from, deadline).await
            }
            _ => self.write_with_script(key, change, deadline).await,
        }
    }

    /// Makes a fresh grant with one command, which is the fastest way. `from` is a lower bound of
    /// the server's time.
    async fn write_with_set(
        &self,
        key: &Key,
        change: &EncodedChange,
        lifetime: u64,
        from: Timestamp,
        deadline: u64,
    ) -> Result<CasResult, StoreError> {
        let name = self.prefix.name(key);
        if self.is_too_old(change.token) {
            let now = self.manager.context.clock.now();
            return Ok(CasResult::Rejected(Snapshot::new(None, now)));
        }
        let mut command = Cmd::with_capacity(7, name.len() + change.next().len() + 64);
        command.arg("SET").arg(&name).arg(change.next()).arg("NX").arg("GET").arg("PX").arg(lifetime);
        let (reply, now) = match self.manager.call(&command, Effect::Write, deadline).await {
            Err(full @ StoreError::Full(_)) => {
                return Box::pin(self.conflict_or_full(key, full, deadline)).await;
            }
            reply => reply?,
        };
        match reply {
            Value::BulkString(existing) => {
                let record = Self::decode(key, &existing)?;
                // The reply contains neither the server's time nor the record's arrival time. The
                // record is read again together with both in three cases: its lease may have ended
                // while the reply was on its way; it may have arrived too late to count; or the
                // engine may hand it out as its own grant, for which the estimated time is not
                // reliable enough.
                let is_in_doubt = may_have_arrived_late(&record, now) || change.record.same_holder(&record);
                if is_in_doubt || (from..=now).contains(&record.expires_at()) {
                    let reply = Box::pin(self.read(key, deadline)).await?;
                    return Box::pin(self.conflict(key, &reply, true, deadline)).await;
                }
                Ok(CasResult::Conflict(Snapshot::new(Some(record), now)))
            }
            Value::Nil if self.is_too_old(change.token) => {
                Box::pin(self.confirm_late_grant(key, change, deadline)).await
            }
            Value::Nil => Ok(CasResult::Written),
            _ => {
                let endpoint = &self.manager.context.address.endpoint;
                let reason = format!("unexpected reply to SET from {endpoint}");
                Err(StoreError::incompatible(reason))
            }
        }
    }

    /// Reads a fresh grant whose reply came late. The record's expiry time shows whether the grant
    /// arrived late too.
    async fn confirm_late_grant(
        &self,
        key: &Key,
        change: &EncodedChange,
        deadline: u64,
    ) -> Result<CasResult, StoreError> {
        let reply = self.read(key, deadline).await.map_err(|error| match error {
            StoreError::Unavailable(cause) | StoreError::Misconfigured(cause) => {
                StoreError::Indeterminate(cause)
            }
            other => other,
        })?;
        let is_own = reply.record.as_deref() == Some(change.next());
        if is_own && Self::snapshot(key, &reply)?.record.is_some() {
            return Ok(CasResult::Written);
        }
        self.conflict(key, &reply, true, deadline).await
    }

    /// Reports a record that differs from the expected one. A record that arrived too late to be a
    /// grant would block a fresh grant, so it is removed.
    async fn conflict(
        &self,
        key: &Key,
        reply: &ScriptReply,
        is_fresh: bool,
        deadline: u64,
    ) -> Result<CasResult, StoreError> {
        let seen = Self::snapshot(key, reply)?;
        let (Some(bytes), None, true) = (&reply.record, &seen.record, is_fresh) else {
            return Ok(CasResult::Conflict(seen));
        };
        let expires_ms = u64::try_from(reply.expires_ms).unwrap_or(0);
        let args = vec![ScriptArg::Bytes(bytes), ScriptArg::Number(expires_ms)];
        let call = ScriptCall { name: self.prefix.name(key), args, tracking: false };
        let removed = self.run_script(&SCRIPTS.remove, &call, Effect::Write, deadline).await;
        let removed = removed.map_err(|error| match error {
            // A late record does not count, whether it was removed or not.
            StoreError::Indeterminate(cause) => StoreError::Unavailable(cause),
            other => other,
        })?;
        Ok(CasResult::Rejected(Snapshot::new(None, removed.now)))
    }

    /// Returns the existing record, or the error of a full server if there is none. A full server
    /// rejects a write before it compares records, but refusals and replays need no memory.
    async fn conflict_or_full(
        &self,
        key: &Key,
        full: StoreError,
        deadline: u64,
    ) -> Result<CasResult, StoreError> {
        let seen = Self::snapshot(key, &self.read(key, deadline).await?)?;
        if seen.record.is_some() { Ok(CasResult::Conflict(seen)) } else { Err(full) }
    }

    /// Returns whether a record with a higher token may have been purged since this token was
    /// drawn.
    fn is_too_old(&self, token: Timestamp) -> bool {
        self.manager.context.clock.now().saturating_since(token) >= MAX_ARRIVAL_DELAY
    }

    async fn write_with_script(
        &self,
        key: &Key,
        change: &EncodedChange,
        deadline: u64,
    ) -> Result<CasResult, StoreError> {
        let mut args = Vec::with_capacity(5);
        args.extend([
            ScriptArg::Bytes(change.expected()),
            ScriptArg::Bytes(change.next()),
            ScriptArg::Number(change.expires_ms),
        ]);
        if let Some((not_before, not_after)) = change.window {
            args.push(ScriptArg::Number(not_before.as_micros()));
            args.push(ScriptArg::Number(not_after.map_or(u64::MAX >> 10, Timestamp::as_micros)));
        }
        let call = ScriptCall { name: self.prefix.name(key), args, tracking: false };
        let reply = self.run_script(&SCRIPTS.swap, &call, Effect::Write, deadline).await?;
        match reply.status {
            DONE => Ok(CasResult::Written),
            CONFLICT => self.conflict(key, &reply, change.is_fresh, deadline).await,
            // The record is the expected one. The engine has read it as valid before, so it counts.
            _ => {
                let record = reply.record.as_deref().map(|bytes| Self::decode(key, bytes)).transpose()?;
                Ok(CasResult::Rejected(Snapshot::new(record, reply.now)))
            }
        }
    }
}
