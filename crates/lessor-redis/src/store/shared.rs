//! The parts of a store that its pending replies share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lessor_core::store::Snapshot;
use lessor_core::{Key, Record, StoreError};
use parking_lot::Mutex;
use redis::Value;

use super::budget::Budget;
use super::purge_pass::PurgePass;
use crate::config::prefix::Prefix;
use crate::manager::connection_manager::ConnectionManager;
use crate::protocol::arrival::arrived_late;
use crate::protocol::errors::Effect;
use crate::protocol::script_call::{NO_EXPIRY, ScriptCall, ScriptReply, parse_reply};
use crate::protocol::scripts::{SCRIPTS, Script};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) manager: Arc<ConnectionManager>,
    pub(crate) prefix: Prefix,
    pub(crate) budget: Arc<Budget>,
    /// No record is known to be due for purging before this time, in µs of the server's time.
    pub(crate) next_purge: AtomicU64,
    /// The purge that the next call continues.
    pub(crate) purging: Mutex<Option<PurgePass>>,
}

impl Shared {
    pub(crate) fn decode(key: &Key, bytes: &[u8]) -> Result<Record, StoreError> {
        Record::decode(bytes).map_err(|error| StoreError::undecodable(format!("key {key:?}"), error))
    }

    /// Returns the record and the time of a script's reply. A record that arrived too late to be a
    /// grant counts as absent.
    pub(crate) fn snapshot(key: &Key, reply: &ScriptReply) -> Result<Snapshot, StoreError> {
        let record = reply.record.as_deref().map(|bytes| Self::decode(key, bytes)).transpose()?;
        let record = record.filter(|record| !arrived_late(record, reply.expires_ms));
        Ok(Snapshot::new(record, reply.now))
    }

    /// Runs a script by its hash. If the server does not have the script, nothing has been
    /// executed, and the full text is sent.
    pub(crate) async fn run_script(
        &self,
        script: &Script,
        call: &ScriptCall<'_>,
        effect: Effect,
        deadline: u64,
    ) -> Result<ScriptReply, StoreError> {
        let context = &*self.manager.context;
        let sent = context.clock.local();
        let command = call.command(script, effect, false);
        let value = match self.manager.call_script(&command, effect, call.tracking, deadline).await? {
            Some(value) => value,
            None => {
                let full = call.command(script, effect, true);
                let full = Box::pin(self.manager.call_script(&full, effect, call.tracking, deadline));
                full.await?.unwrap_or_default()
            }
        };
        match value {
            Value::Int(status) => {
                Ok(ScriptReply { status, record: None, now: context.clock.now(), expires_ms: NO_EXPIRY })
            }
            value => {
                let reply = parse_reply(value).ok_or_else(|| {
                    let endpoint = &context.address.endpoint;
                    StoreError::incompatible(format!("unexpected reply to a script from {endpoint}"))
                })?;
                context.observe_clock(sent, reply.now);
                Ok(reply)
            }
        }
    }

    /// Reads a record and asks the server to report the next change to it.
    pub(crate) async fn load(&self, key: &Key) -> Result<Snapshot, StoreError> {
        let call = ScriptCall { name: self.prefix.name(key), args: Vec::new(), tracking: true };
        let deadline = self.manager.call_deadline();
        Self::snapshot(key, &self.run_script(&SCRIPTS.load, &call, Effect::Read, deadline).await?)
    }

    /// Reads a record together with its expiry time.
    pub(crate) async fn read(&self, key: &Key, deadline: u64) -> Result<ScriptReply, StoreError> {
        let call = ScriptCall { name: self.prefix.name(key), args: Vec::new(), tracking: false };
        self.run_script(&SCRIPTS.load, &call, Effect::Read, deadline).await
    }
}
