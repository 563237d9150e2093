//! The inputs of the table test: records, commands and times.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::data::failure::Failure;
use crate::data::payload::Payload;
use crate::data::record::{GrantEnd, Stage};
use crate::rules::policies::{Backoff, OnFailed, OnLapsed};
use crate::rules::{Acquire, Command, HolderCommand, Resolution};

use super::plain::{HOLDER, NOBODY, OTHER, Plain, RETENTION, SEC, T, TTL, fingerprint, id, sha256_hex};
use super::spec_table::Row;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ask {
    /// The lease id that the caller gives, or `NOBODY`.
    pub(super) id: u8,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Acquire {
        ttl: u64,
        labels: Option<(&'static str, &'static str)>,
        fingerprint: Option<u8>,
        on_failed: OnFailed,
        on_lapsed: OnLapsed,
    },
    Extend(u64),
    Checkpoint(&'static str),
    Complete(&'static str, Option<&'static str>),
    Fail(&'static str, Option<&'static str>),
    /// A failure with a retry.
    FailFor(&'static str, u64),
    Release,
    Abandon,
    Unused,
    Doubt,
    Status,
    Forget {
        force: bool,
    },
    /// With `true` if it is forced.
    ResolveCompleted(&'static str, Option<&'static str>, bool),
    ResolveFailed(&'static str, Option<&'static str>, bool),
    ResolveReleased(bool),
}

impl Ask {
    pub(super) fn row(&self) -> Row {
        match self.what {
            What::Acquire { .. } => Row::Acquire,
            What::Extend(_) => Row::Extend,
            What::Checkpoint(_) => Row::Checkpoint,
            What::Complete(..) => Row::Complete,
            What::Fail(..) | What::FailFor(..) => Row::Fail,
            What::Release => Row::Release,
            What::Abandon => Row::Abandon,
            What::Unused => Row::Unused,
            What::Doubt => Row::Doubt,
            What::Status => Row::Status,
            What::Forget { .. } => Row::Forget,
            What::ResolveCompleted(..) | What::ResolveFailed(..) | What::ResolveReleased(_) => Row::Resolve,
        }
    }

    /// `None` for a status request, which is not a command.
    pub(super) fn command(&self) -> Option<Command> {
        let act = |act| Some(Command::Holder(id(self.id), act));
        let payload = |text: &str| Payload::new(text.as_bytes());
        let resolve = |resolution, force| Some(Command::Resolve { resolution, force });
        match self.what {
            What::Acquire { ttl, labels, fingerprint: asked, on_failed, on_lapsed } => Some(
                Command::Acquire(Acquire::new(id(self.id), Duration::from_micros(ttl)).with(|options| {
                    options.holder = labels.map(|(holder, _)| holder.into());
                    options.metadata = labels.map(|(_, metadata)| metadata.into());
                    options.fingerprint = asked.map(fingerprint);
                    options.on_failed = on_failed;
                    options.on_lapsed = on_lapsed;
                })),
            ),
            What::Extend(ttl) => act(HolderCommand::Extend { ttl: Duration::from_micros(ttl) }),
            What::Checkpoint(bytes) => act(HolderCommand::Checkpoint(payload(bytes))),
            What::Complete(result, word) => {
                act(HolderCommand::Complete(payload(result), word.map(Into::into)))
            }
            What::Fail(code, detail) => act(HolderCommand::Fail(Failure::new(code, detail))),
            What::FailFor(code, wait) => {
                let failure = Failure::new(code, None).retry_after(Duration::from_micros(wait));
                act(HolderCommand::Fail(failure))
            }
            What::Release => act(HolderCommand::Release),
            What::Abandon => act(HolderCommand::Abandon),
            What::Unused => act(HolderCommand::Unused),
            What::Doubt => act(HolderCommand::Doubt),
            What::Status => None,
            What::Forget { force } => Some(Command::Forget { force }),
            What::ResolveCompleted(result, word, force) => {
                resolve(Resolution::Completed(payload(result), word.map(Into::into)), force)
            }
            What::ResolveFailed(code, detail, force) => {
                resolve(Resolution::Failed(Failure::new(code, detail)), force)
            }
            What::ResolveReleased(force) => resolve(Resolution::Released, force),
        }
    }
}

/// Returns records in every state, each with as few and with as many parts as possible.
pub(super) fn records() -> Vec<Option<Plain>> {
    let bare = Plain::granted();
    let rich = Plain::rich();
    let ended = |grant: &Plain, stage, expires: u64, done: Option<u64>, from: u64| Plain {
        stage,
        version: grant.version + 1,
        expires,
        done,
        keep_until: from + RETENTION,
        ..grant.clone()
    };
    let on_time = T + 30 * SEC;
    let late = T + 70 * SEC;
    vec![
        None,
        Some(bare.clone()),
        Some(rich.clone()),
        Some(Plain { expires: T + 1, keep_until: T + 1 + RETENTION, ..bare.clone() }),
        // Retried after a failure.
        Some(Plain { former: Some((GrantEnd::Failed, Some("worker-2"))), ..rich.clone() }),
        // Abandoned: lapsed, with the retention beginning at that time.
        Some(ended(&rich, Stage::InProgress, T + 20 * SEC, None, T + 20 * SEC)),
        // Left in doubt: in time, and after the lease had lapsed.
        Some(Plain { in_doubt: true, ..ended(&bare, Stage::InProgress, T + 20 * SEC, None, T + 20 * SEC) }),
        Some(Plain { in_doubt: true, ..ended(&rich, Stage::InProgress, T + TTL, None, late) }),
        Some(Plain {
            result: Some("\"paid\""),
            ..ended(&bare, Stage::Completed, T + TTL, Some(on_time), on_time)
        }),
        Some(Plain {
            result: Some("\"paid\""),
            word: Some("receipt 7"),
            checkpoint: None,
            ..ended(&rich, Stage::Completed, T + TTL, Some(late), late)
        }),
        // Completed by an operator while the lease was live.
        Some(Plain {
            id: NOBODY,
            result: Some("\"paid\""),
            ..ended(&bare, Stage::Completed, T + TTL, Some(on_time), on_time)
        }),
        Some(Plain { code: Some("declined"), ..ended(&bare, Stage::Failed, T + TTL, Some(T), T) }),
        // With retries: earlier and later than the policies of some callers.
        Some(Plain {
            code: Some("declined"),
            retry_after: Some(4 * SEC),
            ..ended(&bare, Stage::Failed, T + TTL, Some(on_time), on_time)
        }),
        Some(Plain {
            code: Some("declined"),
            detail: Some("card 4242"),
            retry_after: Some(0),
            ..ended(&rich, Stage::Failed, T + TTL, Some(late), late)
        }),
        Some(Plain {
            code: Some("declined"),
            retry_after: Some(u64::MAX >> 11),
            ..ended(&rich, Stage::Failed, T + TTL, Some(late), late)
        }),
        Some(Plain {
            code: Some("declined"),
            detail: Some("card 4242"),
            ..ended(&rich, Stage::Failed, T + TTL, Some(late), late)
        }),
        Some(ended(&bare, Stage::Released, T + TTL, Some(on_time), on_time)),
        Some(Plain {
            former: Some((GrantEnd::Failed, None)),
            ..ended(&rich, Stage::Released, T + TTL, Some(late), late)
        }),
        Some(forgotten(&bare)),
        Some(forgotten(&rich)),
    ]
}

/// Returns a tombstone: the token, and nothing about holders.
pub(crate) fn forgotten(record: &Plain) -> Plain {
    Plain {
        stage: Stage::Forgotten,
        id: NOBODY,
        token: record.token,
        version: record.version + 1,
        attempt: record.attempt,
        first_seen: record.first_seen,
        acquired: record.acquired,
        expires: record.acquired,
        keep_until: record.acquired,
        ..Plain::granted()
    }
}

/// Waits after a failure: none, one that ends within the retention, and one that does not.
const WAITS: [u64; 3] = [0, 10 * SEC, 2 * RETENTION];

/// Returns times before, at and after each change of the record, and far from all changes.
pub(super) fn instants(record: Option<&Plain>) -> BTreeSet<u64> {
    let mut edges = vec![T];
    if let Some(record) = record {
        edges.extend([record.acquired, record.expires, record.keep_until, record.token, record.token + 1]);
        if let Some(done) = record.done {
            edges.push(done);
            edges.extend(WAITS.map(|wait| done + wait));
            // The backoff is exponential, see `policies`.
            edges.push(done + ((3 * SEC) << (record.attempt - 1)).min(8 * SEC));
            edges.extend(record.retry_after.filter(|wait| *wait < RETENTION).map(|wait| done + wait));
        }
    }
    let mut instants: BTreeSet<_> = edges.into_iter().flat_map(|at| [at - 1, at, at + 1]).collect();
    instants.extend([0, T - 3600 * SEC, T + 3650 * 86_400 * SEC]);
    instants
}

/// The wait of the fixed backoff of `policies`.
pub(super) fn fixed_wait(backoff: Backoff) -> u64 {
    let is = |micros: &&u64| Backoff::fixed(Duration::from_micros(**micros)) == backoff;
    *WAITS.iter().find(is).unwrap()
}

fn policies() -> Vec<OnFailed> {
    let wait = |micros| Backoff::fixed(Duration::from_micros(micros));
    let mut policies = vec![OnFailed::Replay];
    policies.extend(WAITS.map(|micros| OnFailed::Retry { max_attempts: 9, backoff: wait(micros) }));
    // The attempts are exhausted before any grant, after the one of the minimal records, and after
    // the three of the full ones. One is left after three.
    policies
        .extend([0, 1, 3, 4].map(|max_attempts| OnFailed::Retry { max_attempts, backoff: Backoff::NONE }));
    let doubling = Backoff::exponential(Duration::from_secs(3), Duration::from_secs(8));
    policies.push(OnFailed::Retry { max_attempts: 9, backoff: doubling });
    policies
}

/// Returns every command by every caller.
pub(super) fn asks() -> Vec<Ask> {
    let mut asks = vec![];
    for id in [HOLDER, OTHER, NOBODY] {
        for fingerprint in [None, Some(1), Some(2)] {
            for on_failed in policies() {
                for on_lapsed in [OnLapsed::TakeOver, OnLapsed::InDoubt, OnLapsed::Reconcile] {
                    for (ttl, labels) in [(TTL, None), (5 * SEC, Some(("worker-9", r#"{"n":9}"#)))] {
                        asks.push(Ask {
                            id,
                            what: What::Acquire { ttl, labels, fingerprint, on_failed, on_lapsed },
                        });
                    }
                }
            }
        }
        let acts = [
            What::Extend(1000),
            What::Extend(TTL),
            What::Extend(86_400 * SEC),
            What::Checkpoint("page 18"),
            What::Checkpoint(""),
            What::Complete("\"paid\"", None),
            What::Complete("\"void\"", None),
            What::Complete("\"paid\"", Some("receipt 7")),
            What::Complete("\"void\"", Some("receipt 7")),
            What::Complete("\"paid\"", Some("receipt 8")),
            What::Complete("\"void\"", Some(paid_in_hex())),
            What::Fail("declined", None),
            What::Fail("declined", Some("card 4243")),
            What::Fail("canceled:by user", None),
            What::FailFor("declined", 3 * SEC),
            What::FailFor("throttled", 3 * SEC),
            What::Release,
            What::Abandon,
            What::Unused,
            What::Doubt,
        ];
        asks.extend(acts.map(|what| Ask { id, what }));
    }
    let by_operators = [What::Status, What::Forget { force: false }, What::Forget { force: true }];
    asks.extend(by_operators.map(|what| Ask { id: NOBODY, what }));
    for force in [false, true] {
        let by_operators = [
            What::ResolveCompleted("\"paid\"", None, force),
            What::ResolveCompleted("\"void\"", Some("receipt 7"), force),
            What::ResolveFailed("declined", Some("card 4242"), force),
            What::ResolveFailed("gone", None, force),
            What::ResolveReleased(force),
        ];
        asks.extend(by_operators.map(|what| Ask { id: NOBODY, what }));
    }
    asks
}

/// Returns the hash of the minimal completed record's result, given by the caller.
fn paid_in_hex() -> &'static str {
    sha256_hex("\"paid\"").leak()
}
