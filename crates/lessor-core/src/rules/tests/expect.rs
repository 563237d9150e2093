//! Turns the words of the contract's table into exact expectations.

use std::time::Duration;

use crate::data::error::Error;
use crate::data::record::{GrantEnd, Stage};
use crate::data::state::State;
use crate::rules::policies::{Backoff, OnFailed, OnLapsed};

use super::cases::{Ask, What, forgotten};
use super::plain::{NOBODY, Plain, RETENTION, SEC, sha256_hex};
use super::spec_table::{Asker, Column, Row, says};

/// The expected answer, and the expected write with its conditions.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) told: Told,
    pub(super) write: Option<Write>,
}

#[derive(Debug)]
pub(super) enum Told {
    Refused(Error),
    /// The caller holds the lease by this grant, new or repeated.
    Acquired {
        resent: bool,
    },
    /// The expected kind of answer, and the expected view.
    Shown(State, Option<u64>),
    /// There is no view.
    Nothing,
    Done {
        late: bool,
        repeated: bool,
    },
    Forgotten(bool),
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) next: Plain,
    pub(super) not_before: Option<u64>,
    pub(super) not_after: Option<u64>,
    pub(super) is_outcome: bool,
}

/// Returns the column of the table for `record`, for a caller with `id` at `now`.
pub(super) fn column(record: Option<&Plain>, id: u8, now: u64) -> Column {
    match record {
        None => Column::Absent,
        Some(record) if record.stage == Stage::Forgotten || now >= record.keep_until => Column::Absent,
        Some(record) => match record.stage {
            Stage::InProgress if now >= record.expires => Column::Lapsed,
            Stage::InProgress if record.id == id => Column::LiveOwn,
            Stage::InProgress => Column::LiveOthers,
            Stage::Completed => Column::Completed,
            Stage::Failed => Column::Failed,
            Stage::Released | Stage::Forgotten => Column::Released,
        },
    }
}

/// Returns the effective time. Time within a record never runs backwards.
pub(super) fn clamp(record: Option<&Plain>, now: u64) -> u64 {
    record.map_or(now, |record| now.max(record.acquired).max(record.done.unwrap_or(0)))
}

pub(super) fn expected(record: Option<&Plain>, ask: &Ask, now: u64) -> Expected {
    let column = column(record, ask.id, now);
    let own = record.is_some_and(|record| record.id == ask.id);
    let same = record.is_some_and(|record| has_the_same_outcome(record, ask));
    let words = says(ask.row(), column, Asker { own, same });
    if column == Column::Absent {
        return of_absent(record, ask, now, &words);
    }
    of_kept(record.unwrap(), ask, now, &words)
}

/// Returns whether the outcome is the same: the same hash of the caller, or else the same SHA-256.
fn has_the_same_outcome(record: &Plain, ask: &Ask) -> bool {
    let hash = |word: Option<&str>, result: &str| word.map_or_else(|| sha256_hex(result), str::to_owned);
    match ask.what {
        What::Complete(result, word) => {
            record.result.is_some_and(|known| hash(record.word, known) == hash(word, result))
        }
        What::Fail(code, _) | What::FailFor(code, _) => record.code == Some(code),
        _ => false,
    }
}

fn of_absent(past: Option<&Plain>, ask: &Ask, now: u64, words: &str) -> Expected {
    match (ask.row(), words) {
        (Row::Acquire, "Acquired, attempt 1") => {
            let grant = grant(past, ask, now);
            let next = Plain { version: 1, attempt: 1, first_seen: now, ..grant };
            let kept_until = past.filter(|past| past.stage != Stage::Forgotten).map(|past| past.keep_until);
            acquired(next, kept_until)
        }
        (Row::Status, "none") => told(Told::Nothing),
        (Row::Forget, "none") => told(Told::Forgotten(false)),
        (_, "NotFound") => told(Told::Refused(Error::NotFound)),
        (row, words) => panic!("{row:?} of what is absent: {words}"),
    }
}

/// Returns a first grant, of which only the token depends on an earlier record.
fn grant(past: Option<&Plain>, ask: &Ask, now: u64) -> Plain {
    let What::Acquire { ttl, labels, fingerprint, .. } = ask.what else { panic!("{ask:?} grants nothing") };
    Plain {
        id: ask.id,
        token: now.max(past.map_or(0, |past| past.token) + 1),
        acquired: now,
        expires: now + ttl,
        keep_until: now + ttl + RETENTION,
        holder: labels.map(|(holder, _)| holder),
        metadata: labels.map(|(_, metadata)| metadata),
        fingerprint,
        ..Plain::granted()
    }
}

fn of_kept(record: &Plain, ask: &Ask, now: u64, words: &str) -> Expected {
    let live = record.stage == Stage::InProgress && now < record.expires;
    // Rule 8 precedes the table.
    if let What::Acquire { fingerprint: Some(asked), .. } = ask.what
        && record.fingerprint.is_some_and(|known| known != asked)
    {
        return told(Told::Refused(Error::FingerprintMismatch));
    }
    let finish = |stage| Plain {
        stage,
        version: record.version + 1,
        done: Some(now),
        keep_until: now + RETENTION,
        in_doubt: false,
        ..record.clone()
    };
    let completed =
        |result, word| Plain { result: Some(result), word, checkpoint: None, ..finish(Stage::Completed) };
    let failed = |code, detail| Plain { code: Some(code), detail, ..finish(Stage::Failed) };
    let released = || finish(Stage::Released);
    let again = |ended, not_before| grant_again(record, ask, now, ended, not_before);

    match (words, ask.what) {
        ("NotHolder", _) => told(Told::Refused(Error::NotHolder { token: record.record().token() })),
        ("Lapsed", What::Extend(_) | What::Checkpoint(_)) => told(Told::Refused(Error::Lapsed)),
        ("Finished", _) if record.stage == Stage::Completed => finished(State::Completed),
        ("Finished", _) if record.stage == Stage::Failed => finished(State::Failed),
        ("Released", _) => told(Told::Refused(Error::Released)),
        ("Busy", _) | ("Busy unless forced", What::Forget { force: false }) => busy(record, now),

        ("InProgress (ttl left, retry after)", What::Acquire { .. }) => {
            let left = record.expires - now;
            told(Told::Shown(State::InProgress, Some(left.min(5 * SEC))))
        }
        ("Acquired again, same grant (lost reply)", What::Acquire { .. }) => {
            told(Told::Acquired { resent: true })
        }
        (
            "by policy: Acquired, attempt + 1 (it says the former grant lapsed), or InDoubt",
            What::Acquire { on_lapsed, .. },
        ) => match on_lapsed {
            OnLapsed::TakeOver if record.in_doubt => told(Told::Shown(State::Lapsed, None)),
            OnLapsed::TakeOver | OnLapsed::Reconcile => again(GrantEnd::Lapsed, Some(record.expires)),
            OnLapsed::InDoubt => told(Told::Shown(State::Lapsed, None)),
        },
        ("Completed (result)", What::Acquire { .. }) => told(Told::Shown(State::Completed, None)),
        ("by policy: Failed, or Acquired attempt + 1", What::Acquire { on_failed, .. }) => {
            match retry_at(record, on_failed).into_iter().chain(kept_retry_at(record)).min() {
                None => told(Told::Shown(State::Failed, None)),
                Some(at) if now < at => told(Told::Shown(State::Failed, Some((at - now).min(5 * SEC)))),
                Some(at) => again(GrantEnd::Failed, Some(at)),
            }
        }
        ("Acquired, attempt + 1", What::Acquire { .. }) => again(GrantEnd::Released, None),

        ("extended: expires_at = max(expires_at, now + ttl)", What::Extend(ttl)) => {
            let expires = record.expires.max(now + ttl);
            let version = record.version + 1;
            while_live(record, Plain { version, expires, keep_until: expires + RETENTION, ..record.clone() })
        }
        ("saved, expiry unchanged", What::Checkpoint(bytes)) => while_live(
            record,
            Plain { version: record.version + 1, checkpoint: Some(bytes), ..record.clone() },
        ),
        ("completed", What::Complete(result, word)) => outcome(record, completed(result, word), !live),
        ("failed", What::Fail(code, detail)) => outcome(record, failed(code, detail), !live),
        ("failed", What::FailFor(code, wait)) => {
            outcome(record, Plain { retry_after: Some(wait), ..failed(code, None) }, !live)
        }
        ("released", What::Release) => outcome(record, released(), !live),
        ("lapses now", What::Abandon) => abandoned(record, now),
        ("released, or lapses now after a lapse", What::Unused) => match record.former {
            _ if record.in_doubt => told(Told::Done { late: false, repeated: true }),
            Some((GrantEnd::Lapsed, _)) => abandoned(record, now),
            _ => outcome(record, released(), false),
        },
        ("released, or nothing to do after a lapse or in doubt", What::Unused) => match record.former {
            Some((GrantEnd::Lapsed, _)) => told(Told::Done { late: false, repeated: true }),
            _ if record.in_doubt => told(Told::Done { late: false, repeated: true }),
            _ => outcome(record, released(), true),
        },
        ("lapses now, in doubt", What::Doubt) if !record.in_doubt => {
            let next = Plain { expires: now, ..doubt(record, now) };
            while_live(record, next)
        }
        ("in doubt, once", What::Doubt) if !record.in_doubt => while_kept(record, doubt(record, now)),
        ("completed again, nothing written", What::Complete(..))
        | ("failed again, nothing written", What::Fail(..) | What::FailFor(..))
        | ("lapses now, in doubt" | "in doubt, once", What::Doubt)
        | ("released again", What::Release | What::Unused)
        | ("nothing to do", What::Abandon) => {
            // P6: the answer is that of the first time.
            let late = record.done.is_some_and(|done| done >= record.expires);
            told(Told::Done { late, repeated: true })
        }

        ("shown", What::Status) => {
            let changes = if live { Some(record.expires) } else { kept_retry_at(record) };
            let left = changes.filter(|at| *at > now).map(|at| (at - now).min(5 * SEC));
            let state = match record.stage {
                Stage::InProgress => State::InProgress,
                Stage::Completed => State::Completed,
                Stage::Failed => State::Failed,
                Stage::Released | Stage::Forgotten => State::Released,
            };
            told(Told::Shown(state, left))
        }
        ("shown as lapsed", What::Status) => told(Told::Shown(State::Lapsed, None)),
        ("removed", What::Forget { .. }) | ("Busy unless forced", What::Forget { force: true }) => {
            Expected { told: Told::Forgotten(true), ..while_kept(record, forgotten(record)) }
        }
        ("to Completed, Failed or Released", What::ResolveCompleted(result, word, _)) => {
            outcome(record, completed(result, word), true)
        }
        ("to Completed, Failed or Released", What::ResolveFailed(code, detail, _)) => {
            outcome(record, failed(code, detail), true)
        }
        ("to Completed, Failed or Released", What::ResolveReleased(_)) => outcome(record, released(), true),
        (
            "Busy unless forced; forced: to Completed, Failed or Released, and the holder is superseded",
            what,
        ) => {
            let next = match what {
                What::ResolveCompleted(result, word, true) => completed(result, word),
                What::ResolveFailed(code, detail, true) => failed(code, detail),
                What::ResolveReleased(true) => released(),
                _ => return busy(record, now),
            };
            outcome(record, Plain { id: NOBODY, ..next }, false)
        }
        (words, what) => panic!("{what:?} of {record:?}: {words}"),
    }
}

/// Returns a further grant. It keeps the key's history, fingerprint, checkpoint and the unknown
/// fields of the record. It drops an outcome and the unknown fields of the previous grant.
fn grant_again(record: &Plain, ask: &Ask, now: u64, ended: GrantEnd, not_before: Option<u64>) -> Expected {
    if record.id == ask.id {
        return told(Told::Refused(Error::LeaseIdReused));
    }
    let grant = grant(Some(record), ask, now);
    let next = Plain {
        version: record.version + 1,
        attempt: record.attempt + 1,
        first_seen: record.first_seen,
        fingerprint: grant.fingerprint.or(record.fingerprint),
        checkpoint: record.checkpoint,
        former: Some((ended, record.holder)),
        of_record: record.of_record,
        ..grant
    };
    Expected { told: Told::Acquired { resent: false }, ..while_kept(record, next) }.not_before(not_before)
}

fn retry_at(record: &Plain, on_failed: OnFailed) -> Option<u64> {
    let OnFailed::Retry { max_attempts, backoff } = on_failed else { return None };
    let attempt = record.attempt;
    let doubling = Backoff::exponential(Duration::from_secs(3), Duration::from_secs(8));
    let wait = match backoff {
        backoff if backoff == doubling => [3, 6, 8][usize::try_from(attempt).unwrap() - 1] * SEC,
        backoff => super::cases::fixed_wait(backoff),
    };
    (attempt < u64::from(max_attempts)).then_some(record.done.unwrap() + wait)
}

fn told(told: Told) -> Expected {
    Expected { told, write: None }
}

fn busy(record: &Plain, now: u64) -> Expected {
    told(Told::Refused(Error::Busy { ttl_left: Duration::from_micros(record.expires - now) }))
}

fn abandoned(record: &Plain, now: u64) -> Expected {
    let version = record.version + 1;
    while_live(record, Plain { version, expires: now, keep_until: now + RETENTION, ..record.clone() })
}

/// Returns the record with the mark. The retention begins anew.
fn doubt(record: &Plain, now: u64) -> Plain {
    Plain { version: record.version + 1, in_doubt: true, keep_until: now + RETENTION, ..record.clone() }
}

/// Returns the time from which every caller may retry.
fn kept_retry_at(record: &Plain) -> Option<u64> {
    let last = (1 << 53) - 1;
    record.retry_after.map(|wait| last.min(record.done.unwrap() + wait))
}

fn finished(state: State) -> Expected {
    told(Told::Refused(Error::Finished { state }))
}

fn acquired(next: Plain, not_before: Option<u64>) -> Expected {
    Expected {
        told: Told::Acquired { resent: false },
        write: Some(Write { next, not_before, not_after: None, is_outcome: false }),
    }
}

/// Expects a write that must reach the store before the record counts as absent.
fn while_kept(record: &Plain, next: Plain) -> Expected {
    let write = Write { next, not_before: None, not_after: Some(record.keep_until), is_outcome: false };
    Expected { told: Told::Done { late: false, repeated: false }, write: Some(write) }
}

impl Expected {
    fn not_before(mut self, at: Option<u64>) -> Self {
        self.write = self.write.map(|write| Write { not_before: at, ..write });
        self
    }
}

/// Expects the write of an outcome. If it is not late, it must reach the store before it would be.
fn outcome(record: &Plain, next: Plain, late: bool) -> Expected {
    let not_after = if late { record.keep_until } else { record.expires };
    Expected {
        told: Told::Done { late, repeated: false },
        write: Some(Write { next, not_before: None, not_after: Some(not_after), is_outcome: true }),
    }
}

fn while_live(record: &Plain, next: Plain) -> Expected {
    Expected {
        told: Told::Done { late: false, repeated: false },
        write: Some(Write { next, not_before: None, not_after: Some(record.expires), is_outcome: false }),
    }
}
