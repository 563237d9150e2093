//! Making a connection, and looking at what is behind it.

use std::sync::Arc;

use lessor_core::{StoreError, Timestamp};
use redis::{Client, Cmd, ConnectionInfo, PushInfo, RedisConnectionInfo, RedisError, Value, cmd};

use crate::clock::ServerClock;
use crate::failure::{Asked, Effect, LOADING, is_denied, judge, kind_of};
use crate::link::Link;
use crate::settings::{Check, Settings};
use crate::wire::Wire;

/// `SET … NX GET` is as old as this.
const OLDEST: (u32, u32) = (7, 0);

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Its version, such as `7.2.4`; that of the Redis that it stands for, if it is Valkey.
    pub version: String,
    /// Drawn anew whenever the server is started. In a cluster, that of one of its nodes.
    pub run_id: String,
    /// Whether it writes an append-only file.
    pub appendonly: bool,
    /// When it syncs that file: `always`, `everysec` or `no`; `None` if the store's user may not ask.
    pub appendfsync: Option<String>,
    /// Whether there is a limit on its memory.
    pub is_bounded: bool,
    /// What it does when its memory is used up.
    pub maxmemory_policy: String,
    /// `master` or `slave`.
    pub role: String,
}

/// What an error means before anything was sent.
pub(crate) fn failed(error: &RedisError, asked: Asked<'_>) -> StoreError {
    let place = asked.place;
    if error.code().is_some() {
        return judge(error, asked, Effect::Read).error;
    }
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        let reason = format!("{place} refuses the user or the password");
        return StoreError::Misconfigured { reason };
    }
    StoreError::Unavailable { reason: format!("no connection to {place}: {}", kind_of(error)) }
}

impl Link {
    /// Whom a command is for.
    pub(crate) fn asked<'a>(&'a self, place: &'a str, command: &'a str) -> Asked<'a> {
        Asked { place, user: &self.address.user, command }
    }
}

/// Connects and logs in, without a look at what is there. `lost` is called when the connection is closed.
pub(crate) async fn connect(
    link: &Link,
    node: ConnectionInfo,
    place: &str,
    lost: impl Fn() + Send + Sync + 'static,
) -> Result<Wire, StoreError> {
    let listeners = Arc::clone(&link.listeners);
    let login = node.redis_settings().clone();
    #[cfg(feature = "tls")]
    let client = match &link.certificates {
        Some(certificates) => Client::build_with_tls(node, certificates.clone()),
        None => Client::open(node),
    };
    #[cfg(not(feature = "tls"))]
    let client = Client::open(node);
    let failed = |error: RedisError| match error.to_string().contains("switch database") {
        true => no_database(place, login.db(), "the server does not say why"),
        false => failed(&error, link.asked(place, "HELLO")),
    };
    let hear = move |said: &PushInfo| listeners.hear(said);
    let runtime = link.runtime.clone();
    let wire = Wire::connect(
        client.map_err(failed)?,
        link.settings.deadline,
        runtime,
        link.notifier.clone(),
        hear,
        lost,
    )
    .await;
    let mut wire = wire.map_err(failed)?;
    if wire.is_logged_in() {
        return Ok(wire);
    }
    log_in(link, place, &login, &mut wire).await?;
    Ok(wire)
}

fn no_database(place: &str, number: i64, words: &str) -> StoreError {
    let reason = format!(
        "{place} has no database {number} ({words}); name one that it has at the end of the URL, or raise its setting `databases`. A \
         cluster has database 0 only"
    );
    StoreError::Misconfigured { reason }
}

/// What the client library does where the connection is its own.
async fn log_in(
    link: &Link,
    place: &str,
    login: &RedisConnectionInfo,
    wire: &mut Wire,
) -> Result<(), StoreError> {
    let mut hello = cmd("HELLO");
    hello.arg(3);
    if let Some(password) = login.password() {
        hello.arg("AUTH").arg(login.username().unwrap_or("default")).arg(password);
    }
    send(wire, &hello).await.map_err(|error| failed(&error, link.asked(place, "HELLO")))?;
    if login.db() != 0 {
        let selected = send(wire, cmd("SELECT").arg(login.db())).await;
        selected.map_err(|error| match error.code() {
            Some("ERR") if !is_denied(&error) => {
                no_database(place, login.db(), error.detail().unwrap_or_default())
            }
            _ => failed(&error, link.asked(place, "SELECT")),
        })?;
    }
    Ok(())
}

/// Asks for the server's time.
pub(crate) async fn sample(clock: &ServerClock, id: u64, wire: &mut Wire) -> Result<(), RedisError> {
    let sent = clock.local();
    let answer = send(wire, &cmd("TIME")).await?;
    if let Value::Array(parts) = &answer
        && let Some(server) = time_of(parts)
    {
        clock.sample(id, sent, server);
    }
    Ok(())
}

/// Seconds and microseconds.
pub(crate) fn time_of(parts: &[Value]) -> Option<Timestamp> {
    let mut numbers = parts.iter().map(number_of);
    let (seconds, micros) = (numbers.next()??, numbers.next()??);
    Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?)
}

fn number_of(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

async fn send(wire: &mut Wire, command: &Cmd) -> Result<Value, RedisError> {
    wire.send(&[command], || {}).await
}

/// What the server says of itself.
pub(crate) async fn look(link: &Link, place: &str, wire: &mut Wire) -> Result<Server, StoreError> {
    let failed = |error: RedisError| judge(&error, link.asked(place, "INFO"), Effect::Read).error;
    let mut ask = cmd("INFO");
    ask.arg("server").arg("replication").arg("memory").arg("persistence");
    let info = text_of(send(wire, &ask).await.map_err(failed)?);
    let field = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    };
    if field("loading") == "1" {
        return Err(StoreError::Unavailable { reason: format!("{place} {LOADING}") });
    }
    // Only an administrator may ask for that on many servers.
    let appendfsync = send(wire, cmd("CONFIG").arg("GET").arg("appendfsync")).await.ok().and_then(second_of);
    let server = Server {
        version: field("redis_version"),
        run_id: field("run_id"),
        appendonly: field("aof_enabled") == "1",
        appendfsync,
        is_bounded: field("maxmemory") != "0",
        maxmemory_policy: field("maxmemory_policy"),
        role: field("role"),
    };
    Ok(server)
}

/// Whether the server is fit for a store. What is as it was `before` is not warned of again.
pub(crate) fn check(
    settings: &Settings,
    place: &str,
    server: &Server,
    before: Option<&Server>,
) -> Result<(), StoreError> {
    let mut numbers = server.version.split('.').map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        let reason = format!("{place} is Redis {}; 7.0 or later is needed, or Valkey", server.version);
        return Err(StoreError::Incompatible { reason });
    }
    let fsync = server.appendfsync.as_deref();
    let is_synced = server.appendonly && fsync.is_none_or(|fsync| fsync == "always");
    let is_kept = !server.is_bounded || server.maxmemory_policy == "noeviction";
    for (check, is_fine, is_lasting, problem) in [
        // A fail-over may be under way.
        (
            settings.role,
            server.role == "master",
            false,
            "is a replica and takes no writes; connect to its master",
        ),
        (
            settings.eviction,
            is_kept,
            true,
            "evicts records when its memory is used up, and their work would run again; set maxmemory-policy to noeviction",
        ),
        (
            settings.persistence,
            is_synced,
            true,
            "may lose acknowledged writes when it crashes; set appendonly to yes and appendfsync to always",
        ),
    ] {
        match check {
            Check::Require if !is_fine => {
                let reason = format!("{place} {problem}");
                return Err(match is_lasting {
                    true => StoreError::Misconfigured { reason },
                    false => StoreError::Unavailable { reason },
                });
            }
            Check::Warn if !is_fine && before != Some(server) => tracing::warn!("{place} {problem}"),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn text_of(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
        _ => String::new(),
    }
}

/// The value of the only setting that was asked for.
fn second_of(value: Value) -> Option<String> {
    let found = match value {
        Value::Map(mut pairs) if !pairs.is_empty() => pairs.swap_remove(0).1,
        Value::Array(mut both) if both.len() == 2 => both.swap_remove(1),
        _ => return None,
    };
    Some(text_of(found))
}

/// Has the server tell of changes to what is loaded from now on. Says whether it will.
///
/// That includes changes that this connection makes: each ends the tracking of its key, and who waits has to load the key again.
pub(crate) async fn track(place: &str, wire: &mut Wire) -> bool {
    let mut tracking: Cmd = cmd("CLIENT");
    tracking.arg("TRACKING").arg("ON").arg("OPTIN");
    let mut told = send(wire, &tracking).await;
    if told.is_ok() {
        // What each load will ask for, and whose refusal would go unnoticed there.
        told = send(wire, cmd("CLIENT").arg("CACHING").arg("YES")).await;
    }
    match told {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(
                place,
                reason = error.category(),
                "the server does not tell of changes; waiters look every so often"
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    /// `SET … NX GET` is an error before 7.0. Valkey says which Redis it stands for.
    #[test]
    fn a_server_that_is_too_old_is_incompatible_and_told_by_its_version() {
        let told = |version: &str| {
            let server = Server {
                version: version.to_owned(),
                run_id: "id".to_owned(),
                appendonly: true,
                appendfsync: Some("always".to_owned()),
                is_bounded: false,
                maxmemory_policy: "noeviction".to_owned(),
                role: "master".to_owned(),
            };
            check(&Settings::default(), "host:1", &server, None)
        };
        for version in ["7.0.0", "7.2.4", "8.0.1", "10.1.0"] {
            assert!(told(version).is_ok(), "{version}");
        }
        for version in ["6.2.14", "6.9.240", "2.8", ""] {
            match told(version) {
                Err(StoreError::Incompatible { reason }) => {
                    assert!(reason.contains("host:1") && reason.contains("7.0"), "{reason}");
                }
                other => panic!("{version}: {other:?}"),
            }
        }
    }
}
