//! Checking a server: its version, its configuration and its clock.

use lessor_core::StoreError;
use redis::{Cmd, RedisError, Value, cmd};

use super::clock::ServerClock;
use super::context::ConnectionContext;
use super::server_info::ServerInfo;
use crate::config::settings::{Check, Settings};
use crate::protocol::errors::{Effect, LOADING, classify};
use crate::protocol::values::{parse_time, text_of};
use crate::transport::connection::Connection;

/// The first version with `SET … NX GET`.
const OLDEST: (u32, u32) = (7, 0);

/// Reads the server's time and adds it to the estimate of clock `id`.
pub(crate) async fn sample_clock(
    clock: &ServerClock,
    id: u64,
    connection: &mut Connection,
) -> Result<(), RedisError> {
    let sent = clock.local();
    let reply = send(connection, &cmd("TIME")).await?;
    if let Value::Array(parts) = &reply
        && let Some(server) = parse_time(parts)
    {
        clock.sample(id, sent, server);
    }
    Ok(())
}

async fn send(connection: &mut Connection, command: &Cmd) -> Result<Value, RedisError> {
    connection.send(&[command], || {}).await
}

/// Reads the server's properties.
pub(crate) async fn inspect(
    context: &ConnectionContext,
    endpoint: &str,
    connection: &mut Connection,
) -> Result<ServerInfo, StoreError> {
    let info_error =
        |error: RedisError| classify(&error, context.request_info(endpoint, "INFO"), Effect::Read).error;
    let mut command = cmd("INFO");
    command.arg("server").arg("replication").arg("memory").arg("persistence");
    let info = text_of(send(connection, &command).await.map_err(info_error)?);
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    };
    if field("loading") == "1" {
        return Err(StoreError::unavailable(format!("{endpoint} {LOADING}")));
    }
    // On many servers, only administrators may run this command.
    let appendfsync =
        send(connection, cmd("CONFIG").arg("GET").arg("appendfsync")).await.ok().and_then(second_of);
    let server = ServerInfo {
        version: field("redis_version"),
        run_id: field("run_id"),
        appendonly: field("aof_enabled") == "1",
        appendfsync,
        has_memory_limit: field("maxmemory") != "0",
        maxmemory_policy: field("maxmemory_policy"),
        role: field("role"),
    };
    Ok(server)
}

/// Checks that the server is suitable. A property that is unchanged since the `previous` check
/// causes no second warning.
pub(crate) fn check_setup(
    settings: &Settings,
    endpoint: &str,
    server: &ServerInfo,
    previous: Option<&ServerInfo>,
) -> Result<(), StoreError> {
    let mut numbers = server.version.split('.').map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        let reason = format!("{endpoint} is Redis {}; use Redis 7.0 or later, or Valkey", server.version);
        return Err(StoreError::incompatible(reason));
    }
    let fsync = server.appendfsync.as_deref();
    let is_synced = server.appendonly && fsync.is_none_or(|fsync| fsync == "always");
    let is_kept = !server.has_memory_limit || server.maxmemory_policy == "noeviction";
    for (check, is_met, is_permanent, problem) in [
        // A failover may be in progress, so the failure is not permanent.
        (
            settings.role,
            server.role == "master",
            false,
            "is a replica and rejects writes; connect to its master",
        ),
        (
            settings.eviction,
            is_kept,
            true,
            "evicts records when its memory is full, and their work would run again; set maxmemory-policy to \
             noeviction",
        ),
        (
            settings.persistence,
            is_synced,
            true,
            "may lose acknowledged writes when it crashes; set appendonly to yes and appendfsync to always",
        ),
    ] {
        match check {
            Check::Require if !is_met => {
                let reason = format!("{endpoint} {problem}");
                return Err(match is_permanent {
                    true => StoreError::misconfigured(reason),
                    false => StoreError::unavailable(reason),
                });
            }
            Check::Warn if !is_met && previous != Some(server) => tracing::warn!("{endpoint} {problem}"),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the value from a reply to `CONFIG GET` of one setting.
fn second_of(value: Value) -> Option<String> {
    let found = match value {
        Value::Map(mut pairs) if !pairs.is_empty() => pairs.swap_remove(0).1,
        Value::Array(mut both) if both.len() == 2 => both.swap_remove(1),
        _ => return None,
    };
    Some(text_of(found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    /// Before 7.0, `SET … NX GET` is an error. Valkey reports the Redis version that it is
    /// compatible with.
    #[test]
    fn a_server_older_than_7_0_is_incompatible() {
        let checked = |version: &str| {
            let server = ServerInfo {
                version: version.to_owned(),
                run_id: "id".to_owned(),
                appendonly: true,
                appendfsync: Some("always".to_owned()),
                has_memory_limit: false,
                maxmemory_policy: "noeviction".to_owned(),
                role: "master".to_owned(),
            };
            check_setup(&Settings::default(), "host:1", &server, None)
        };
        for version in ["7.0.0", "7.2.4", "8.0.1", "10.1.0"] {
            assert!(checked(version).is_ok(), "{version}");
        }
        for version in ["6.2.14", "6.9.240", "2.8", ""] {
            match checked(version) {
                Err(StoreError::Incompatible(cause)) => {
                    let reason = cause.reason();
                    assert!(reason.contains("host:1") && reason.contains("7.0"), "{reason}");
                }
                other => panic!("{version}: {other:?}"),
            }
        }
    }
}
