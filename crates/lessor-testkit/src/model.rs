//! A second implementation of the lease rules, written from the contract, as simple as possible,
//! and independent of the engine's.
//!
//! A [`Model`] is one key. It applies an [`Op`] at a given time and returns the expected answer.

use std::time::Duration;

use lessor_core::{EndedBy, GrantEnd, HistoryKind, LeaseId, OnFailed, OnLapsed, State, Timestamp};
use sha2::{Digest, Sha256};

use crate::chronicle::{Chronicle, Item};

/// An operation on one key, with its arguments.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Op {
    Acquire(AcquireArgs),
    Extend {
        id: LeaseId,
        ttl: Duration,
    },
    Checkpoint {
        id: LeaseId,
        bytes: Vec<u8>,
    },
    Complete {
        id: LeaseId,
        result: Vec<u8>,
        hash: Option<String>,
    },
    Fail {
        id: LeaseId,
        code: String,
        detail: Option<String>,
    },
    /// A failure that every caller may retry after the wait.
    FailFor {
        id: LeaseId,
        code: String,
        wait: Duration,
    },
    Release {
        id: LeaseId,
    },
    Abandon {
        id: LeaseId,
    },
    LeaveInDoubt {
        id: LeaseId,
    },
    Status,
    Forget {
        force: bool,
    },
    Resolve {
        resolution: Resolution,
        force: bool,
    },
}

/// The arguments of an acquire.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct AcquireArgs {
    pub id: LeaseId,
    pub ttl: Duration,
    pub holder: Option<String>,
    /// The value of the only member `n` of the metadata.
    pub metadata: Option<u8>,
    /// A number that stands for the request.
    pub fingerprint: Option<u8>,
    pub on_failed: OnFailed,
    /// The backoff of the policy after the attempts so far.
    pub backoff: Duration,
    pub on_lapsed: OnLapsed,
}

/// An operator's resolution.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Resolution {
    Completed(u8),
    Failed(String),
    Released,
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Answer {
    Acquired {
        token: u64,
        attempt: u32,
        resent: bool,
        checkpoint: Option<Vec<u8>>,
        former: Option<(GrantEnd, Option<String>)>,
    },
    InProgress(KeyView),
    Completed(KeyView),
    Failed(KeyView),
    InDoubt(KeyView),
    Done {
        version: u64,
        expires_at: Timestamp,
        late: bool,
        repeated: bool,
    },
    Status(Option<KeyView>),
    Forgotten(bool),
    Refused(Refusal),
}

/// The reason for a refusal.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Refusal {
    NotFound,
    NotHolder(u64),
    Lapsed,
    Finished(State),
    Released,
    Busy(Duration),
    FingerprintMismatch,
    LeaseIdReused,
    /// An error that the model does not have, such as one of the store.
    Other(String),
}

/// The state of a key for observers.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub struct KeyView {
    pub state: State,
    pub in_doubt: bool,
    pub version: u64,
    pub attempt: u32,
    pub ttl_left: Option<Duration>,
    pub retry_after: Option<Duration>,
    pub first_seen_at: Timestamp,
    pub done_at: Option<Timestamp>,
    pub result: Option<Vec<u8>>,
    pub result_hash: Option<String>,
    pub error_code: Option<String>,
    pub error_detail: Option<String>,
    pub holder: Option<String>,
    pub metadata: Option<String>,
}

/// The complete state of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    retention: Duration,
    /// The highest token of all grants.
    last_token: Option<u64>,
    record: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    InProgress,
    Completed,
    Failed,
    Released,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    phase: Phase,
    id: LeaseId,
    token: u64,
    version: u64,
    attempt: u32,
    first_seen_at: Timestamp,
    expires_at: Timestamp,
    /// The time of its completion, failure or release.
    ended_at: Timestamp,
    /// True if it ended after the lease had lapsed.
    late: bool,
    holder: Option<String>,
    metadata: Option<u8>,
    fingerprint: Option<u8>,
    checkpoint: Option<Vec<u8>>,
    result: Option<(Vec<u8>, String)>,
    failure: Option<(String, Option<String>)>,
    /// The time from which every caller may retry.
    retry_at: Option<Timestamp>,
    /// The time at which the holder left the key in doubt.
    in_doubt_since: Option<Timestamp>,
    /// True if an operator has superseded the holder.
    overruled: bool,
    former: Option<(GrantEnd, Option<String>)>,
    chronicle: Chronicle,
}

const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);

impl Model {
    /// Returns a key that has never been used, in an engine with this retention.
    #[must_use]
    pub fn new(retention: Duration) -> Self {
        Self { retention, last_token: None, record: None }
    }

    /// Applies `op` at `now`.
    pub fn apply(&mut self, op: &Op, now: Timestamp) -> Answer {
        if self.record.as_ref().is_some_and(|entry| now >= self.kept_until(entry)) {
            self.record = None;
        }
        match op {
            Op::Acquire(ask) => self.acquire(ask, now),
            Op::Status => Answer::Status(self.record.as_ref().map(|entry| entry.shown(now))),
            Op::Forget { force } => self.forget(*force, now),
            Op::Resolve { resolution, force } => self.resolve(resolution, *force, now),
            Op::Extend { id, .. }
            | Op::Checkpoint { id, .. }
            | Op::Complete { id, .. }
            | Op::Fail { id, .. }
            | Op::FailFor { id, .. }
            | Op::Release { id }
            | Op::Abandon { id }
            | Op::LeaveInDoubt { id } => match &mut self.record {
                None => Answer::Refused(Refusal::NotFound),
                Some(entry) if !entry.is_held_by(*id) => Answer::Refused(Refusal::NotHolder(entry.token)),
                Some(entry) => entry.act(op, now),
            },
        }
    }

    /// Returns the entries of the history at `now`.
    pub(crate) fn history(&self, now: Timestamp) -> Vec<Item> {
        let kept = self.record.as_ref().filter(|entry| now < self.kept_until(entry));
        kept.map(|entry| entry.chronicle.items(&entry.ends(now))).unwrap_or_default()
    }

    /// The retention begins at the record's end, or at the end of the lease if there is no outcome,
    /// or when the key was left in doubt.
    fn kept_until(&self, entry: &Entry) -> Timestamp {
        let end = match entry.phase {
            Phase::InProgress => entry.in_doubt_since.unwrap_or(entry.expires_at),
            Phase::Completed | Phase::Failed | Phase::Released => entry.ended_at,
        };
        end.saturating_add(self.retention)
    }

    fn acquire(&mut self, ask: &AcquireArgs, now: Timestamp) -> Answer {
        let Some(entry) = &self.record else { return self.grant(ask, now, None) };
        if let (Some(theirs), Some(ours)) = (ask.fingerprint, entry.fingerprint)
            && theirs != ours
        {
            return Answer::Refused(Refusal::FingerprintMismatch);
        }
        let ended = match entry.phase {
            Phase::InProgress if entry.is_live(now) && entry.is_held_by(ask.id) => {
                return entry.acquired(true);
            }
            Phase::InProgress if entry.is_live(now) => return Answer::InProgress(entry.shown(now)),
            Phase::InProgress if ask.on_lapsed == OnLapsed::InDoubt => {
                return Answer::InDoubt(entry.shown(now));
            }
            Phase::InProgress if entry.in_doubt_since.is_some() && ask.on_lapsed == OnLapsed::TakeOver => {
                return Answer::InDoubt(entry.shown(now));
            }
            Phase::InProgress => GrantEnd::Lapsed,
            Phase::Completed => return Answer::Completed(entry.shown(now)),
            Phase::Failed => {
                let mut shown = entry.shown(now);
                let by_policy = match ask.on_failed {
                    OnFailed::Retry { max_attempts, .. } if entry.attempt < max_attempts => {
                        Some(entry.ended_at.saturating_add(ask.backoff))
                    }
                    _ => None,
                };
                let again_at = match (by_policy, entry.retry_at) {
                    (Some(policy), Some(holder)) => policy.min(holder),
                    (one, other) => match one.or(other) {
                        Some(at) => at,
                        None => return Answer::Failed(shown),
                    },
                };
                if now < again_at {
                    shown.retry_after = Some(again_at.saturating_since(now).min(MAX_RETRY_AFTER));
                    return Answer::Failed(shown);
                }
                GrantEnd::Failed
            }
            Phase::Released => GrantEnd::Released,
        };
        // Each grant has its own lease id.
        if entry.is_held_by(ask.id) {
            return Answer::Refused(Refusal::LeaseIdReused);
        }
        self.grant(ask, now, Some(ended))
    }

    fn grant(&mut self, ask: &AcquireArgs, now: Timestamp, ended: Option<GrantEnd>) -> Answer {
        let before = self.record.take();
        let token = now.as_micros().max(self.last_token.unwrap_or(0) + 1);
        self.last_token = Some(token);
        let attempt = before.as_ref().map_or(1, |entry| entry.attempt + 1);
        let mut chronicle = Chronicle::new(attempt, token, ask.holder.clone(), now);
        if let Some(entry) = &before {
            chronicle = entry.chronicle.clone().followed_by(&entry.ends(now), chronicle);
        }
        let entry = Entry {
            chronicle,
            phase: Phase::InProgress,
            id: ask.id,
            token,
            version: before.as_ref().map_or(1, |entry| entry.version + 1),
            attempt,
            first_seen_at: before.as_ref().map_or(now, |entry| entry.first_seen_at),
            expires_at: now.saturating_add(ask.ttl),
            ended_at: now,
            late: false,
            holder: ask.holder.clone(),
            metadata: ask.metadata,
            fingerprint: before.as_ref().and_then(|entry| entry.fingerprint).or(ask.fingerprint),
            checkpoint: before.as_ref().and_then(|entry| entry.checkpoint.clone()),
            result: None,
            failure: None,
            retry_at: None,
            in_doubt_since: None,
            overruled: false,
            former: ended.map(|ended| (ended, before.and_then(|entry| entry.holder))),
        };
        self.record.insert(entry).acquired(false)
    }

    fn forget(&mut self, force: bool, now: Timestamp) -> Answer {
        match &self.record {
            None => Answer::Forgotten(false),
            Some(entry) if entry.is_live(now) && !force => {
                Answer::Refused(Refusal::Busy(entry.expires_at.saturating_since(now)))
            }
            Some(_) => {
                self.record = None;
                Answer::Forgotten(true)
            }
        }
    }

    fn resolve(&mut self, verdict: &Resolution, force: bool, now: Timestamp) -> Answer {
        let Some(entry) = &mut self.record else { return Answer::Refused(Refusal::NotFound) };
        match entry.phase {
            Phase::InProgress if entry.is_live(now) && !force => {
                Answer::Refused(Refusal::Busy(entry.expires_at.saturating_since(now)))
            }
            Phase::InProgress => {
                entry.overruled = entry.is_live(now);
                entry.chronicle.by =
                    if entry.overruled { EndedBy::OperatorByForce } else { EndedBy::Operator };
                match verdict {
                    Resolution::Completed(result) => entry.complete(result.to_string().as_bytes(), None, now),
                    Resolution::Failed(code) => entry.fail(code, None, now),
                    Resolution::Released => entry.release(now),
                }
            }
            _ => entry.refuse_ended(),
        }
    }
}

impl Entry {
    fn is_held_by(&self, id: LeaseId) -> bool {
        self.id == id && !self.overruled
    }

    fn is_live(&self, now: Timestamp) -> bool {
        self.phase == Phase::InProgress && now < self.expires_at
    }

    fn acquired(&self, resent: bool) -> Answer {
        let (checkpoint, former) = (self.checkpoint.clone(), self.former.clone());
        Answer::Acquired { token: self.token, attempt: self.attempt, resent, checkpoint, former }
    }

    /// Returns how the last grant has ended, if it has.
    fn ends(&self, now: Timestamp) -> Vec<(HistoryKind, Timestamp)> {
        let outcome = |kind| vec![(kind, self.ended_at)];
        match self.phase {
            Phase::Completed => outcome(HistoryKind::Completed),
            Phase::Failed => outcome(HistoryKind::Failed),
            Phase::Released => outcome(HistoryKind::Released),
            Phase::InProgress if self.is_live(now) => vec![],
            Phase::InProgress if self.in_doubt_since.is_some() => {
                vec![(HistoryKind::LeftInDoubt, self.expires_at)]
            }
            Phase::InProgress if self.chronicle.abandoned => vec![(HistoryKind::Abandoned, self.expires_at)],
            Phase::InProgress => vec![(HistoryKind::Lapsed, self.expires_at)],
        }
    }

    fn done(&self, late: bool, repeated: bool) -> Answer {
        Answer::Done { version: self.version, expires_at: self.expires_at, late, repeated }
    }

    fn refuse_ended(&self) -> Answer {
        Answer::Refused(match self.phase {
            Phase::Completed => Refusal::Finished(State::Completed),
            Phase::Failed => Refusal::Finished(State::Failed),
            _ => Refusal::Released,
        })
    }

    /// Applies a holder's operation.
    fn act(&mut self, op: &Op, now: Timestamp) -> Answer {
        let in_progress = self.phase == Phase::InProgress;
        match op {
            Op::Extend { .. } | Op::Checkpoint { .. } if in_progress && !self.is_live(now) => {
                Answer::Refused(Refusal::Lapsed)
            }
            Op::Extend { ttl, .. } if in_progress => {
                self.chronicle.renew(now, self.expires_at.saturating_since(now));
                self.expires_at = self.expires_at.max(now.saturating_add(*ttl));
                self.version += 1;
                self.done(false, false)
            }
            Op::Checkpoint { bytes, .. } if in_progress => {
                self.chronicle.checkpoint(now);
                self.checkpoint = Some(bytes.clone());
                self.version += 1;
                self.done(false, false)
            }
            Op::Complete { result, hash, .. } if in_progress => self.complete(result, hash.as_deref(), now),
            Op::Fail { code, detail, .. } if in_progress => self.fail(code, detail.clone(), now),
            Op::FailFor { code, wait, .. } if in_progress => {
                self.retry_at = Some(now.saturating_add(*wait));
                self.fail(code, None, now)
            }
            Op::Release { .. } if in_progress => self.release(now),
            Op::Abandon { .. } if self.is_live(now) => {
                self.chronicle.abandoned = true;
                self.expires_at = now;
                self.version += 1;
                self.done(false, false)
            }
            Op::Abandon { .. } if in_progress => self.done(false, true),
            Op::LeaveInDoubt { .. } if in_progress && self.in_doubt_since.is_some() => self.done(false, true),
            Op::LeaveInDoubt { .. } if in_progress => {
                self.expires_at = self.expires_at.min(now);
                self.in_doubt_since = Some(now);
                self.version += 1;
                self.done(false, false)
            }
            // A repeated outcome.
            Op::Complete { result, hash, .. }
                if self
                    .result
                    .as_ref()
                    .is_some_and(|(_, stored)| *stored == word(result, hash.as_deref())) =>
            {
                self.done(self.late, true)
            }
            Op::Fail { code, .. } | Op::FailFor { code, .. }
                if self.failure.as_ref().is_some_and(|(stored, _)| stored == code) =>
            {
                self.done(self.late, true)
            }
            Op::Release { .. } if self.phase == Phase::Released => self.done(self.late, true),
            _ => self.refuse_ended(),
        }
    }

    fn end(&mut self, phase: Phase, now: Timestamp) -> Answer {
        self.late = now >= self.expires_at;
        self.phase = phase;
        self.in_doubt_since = None;
        self.ended_at = now;
        self.version += 1;
        self.done(self.late, false)
    }

    fn complete(&mut self, result: &[u8], hash: Option<&str>, now: Timestamp) -> Answer {
        self.result = Some((result.to_vec(), word(result, hash)));
        self.end(Phase::Completed, now)
    }

    fn fail(&mut self, code: &str, detail: Option<String>, now: Timestamp) -> Answer {
        self.failure = Some((code.to_owned(), detail));
        self.end(Phase::Failed, now)
    }

    fn release(&mut self, now: Timestamp) -> Answer {
        self.end(Phase::Released, now)
    }

    fn shown(&self, now: Timestamp) -> KeyView {
        let ttl_left = self.is_live(now).then(|| self.expires_at.saturating_since(now));
        let retry_left = self.retry_at.filter(|at| *at > now).map(|at| at.saturating_since(now));
        KeyView {
            state: match self.phase {
                Phase::InProgress if ttl_left.is_some() => State::InProgress,
                Phase::InProgress => State::Lapsed,
                Phase::Completed => State::Completed,
                Phase::Failed => State::Failed,
                Phase::Released => State::Released,
            },
            in_doubt: self.in_doubt_since.is_some(),
            version: self.version,
            attempt: self.attempt,
            ttl_left,
            retry_after: ttl_left.or(retry_left).map(|left| left.min(MAX_RETRY_AFTER)),
            first_seen_at: self.first_seen_at,
            done_at: matches!(self.phase, Phase::Completed | Phase::Failed).then_some(self.ended_at),
            result: self.result.as_ref().map(|(bytes, _)| bytes.clone()),
            result_hash: self.result.as_ref().map(|(_, hash)| hash.clone()),
            error_code: self.failure.as_ref().map(|(code, _)| code.clone()),
            error_detail: self.failure.as_ref().and_then(|(_, detail)| detail.clone()),
            holder: self.holder.clone(),
            metadata: self.metadata.map(|n| format!("{{\"n\":{n}}}")),
        }
    }
}

/// Returns the hash that identifies a result: the caller's own, or its SHA-256 in hexadecimal
/// digits.
fn word(result: &[u8], hash: Option<&str>) -> String {
    let hex = || Sha256::digest(result).iter().map(|byte| format!("{byte:02x}")).collect();
    hash.map_or_else(hex, str::to_owned)
}
