//! Error replies and broken connections, translated into store errors.

use std::error::Error;
use std::io::ErrorKind::{
    BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, InvalidData, NetworkUnreachable,
    OutOfMemory, UnexpectedEof,
};
use std::sync::Arc;
use std::{fmt, io};

use lessor_core::{Cause, StoreError};
use redis::{Arg, Cmd, RedisError};

/// The kind of a request: a write may have changed something when its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// The failure of one request.
#[derive(Debug)]
pub(crate) struct RequestFailure {
    pub(crate) error: StoreError,
    /// True if the connection is broken, or if the server behind it is no longer the right one.
    pub(crate) breaks_connection: bool,
}

pub(crate) const LOADING: &str = "is still loading its data";

/// Returns the error for a request that was sent and received no reply.
pub(crate) fn no_reply(effect: Effect, cause: Cause) -> StoreError {
    match effect {
        Effect::Read => StoreError::Unavailable(cause),
        Effect::Write => StoreError::Indeterminate(cause),
    }
}

/// Returns the error for a request that received no reply in time.
pub(crate) fn timed_out(endpoint: impl fmt::Display) -> StoreError {
    StoreError::unavailable(format!("{endpoint} did not reply in time"))
}

/// Returns the cause for an error of the client side, whose reason begins with `failed`. The source is the error of the operating
/// system or of TLS, if there is one. Other errors of the client library can contain what was sent or received, so they are
/// described instead.
pub(crate) fn client_cause(failed: fmt::Arguments<'_>, error: &RedisError) -> Cause {
    let cause = Cause::new(format!("{failed}: {}", describe(error)));
    match source_of(error) {
        Some(source) if io_error_of(error).is_some() => cause.with_shared_source(source),
        _ => cause,
    }
}

/// Returns a cause with the whole text of an error as its reason, and with the error's source.
pub(crate) fn cause_of(error: &StoreError) -> Cause {
    let text = error.to_string();
    match error.cause() {
        Some(cause) => cause.clone().map_reason(|_| text),
        None => Cause::new(text),
    }
}

/// Describes an error of the client side without the text of its source.
fn describe(error: &RedisError) -> &str {
    #[cfg(feature = "tls")]
    if let Some(tls) = tls_of(error) {
        return match tls {
            rustls::Error::InvalidCertificate(_) => "its certificate is not trusted",
            _ => "TLS failed",
        };
    }
    if error.is_timeout() {
        return "it did not reply in time";
    }
    if error.is_connection_refusal() {
        return "connection refused";
    }
    let Some(failed) = io_error_of(error) else { return error.category() };
    match failed.kind() {
        InvalidData => "its reply is not valid RESP, or too large",
        BrokenPipe | ConnectionReset | ConnectionAborted | UnexpectedEof => {
            "the server closed the connection; check its `maxclients` and its `timeout`"
        }
        HostUnreachable | NetworkUnreachable => "the network does not reach the host",
        _ if failed.to_string().contains("lookup address") => "the host's name could not be resolved",
        _ => "the operating system reports an error",
    }
}

fn source_of(error: &RedisError) -> Option<Arc<dyn Error + Send + Sync>> {
    // The client library returns the `Arc` itself as the source.
    error.source()?.downcast_ref().map(Arc::clone)
}

fn io_error_of(error: &RedisError) -> Option<&io::Error> {
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}

#[cfg(feature = "tls")]
fn tls_of(error: &RedisError) -> Option<&rustls::Error> {
    io_error_of(error)?.get_ref()?.downcast_ref()
}

/// A request as error messages describe it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestInfo<'a> {
    /// The server's host and port.
    pub(crate) endpoint: &'a str,
    /// The user that the store is authenticated as.
    pub(crate) user: &'a str,
    pub(crate) command: &'a str,
}

/// Returns the name of a command, without any of its arguments.
pub(crate) fn command_name(command: &Cmd) -> String {
    let name = |at| match command.args_iter().nth(at) {
        Some(Arg::Simple(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    match name(0) {
        first if ["CLUSTER", "CLIENT", "CONFIG"].contains(&&*first) => format!("{first} {}", name(1)),
        first => first,
    }
}

/// The length to which a server's message is shortened, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

/// Returns the server's message. Servers quote the arguments of unknown commands; these are
/// removed.
fn server_message(error: &RedisError) -> String {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let detail = detail.split("with args beginning with").next().unwrap_or_default();
    let message = format!("{code} {detail}");
    let message = message.trim().trim_end_matches(',').chars().take(MAX_MESSAGE_CHARS);
    message.map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Returns whether the server will never execute the command for this user.
pub(crate) fn is_denied(error: &RedisError) -> bool {
    // Before Redis 7.2, and in Valkey, a denied command in a script returns an error without a
    // code.
    const TEXTS: [&str; 3] = ["The user executing the script", "ACL failure in script", "unknown command"];
    error.code() == Some("NOPERM")
        || error.detail().is_some_and(|detail| TEXTS.iter().any(|text| detail.contains(text)))
}

/// Classifies an error reply or a broken connection.
///
/// An error reply means that nothing was changed. Servers check a command before they execute it,
/// and no script runs a command that can fail after a write.
pub(crate) fn classify(error: &RedisError, request: RequestInfo<'_>, effect: Effect) -> RequestFailure {
    let RequestInfo { endpoint, user, command } = request;
    if io_error_of(error).is_some_and(|error| error.kind() == OutOfMemory) {
        let reason = format!(
            "the reply of {endpoint} to {command} was discarded: replies that were not read yet take 64 MiB already"
        );
        return RequestFailure { error: no_reply(effect, Cause::new(reason)), breaks_connection: false };
    }
    let Some(code) = error.code() else {
        let cause = client_cause(format_args!("the connection to {endpoint} failed at {command}"), error);
        return RequestFailure { error: no_reply(effect, cause), breaks_connection: true };
    };
    let message = server_message(error);
    let unavailable = |what: &str| StoreError::unavailable(format!("{endpoint} {what} ({message})"));
    let misconfigured = |what: &str| StoreError::misconfigured(format!("{endpoint} {what} ({message})"));
    match code {
        "OOM" => {
            let reason = format!(
                "{endpoint} has reached its `maxmemory`; raise it, or shorten the retention of results"
            );
            RequestFailure { error: StoreError::full(reason), breaks_connection: false }
        }
        // The server became a replica in a failover, or has always been one.
        "READONLY" => {
            RequestFailure { error: unavailable("is a replica and rejects writes"), breaks_connection: true }
        }
        "NOAUTH" | "WRONGPASS" => RequestFailure {
            error: misconfigured("rejects the user or the password"),
            breaks_connection: true,
        },
        _ if message.contains("unknown command") => {
            let what = format!(
                "does not support {command}, which the store needs; see the documentation of lessor-redis"
            );
            RequestFailure { error: misconfigured(&what), breaks_connection: false }
        }
        _ if is_denied(error) => {
            let what = format!(
                "does not permit the user {user} to run {command}, which the store needs; see the documentation of lessor-redis"
            );
            RequestFailure { error: misconfigured(&what), breaks_connection: false }
        }
        _ if message.contains("max number of clients") => RequestFailure {
            error: unavailable("accepts no more connections; raise its `maxclients`, or open fewer stores"),
            breaks_connection: true,
        },
        "MISCONF" => RequestFailure {
            error: unavailable("rejects writes because it cannot save them to its disk"),
            breaks_connection: false,
        },
        // Reconnecting succeeds once the server is ready, and reconnecting makes waiters read
        // again.
        "LOADING" => RequestFailure { error: unavailable(LOADING), breaks_connection: true },
        "CLUSTERDOWN" => RequestFailure {
            error: unavailable("is part of a cluster that is down"),
            breaks_connection: false,
        },
        "MOVED" | "ASK" => RequestFailure {
            error: misconfigured("is a node of a cluster; write `redis+cluster://` before its host"),
            breaks_connection: false,
        },
        "NOREPLICAS" => RequestFailure {
            error: unavailable("has fewer replicas than its `min-replicas-to-write`"),
            breaks_connection: false,
        },
        _ => RequestFailure {
            error: unavailable(&format!("replied to {command} with an error")),
            breaks_connection: false,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const REQUEST: RequestInfo<'_> = RequestInfo { endpoint: "host:1", user: "somebody", command: "EVALSHA" };

    fn classified(line: &str) -> RequestFailure {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        classify(&reply.extract_error().unwrap_err(), REQUEST, Effect::Write)
    }

    /// An error reply means that nothing was changed, so the engine need not read the record.
    #[test]
    fn an_error_reply_is_never_indeterminate_and_names_the_server_and_the_remedy() {
        for (line, part, breaks_connection) in [
            (
                "READONLY You can't write against a read only replica.",
                "is a replica and rejects writes",
                true,
            ),
            ("LOADING Redis is loading the dataset in memory", LOADING, true),
            ("MISCONF Redis is configured to save RDB snapshots", "cannot save", false),
            ("CLUSTERDOWN The cluster is down", "is down", false),
            ("NOREPLICAS Not enough good replicas to write.", "fewer replicas", false),
            ("BUSY Redis is busy running a script.", "EVALSHA with an error (BUSY Redis is busy", false),
            ("ERR max number of clients reached", "maxclients", true),
        ] {
            let RequestFailure { error, breaks_connection: broken } = classified(line);
            assert!(matches!(&error, StoreError::Unavailable(_)), "{line}: {error:?}");
            let error = error.to_string();
            assert!(error.contains("host:1") && error.contains(part), "{line}: {error}");
            assert_eq!(broken, breaks_connection, "{line}");
        }
        for (line, part) in [
            ("NOAUTH Authentication required.", "rejects the user or the password"),
            ("WRONGPASS invalid username-password pair", "rejects the user or the password"),
            ("NOPERM User l has no permissions to run the 'get' command", "the user somebody"),
            ("NOPERM User l has no permissions to run the 'get' command", "run the 'get' command"),
            ("ERR The user executing the script can't run this command", "EVALSHA"),
            ("ERR ACL failure in script: User l has no permissions", "EVALSHA"),
            (
                "ERR unknown command 'EVALSHA', with args beginning with: 'a secret'",
                "does not support EVALSHA",
            ),
            ("MOVED 3999 127.0.0.1:6381", "redis+cluster://"),
        ] {
            let RequestFailure { error, .. } = classified(line);
            assert!(matches!(&error, StoreError::Misconfigured(_)), "{line}: {error:?}");
            let error = error.to_string();
            assert!(error.contains("host:1") && error.contains(part), "{line}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let full = classified("OOM command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full.error, StoreError::Full(_)) && !full.breaks_connection, "{full:?}");
    }

    #[test]
    fn a_broken_connection_makes_a_write_indeterminate_but_not_a_read() {
        let broken = || RedisError::from(io::Error::from(BrokenPipe));
        let write = classify(&broken(), REQUEST, Effect::Write);
        assert!(matches!(write.error, StoreError::Indeterminate(_)) && write.breaks_connection, "{write:?}");
        let read = classify(&broken(), REQUEST, Effect::Read);
        assert!(matches!(read.error, StoreError::Unavailable(_)) && read.breaks_connection, "{read:?}");
    }

    #[test]
    fn the_error_of_the_operating_system_is_the_source_and_is_shown_once() {
        let too_many = io::Error::from_raw_os_error(24);
        let text = too_many.to_string();
        let error = classify(&too_many.into(), REQUEST, Effect::Write).error;
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(24), "{error:?}");
        assert!(!error.to_string().contains(&text), "{error}");
        assert!(format!("{error:#}").ends_with(&text), "{error:#}");
    }

    #[test]
    fn p11_an_error_of_the_client_library_that_may_quote_data_is_not_a_source() {
        let quoted =
            RedisError::from((redis::ErrorKind::UnexpectedReturnType, "type", "a secret".to_owned()));
        let reply =
            redis::parse_redis_value(b"-ERR unknown command 'SET', with args beginning with: 'a secret'\r\n");
        for error in [quoted, reply.unwrap().extract_error().unwrap_err()] {
            let error = classify(&error, REQUEST, Effect::Write).error;
            assert!(error.source().is_none(), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
