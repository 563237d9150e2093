//! One pass of the purge over all names. It may extend over several calls.

use std::fmt;

use lessor_core::StoreError;
use redis::{Cmd, Value, cmd};

use super::key_walk::KeyWalk;
use crate::config::prefix::Prefix;
use crate::manager::connection_manager::ConnectionManager;
use crate::protocol::arrival::EXPIRY_MARGIN;
use crate::protocol::errors::Effect;
use crate::protocol::script_call::{DONE, ScriptArg, ScriptCall, parse_reply};
use crate::protocol::scripts::SCRIPTS;

/// The number of records that are dropped in one pipeline.
const PIPELINE_SIZE: usize = 100;

pub(crate) struct PurgePass {
    walk: KeyWalk,
    /// The names of records that are due, with the times at which they became due, in µs.
    due: Vec<(String, u64)>,
    /// The earliest time at which another visited record is due, in µs.
    next: u64,
}

impl fmt::Debug for PurgePass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PurgePass").field("due", &self.due.len()).finish_non_exhaustive()
    }
}

impl PurgePass {
    pub(super) async fn begin(manager: &ConnectionManager, prefix: &Prefix) -> Result<Self, StoreError> {
        // A later pass drops the records that this one misses.
        let walk = KeyWalk::begin_lenient(manager, prefix.pattern("")).await?;
        Ok(Self { walk, due: Vec::new(), next: u64::MAX })
    }

    /// Returns the earliest time at which a visited record is due that was not dropped, in µs.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Visits more names. Returns false at the end of the pass.
    pub(super) async fn step(&mut self, manager: &ConnectionManager) -> Result<bool, StoreError> {
        let Some(names) = self.walk.step(manager).await? else { return Ok(false) };
        let names: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
        if names.is_empty() {
            return Ok(true);
        }
        let times: Vec<Cmd> = names.iter().map(|name| pexpiretime(name)).collect();
        let times = manager.call_each(&times, Effect::Read).await?;
        let now = manager.context.clock.now().as_micros();
        for (name, time) in names.into_iter().zip(times) {
            let Value::Int(at) = time else { continue };
            let Some(at) = u64::try_from(at).ok().and_then(|at| at.checked_sub(margin_ms())) else {
                continue;
            };
            match at.saturating_mul(1_000) {
                at if at > now => self.next = self.next.min(at),
                at => self.due.push((name, at)),
            }
        }
        Ok(true)
    }

    /// Drops up to `limit` records that are due. Returns the number of dropped records.
    pub(super) async fn drop_due(
        &mut self,
        manager: &ConnectionManager,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut dropped = 0;
        while dropped < limit && !self.due.is_empty() {
            let count = self.due.len().min(limit - dropped).min(PIPELINE_SIZE);
            let due = self.due.split_off(self.due.len() - count);
            let purge = |(name, _): &(String, u64)| {
                let args = vec![ScriptArg::Number(margin_ms())];
                let call = ScriptCall { name: name.clone(), args, tracking: false };
                call.command(&SCRIPTS.purge, Effect::Write, true)
            };
            let purges: Vec<Cmd> = due.iter().map(purge).collect();
            let replies = manager.call_each(&purges, Effect::Write).await?;
            for ((_, at), reply) in due.into_iter().zip(replies) {
                match parse_reply(reply) {
                    Some(reply) if reply.status == DONE => dropped += 1,
                    // The record is not due by the server's own clock.
                    _ => self.next = self.next.min(at),
                }
            }
        }
        Ok(dropped)
    }
}

fn pexpiretime(name: &str) -> Cmd {
    let mut command = cmd("PEXPIRETIME");
    command.arg(name);
    command
}

fn margin_ms() -> u64 {
    u64::try_from(EXPIRY_MARGIN.as_millis()).unwrap_or(u64::MAX)
}
