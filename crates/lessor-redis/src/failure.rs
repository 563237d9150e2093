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

/// Before 7.2, what a script may not do is an error without a code of its own.
fn is_forbidden_to_script(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("The user executing the script"))
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
