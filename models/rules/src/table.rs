//! A second copy of the contract's table: the answer to each command in each state of the record.

use lessor_core::rules::Answer;
use lessor_core::{Error, Stage, Timestamp, View};

use crate::flight::Outcome;
use crate::server::Stored;
use crate::words::{BACKOFF, Cmd, HolderOp, MAX_ATTEMPTS, Operation, Time};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Column {
    Absent,
    Live,
    Lapsed,
    Completed,
    Failed,
    Released,
}

/// A kind of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The command writes: granted, done or forgotten.
    Written,
    /// The command took effect before, and writes nothing.
    Repeated,
    NothingToForget,
    InProgress,
    Completed,
    Failed,
    InDoubt,
    NotFound,
    NotHolder,
    Lapsed,
    Finished,
    Released,
    Busy,
    Mismatch,
    Reused,
    /// The store failed.
    Store,
}

pub(crate) fn column(stored: Option<&Stored>, clock: Time) -> Column {
    let Some(stored) = stored else { return Column::Absent };
    let record = &stored.rec.record;
    match record.stage() {
        Stage::Forgotten => Column::Absent,
        _ if clock >= record.keep_until().as_micros() => Column::Absent,
        Stage::InProgress if clock < record.expires_at().as_micros() => Column::Live,
        Stage::InProgress => Column::Lapsed,
        Stage::Completed => Column::Completed,
        Stage::Failed => Column::Failed,
        Stage::Released => Column::Released,
        other => panic!("the table has no column for {other:?}"),
    }
}

/// Returns the cell of the table.
pub(crate) fn cell(stored: Option<&Stored>, clock: Time, cmd: Cmd) -> Kind {
    let column = column(stored, clock);
    let Some(stored) = stored.filter(|_| column != Column::Absent) else {
        return match cmd {
            Cmd::Acquire(..) => Kind::Written,
            Cmd::Operate(Operation::Forget | Operation::ForgetForced) => Kind::NothingToForget,
            Cmd::HolderCommand(..) | Cmd::Operate(_) => Kind::NotFound,
        };
    };
    let is_own = cmd.id().is_some_and(|id| stored.rec.is_held_by(id));
    match cmd {
        Cmd::Acquire(_, who) => {
            if stored.print.zip(who.print).is_some_and(|(known, asked)| known != asked) {
                return Kind::Mismatch;
            }
            let anew = if is_own { Kind::Reused } else { Kind::Written };
            match column {
                Column::Live if is_own => Kind::Repeated,
                Column::Live => Kind::InProgress,
                Column::Lapsed if who.in_doubt => Kind::InDoubt,
                Column::Lapsed if is_in_doubt(stored) && !who.reconciles => Kind::InDoubt,
                Column::Completed => Kind::Completed,
                Column::Failed if is_retryable(stored, clock) => anew,
                Column::Failed if !who.retries || !is_retry_due(stored, clock) => Kind::Failed,
                Column::Absent | Column::Lapsed | Column::Failed | Column::Released => anew,
            }
        }
        Cmd::HolderCommand(..) if !is_own => Kind::NotHolder,
        Cmd::HolderCommand(_, holder_op) => match (column, holder_op) {
            (Column::Lapsed, HolderOp::Extend | HolderOp::Checkpoint) => Kind::Lapsed,
            (Column::Lapsed, HolderOp::Abandon) => Kind::Repeated,
            (Column::Lapsed, HolderOp::Doubt) if is_in_doubt(stored) => Kind::Repeated,
            (Column::Live | Column::Lapsed | Column::Absent, _) => Kind::Written,
            (Column::Completed, HolderOp::Complete(value)) if has_result(stored, value) => Kind::Repeated,
            (Column::Failed, HolderOp::Fail(value) | HolderOp::FailFor(value)) if has_code(stored, value) => {
                Kind::Repeated
            }
            (Column::Released, HolderOp::Release) => Kind::Repeated,
            (Column::Completed | Column::Failed, _) => Kind::Finished,
            (Column::Released, _) => Kind::Released,
        },
        Cmd::Operate(Operation::Forget) if column == Column::Live => Kind::Busy,
        Cmd::Operate(Operation::Forget | Operation::ForgetForced) => Kind::Written,
        Cmd::Operate(operation) => match column {
            Column::Live if operation.resolves() == Some(true) => Kind::Written,
            Column::Live => Kind::Busy,
            Column::Completed | Column::Failed => Kind::Finished,
            Column::Released => Kind::Released,
            Column::Lapsed | Column::Absent => Kind::Written,
        },
    }
}

pub(crate) fn is_retry_due(stored: &Stored, clock: Time) -> bool {
    let record = &stored.rec.record;
    let failed_at = record.done_at().map_or(0, |at| at.as_micros());
    record.attempt() < MAX_ATTEMPTS && clock >= failed_at + BACKOFF
}

/// Returns whether every caller may retry, because the holder that failed has allowed it.
pub(crate) fn is_retryable(stored: &Stored, clock: Time) -> bool {
    let failed_at = stored.rec.record.done_at().unwrap_or(Timestamp::EPOCH);
    let waits = |view: View| view.retry_after();
    let wait = View::of(&stored.rec.record, failed_at).and_then(waits);
    wait.is_some_and(|wait| clock >= failed_at.saturating_add(wait).as_micros())
}

fn is_in_doubt(stored: &Stored) -> bool {
    view(stored).is_some_and(|view| view.is_in_doubt())
}

fn has_result(stored: &Stored, value: u8) -> bool {
    view(stored).is_some_and(|view| view.result_bytes() == Some(&[value]))
}

fn has_code(stored: &Stored, value: u8) -> bool {
    view(stored).is_some_and(|view| view.error_code() == Some(&value.to_string()))
}

fn view(stored: &Stored) -> Option<View> {
    View::of(&stored.rec.record, stored.rec.record.acquired_at())
}

/// Returns the kind of an outcome.
pub(crate) fn kind(outcome: &Outcome) -> Kind {
    match outcome {
        Ok((Answer::Granted | Answer::Forgotten(true), _)) => Kind::Written,
        Ok((Answer::Resent(_), _)) => Kind::Repeated,
        Ok((Answer::InProgress(_), _)) => Kind::InProgress,
        Ok((Answer::Completed(_), _)) => Kind::Completed,
        Ok((Answer::Failed(_), _)) => Kind::Failed,
        Ok((Answer::InDoubt(_), _)) => Kind::InDoubt,
        Ok((Answer::Done(ack), _)) if ack.is_duplicate() => Kind::Repeated,
        Ok((Answer::Done(_), _)) => Kind::Written,
        Ok((Answer::Forgotten(false), _)) => Kind::NothingToForget,
        Err(Error::NotFound) => Kind::NotFound,
        Err(Error::NotHolder { .. }) => Kind::NotHolder,
        Err(Error::Lapsed) => Kind::Lapsed,
        Err(Error::Finished { .. }) => Kind::Finished,
        Err(Error::Released) => Kind::Released,
        Err(Error::Busy { .. }) => Kind::Busy,
        Err(Error::FingerprintMismatch) => Kind::Mismatch,
        Err(Error::LeaseIdReused) => Kind::Reused,
        Ok((answer, _)) => panic!("the table has no cell for {answer:?}"),
        Err(_) => Kind::Store,
    }
}
