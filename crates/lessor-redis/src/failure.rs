//! What an error of the client or the server says about the write.

use lessor_core::StoreError;
use redis::RedisError;

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
    let kind = match error {
        _ if error.is_timeout() => "it did not answer in time",
        _ if error.is_connection_refusal() => "connection refused",
        _ => error.category(),
    };
    kind.to_owned()
}

#[cfg(feature = "tls")]
fn tls_of(error: &RedisError) -> Option<&rustls::Error> {
    use std::error::Error;
    use std::sync::Arc;
    // What the client hands out as the source is the pointer to it.
    let source = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    source.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

/// What a script may not do is an error without a code of its own before 7.2, and in Valkey.
fn is_forbidden_to_script(error: &RedisError) -> bool {
    const TEXTS: [&str; 2] = ["The user executing the script", "ACL failure in script"];
    error.detail().is_some_and(|detail| TEXTS.iter().any(|text| detail.contains(text)))
}

/// The server answered with an error, or the connection broke. An error that the server answers with has changed nothing: it comes before a
/// command is carried out, and no script writes before something that can fail.
pub(crate) fn judge(error: &RedisError, place: &str, effect: Effect) -> Failure {
    let Some(code) = error.code() else {
        let reason = format!("the connection to {place} failed: {}", kind_of(error));
        return Failure { error: unanswered(effect, reason), is_broken: true };
    };
    let unavailable = |what: &str| StoreError::Unavailable { reason: format!("{place} {what}") };
    match code {
        "OOM" => {
            let reason =
                format!("{place} has used its `maxmemory` up; raise it, or shorten the retention of results");
            Failure { error: StoreError::Full { reason }, is_broken: false }
        }
        // A fail-over made the server a replica, or this one never was anything else.
        "READONLY" => Failure { error: unavailable("is a replica and takes no writes"), is_broken: true },
        "NOAUTH" | "WRONGPASS" => {
            Failure { error: unavailable("refuses the user or the password"), is_broken: true }
        }
        _ if code == "NOPERM" || is_forbidden_to_script(error) => Failure {
            error: unavailable(
                "does not permit its user what a store needs; see the documentation of lessor-redis",
            ),
            is_broken: false,
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
            error: unavailable("is a node of a cluster; write `redis+cluster://` before its host"),
            is_broken: false,
        },
        "NOREPLICAS" => {
            Failure { error: unavailable("has fewer replicas than it needs for a write"), is_broken: false }
        }
        code => Failure { error: unavailable(&format!("answered with an error ({code})")), is_broken: false },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io;

    use super::*;

    fn said(line: &str) -> Failure {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        judge(&answer.extract_error().unwrap_err(), "host:1", Effect::Write)
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
            ("NOAUTH Authentication required.", "refuses the user or the password", true),
            ("WRONGPASS invalid username-password pair", "refuses the user or the password", true),
            ("LOADING Redis is loading the dataset in memory", LOADING, true),
            ("NOPERM User l has no permissions to run the 'get' command", "does not permit", false),
            ("ERR The user executing the script can't run this command", "does not permit", false),
            ("ERR ACL failure in script: User l has no permissions", "does not permit", false),
            ("MISCONF Redis is configured to save RDB snapshots", "cannot save", false),
            ("CLUSTERDOWN The cluster is down", "is down", false),
            ("MOVED 3999 127.0.0.1:6381", "redis+cluster://", false),
            ("NOREPLICAS Not enough good replicas to write.", "fewer replicas", false),
            ("BUSY Redis is busy running a script.", "(BUSY)", false),
        ] {
            let Failure { error, is_broken: broken } = said(line);
            assert!(matches!(&error, StoreError::Unavailable { .. }), "{line}: {error:?}");
            let error = error.to_string();
            assert!(error.contains("host:1") && error.contains(part), "{line}: {error}");
            assert_eq!(broken, is_broken, "{line}");
        }
        let full = said("OOM command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full.error, StoreError::Full { .. }) && !full.is_broken, "{full:?}");
    }

    #[test]
    fn a_connection_that_broke_leaves_a_write_in_doubt_and_a_read_not() {
        let broken = || RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let write = judge(&broken(), "host:1", Effect::Write);
        assert!(matches!(write.error, StoreError::Indeterminate { .. }) && write.is_broken, "{write:?}");
        let read = judge(&broken(), "host:1", Effect::Read);
        assert!(matches!(read.error, StoreError::Unavailable { .. }) && read.is_broken, "{read:?}");
    }
}
