//! Probing: runs every command that a store needs once after connecting.
//!
//! Otherwise a server that does not execute scripts, or not for this user, would grant leases and
//! fail only when they are to be completed.

use lessor_core::StoreError;
use redis::{Cmd, RedisError, Value, cmd};

use super::context::ConnectionContext;
use crate::protocol::errors::{Effect, classify, client_cause, is_denied};
use crate::protocol::script_call::{ScriptArg, ScriptCall};
use crate::protocol::scripts::SCRIPTS;
use crate::transport::connection::Connection;

/// The lifetime of the probe's record, in ms, in case that the probe does not get to delete it.
const LIFETIME_MS: u64 = 60_000;
/// The number of names that are tried until one is in a slot of a cluster's node.
const MAX_NAMES: u64 = 100_000;

/// Writes, changes, reads and deletes a record under a name that no key has. Only replies that the
/// user may not run a command, or that the server does not know it, are errors: the server may be
/// full, or a replica that the settings allow.
pub(crate) async fn probe(
    context: &ConnectionContext,
    endpoint: &str,
    connection: &mut Connection,
    owns_name: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let number = context.next_generation();
    let unique =
        format!("{}:\u{1}{}-{}-{number}", context.settings.prefix, std::process::id(), context.clock.local());
    let Some(name) = (0..MAX_NAMES).map(|count| format!("{unique}-{count}")).find(|name| owns_name(name))
    else {
        return Ok(());
    };
    let steps = steps(&name, context.clock.now().as_micros() / 1_000 + LIFETIME_MS);
    let commands: Vec<&Cmd> = steps.iter().map(|(_, command)| command).collect();
    let replies = connection.pipeline(&commands, || {}).await.map_err(|error| {
        StoreError::Unavailable(client_cause(format_args!("the connection to {endpoint} failed"), &error))
    })?;
    for ((name, _), reply) in steps.iter().zip(replies) {
        if let Some(error) = error_of(reply).filter(is_denied) {
            return Err(classify(&error, context.request_info(endpoint, name), Effect::Read).error);
        }
    }
    Ok(())
}

fn error_of(reply: Value) -> Option<RedisError> {
    reply.extract_error().err()
}

/// Returns each command with its name for error messages.
fn steps(name: &str, expires_ms: u64) -> Vec<(&'static str, Cmd)> {
    let on_name = |verb: &str| {
        let mut command = cmd(verb);
        command.arg(name);
        command
    };
    let mut set = on_name("SET");
    set.arg("1").arg("NX").arg("GET").arg("PX").arg(LIFETIME_MS);
    let mut scan = cmd("SCAN");
    scan.arg(0).arg("MATCH").arg(name).arg("COUNT").arg(1);
    let script = |args| ScriptCall { name: name.to_owned(), args, tracking: false };
    let swap = |expected: &'static [u8], next: &'static [u8], in_full| {
        let args = vec![ScriptArg::Bytes(expected), ScriptArg::Bytes(next), ScriptArg::Number(expires_ms)];
        script(args).command(&SCRIPTS.swap, Effect::Write, in_full)
    };
    let load = |in_full| script(Vec::new()).command(&SCRIPTS.load, Effect::Read, in_full);
    vec![
        ("SET", set),
        ("GET", on_name("GET")),
        ("PEXPIRETIME", on_name("PEXPIRETIME")),
        ("SCAN", scan),
        ("EVAL", swap(b"1", b"2", true)),
        ("EVALSHA", swap(b"2", b"3", false)),
        ("EVAL_RO", load(true)),
        ("EVALSHA_RO", load(false)),
        ("DEL", on_name("DEL")),
    ]
}
