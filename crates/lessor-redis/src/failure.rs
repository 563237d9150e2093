//! What an error of the client or the server says about the write.

use std::io::ErrorKind::{
    BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, OutOfMemory, UnexpectedEof,
};

use lessor_core::StoreError;
use redis::{Arg, Cmd, RedisError};

/// Whether something may have been changed by what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// How a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: StoreError,
    /// The connection is of no more use, or the server behind it is not the right one any more.
    pub(crate) is_broken: bool,
}

pub(crate) const LOADING: &str = "is still loading its data";

/// No answer came.
pub(crate) fn unanswered(effect: Effect, reason: String) -> StoreError {
    match effect {
        Effect::Read => StoreError::Unavailable { reason },
        Effect::Write => StoreError::Indeterminate { reason },
    }
}

/// What can be told of an error that is not the server's: nothing that was sent.
pub(crate) fn kind_of(error: &RedisError) -> String {
    #[cfg(feature = "tls")]
    if let Some(tls) = tls_of(error) {
        return match tls {
            rustls::Error::InvalidCertificate(_) => format!("its certificate is not trusted: {tls}"),
            other => format!("TLS failed: {other}"),
        };
    }
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    if error.is_connection_refusal() {
        return "connection refused".to_owned();
    }
    let Some(failed) = io_error_of(error) else { return error.category().to_owned() };
    match failed.kind() {
        InvalidData => "it says what no Redis server says, or far too much".to_owned(),
        BrokenPipe | ConnectionReset | ConnectionAborted | UnexpectedEof => {
            "the server closed it; its `maxclients` or its `timeout` may be the reason".to_owned()
        }
        _ => failed.to_string(),
    }
}

fn io_error_of(error: &RedisError) -> Option<&std::io::Error> {
    use std::error::Error;
    use std::sync::Arc;
    // What the client hands out as the source is the pointer to it.
    error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref()
}

#[cfg(feature = "tls")]
fn tls_of(error: &RedisError) -> Option<&rustls::Error> {
    io_error_of(error)?.get_ref()?.downcast_ref()
}

/// Whose answer it is, and to what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Host and port.
    pub(crate) place: &'a str,
    /// Who the store has logged in as.
    pub(crate) user: &'a str,
    pub(crate) command: &'a str,
}

/// The name of a command, without anything that belongs to a key.
pub(crate) fn name_of(command: &Cmd) -> String {
    let name = |at| match command.args_iter().nth(at) {
        Some(Arg::Simple(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    match name(0) {
        first if ["CLUSTER", "CLIENT", "CONFIG"].contains(&&*first) => format!("{first} {}", name(1)),
        first => first,
    }
}

/// How much of what a server says an error repeats, in characters.
const WORDS: usize = 200;

/// What the server said. The beginnings of arguments, which servers repeat of commands that they do not know, are left out.
fn words_of(error: &RedisError) -> String {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let detail = detail.split("with args beginning with").next().unwrap_or_default();
    let words = format!("{code} {detail}");
    let words = words.trim().trim_end_matches(',').chars().take(WORDS);
    words.map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Whether the server will never carry the command out for this user.
pub(crate) fn is_denied(error: &RedisError) -> bool {
    // What a script may not do is an error without a code of its own before 7.2, and in Valkey.
    const TEXTS: [&str; 3] = ["The user executing the script", "ACL failure in script", "unknown command"];
    error.code() == Some("NOPERM")
        || error.detail().is_some_and(|detail| TEXTS.iter().any(|text| detail.contains(text)))
}

/// The server answered with an error, or the connection broke. An error that the server answers with has changed nothing: it comes before a
/// command is carried out, and no script writes before something that can fail.
pub(crate) fn judge(error: &RedisError, asked: Asked<'_>, effect: Effect) -> Failure {
    let Asked { place, user, command } = asked;
    if io_error_of(error).is_some_and(|error| error.kind() == OutOfMemory) {
        let reason = format!(
            "there is no room for what {place} answered to {command}: answers that nobody takes have 64 MiB"
        );
        return Failure { error: unanswered(effect, reason), is_broken: false };
    }
    let Some(code) = error.code() else {
        let reason = format!("the connection to {place} failed at {command}: {}", kind_of(error));
        return Failure { error: unanswered(effect, reason), is_broken: true };
    };
    let words = words_of(error);
    let unavailable = |what: &str| StoreError::Unavailable { reason: format!("{place} {what} ({words})") };
    let misconfigured =
        |what: &str| StoreError::Misconfigured { reason: format!("{place} {what} ({words})") };
    match code {
        "OOM" => {
            let reason =
                format!("{place} has used its `maxmemory` up; raise it, or shorten the retention of results");
            Failure { error: StoreError::Full { reason }, is_broken: false }
        }
        // A fail-over made the server a replica, or this one never was anything else.
        "READONLY" => Failure { error: unavailable("is a replica and takes no writes"), is_broken: true },
        "NOAUTH" | "WRONGPASS" => {
            Failure { error: misconfigured("refuses the user or the password"), is_broken: true }
        }
        _ if words.contains("unknown command") => {
            let what = format!(
                "does not know {command}, which a store needs; see the documentation of lessor-redis"
            );
            Failure { error: misconfigured(&what), is_broken: false }
        }
        _ if is_denied(error) => {
            let what = format!(
                "does not permit the user {user} what a store needs, here {command}; see the documentation of lessor-redis"
            );
            Failure { error: misconfigured(&what), is_broken: false }
        }
        _ if words.contains("max number of clients") => Failure {
            error: unavailable("takes no more connections; raise its `maxclients`, or open fewer stores"),
            is_broken: true,
        },
        "MISCONF" => Failure {
            error: unavailable("takes no writes because it cannot save them to its disk"),
            is_broken: false,
        },
        // The connection is made anew once the server is ready, and that is when waiters look again.
        "LOADING" => Failure { error: unavailable(LOADING), is_broken: true },
        "CLUSTERDOWN" => {
            Failure { error: unavailable("is part of a cluster that is down"), is_broken: false }
        }
        "MOVED" | "ASK" => Failure {
            error: misconfigured("is a node of a cluster; write `redis+cluster://` before its host"),
            is_broken: false,
        },
        "NOREPLICAS" => {
            Failure { error: unavailable("has fewer replicas than it needs for a write"), is_broken: false }
        }
        _ => Failure { error: unavailable(&format!("answered {command} with an error")), is_broken: false },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io;

    use super::*;

    const ASKED: Asked<'_> = Asked { place: "host:1", user: "somebody", command: "EVALSHA" };

    fn said(line: &str) -> Failure {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        judge(&answer.extract_error().unwrap_err(), ASKED, Effect::Write)
    }

    /// A server that refuses has changed nothing, so the caller need not look.
    #[test]
    fn what_a_server_refuses_is_no_doubt_and_says_where_and_what_to_do() {
        for (line, part, is_broken) in [
            (
                "READONLY You can't write against a read only replica.",
                "is a replica and takes no writes",
                true,
            ),
            ("LOADING Redis is loading the dataset in memory", LOADING, true),
            ("MISCONF Redis is configured to save RDB snapshots", "cannot save", false),
            ("CLUSTERDOWN The cluster is down", "is down", false),
            ("NOREPLICAS Not enough good replicas to write.", "fewer replicas", false),
            ("BUSY Redis is busy running a script.", "EVALSHA with an error (BUSY Redis is busy", false),
            ("ERR max number of clients reached", "maxclients", true),
        ] {
            let Failure { error, is_broken: broken } = said(line);
            assert!(matches!(&error, StoreError::Unavailable { .. }), "{line}: {error:?}");
            let error = error.to_string();
            assert!(error.contains("host:1") && error.contains(part), "{line}: {error}");
            assert_eq!(broken, is_broken, "{line}");
        }
        for (line, part) in [
            ("NOAUTH Authentication required.", "refuses the user or the password"),
            ("WRONGPASS invalid username-password pair", "refuses the user or the password"),
            ("NOPERM User l has no permissions to run the 'get' command", "the user somebody"),
            ("NOPERM User l has no permissions to run the 'get' command", "run the 'get' command"),
            ("ERR The user executing the script can't run this command", "EVALSHA"),
            ("ERR ACL failure in script: User l has no permissions", "EVALSHA"),
            ("ERR unknown command 'EVALSHA', with args beginning with: 'a secret'", "does not know EVALSHA"),
            ("MOVED 3999 127.0.0.1:6381", "redis+cluster://"),
        ] {
            let Failure { error, .. } = said(line);
            assert!(matches!(&error, StoreError::Misconfigured { .. }), "{line}: {error:?}");
            let error = error.to_string();
            assert!(error.contains("host:1") && error.contains(part), "{line}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let full = said("OOM command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full.error, StoreError::Full { .. }) && !full.is_broken, "{full:?}");
    }

    #[test]
    fn a_connection_that_broke_leaves_a_write_in_doubt_and_a_read_not() {
        let broken = || RedisError::from(io::Error::from(BrokenPipe));
        let write = judge(&broken(), ASKED, Effect::Write);
        assert!(matches!(write.error, StoreError::Indeterminate { .. }) && write.is_broken, "{write:?}");
        let read = judge(&broken(), ASKED, Effect::Read);
        assert!(matches!(read.error, StoreError::Unavailable { .. }) && read.is_broken, "{read:?}");
    }
}
