//! The promises, and the history needed to check them.

use crate::config::{Config, Event, Kind as StoreKind};
use crate::server::Stored;
use crate::table::{Column, Kind, cell, column};
use crate::words::{CLOSE, Cmd, HolderOp, Id, Rec, Time};

/// A promise, as a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Check {
    OneLiveGrant = 1,
    TokensRiseIfAnswered = 1 << 1,
    TokensRiseIfFound = 1 << 2,
    TokensRiseIfRepeated = 1 << 3,
    FinishedIsFinal = 1 << 4,
    RefusalsChangeNothing = 1 << 5,
    RepetitionIsTheSame = 1 << 6,
    VersionsGrowByOne = 1 << 7,
    LateOutcomeCounts = 1 << 8,
    SupersededChangesNothing = 1 << 9,
    DoubtIsResolvedByTheOperator = 1 << 10,
    OutcomeIsOfTheSameRequest = 1 << 11,
    AnswerIsNotOlder = 1 << 12,
    LatenessIsDecidedAtTheWrite = 1 << 13,
    Table = 1 << 14,
    LapsedStaysLapsed = 1 << 15,
    GrantIsStored = 1 << 16,
    NothingIsWrittenAfterTheEnd = 1 << 17,
    VersionsAreUnique = 1 << 18,
}

pub(crate) const CHECKS: [(&str, Check); 19] = [
    ("P1: one live grant per key", Check::OneLiveGrant),
    ("P2: tokens rise if the grant is answered", Check::TokensRiseIfAnswered),
    ("P2: tokens rise if the grant is found by reading", Check::TokensRiseIfFound),
    ("P2: tokens rise if the acquire is repeated", Check::TokensRiseIfRepeated),
    ("P3: an outcome is final", Check::FinishedIsFinal),
    ("P4: refusals change nothing", Check::RefusalsChangeNothing),
    ("P6: a repeated operation gives the same answer and writes once", Check::RepetitionIsTheSame),
    ("P10: versions grow by one", Check::VersionsGrowByOne),
    ("P10: a version is one write", Check::VersionsAreUnique),
    ("rule 2: a late outcome counts", Check::LateOutcomeCounts),
    ("rule 2: a lapsed lease is not revived", Check::LapsedStaysLapsed),
    ("rule 3: a superseded holder changes nothing", Check::SupersededChangesNothing),
    ("rule 6: a key in doubt is resolved by the operator", Check::DoubtIsResolvedByTheOperator),
    ("rule 8: an outcome is only for its own request", Check::OutcomeIsOfTheSameRequest),
    ("rule 11: an answer is not older than its question", Check::AnswerIsNotOlder),
    ("rule 12: lateness is decided at the write", Check::LatenessIsDecidedAtTheWrite),
    ("the table: each answer is that of its cell", Check::Table),
    ("the table: nothing is written after the end", Check::NothingIsWrittenAfterTheEnd),
    ("a grant that a caller has is stored", Check::GrantIsStored),
];

/// The events so far, as far as the checks need them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// The grants in the order of their writes.
    grants: Vec<Grant>,
    /// The versions that were acknowledged as written, if that is checked.
    acknowledged: Vec<(Time, u64)>,
    pub(crate) broken: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Grant {
    id: Id,
    token: Time,
    is_answered: bool,
    /// The end of the lease as the holder knows it. Zero after it has passed.
    until: Time,
    /// True if it was finished, released, abandoned or superseded.
    is_over: bool,
    /// True if the outcome came after the lease had lapsed.
    is_late: Option<bool>,
}

/// The way in which a caller learned of its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Answered,
    Found,
    SentAgain,
}

impl History {
    pub(crate) fn fault(&mut self, check: Check) {
        self.broken |= check as u32;
    }

    /// The write of a command has replaced `before`.
    pub(crate) fn on_write(
        &mut self,
        cmd: Cmd,
        before: Option<&Stored>,
        next: &Rec,
        clock: Time,
        config: &Config,
    ) {
        let past = column(before, clock);
        let at_the_write = cell(before, clock, cmd);
        if let Some(check) = at_the_write_fault(cmd, at_the_write) {
            self.fault(check);
        }
        let begins = past == Column::Absent && matches!(cmd, Cmd::Acquire(..));
        let version = if begins { 0 } else { before.map_or(0, |stored| stored.rec.version()) };
        if begins && before.is_some_and(|stored| next.version() == stored.rec.version() + 1) {
            self.fault(Check::NothingIsWrittenAfterTheEnd);
        } else if next.version() != version + 1 || (begins && next.record.attempt() != 1) {
            self.fault(Check::VersionsGrowByOne);
        }
        match cmd {
            Cmd::Acquire(id, _) => self.grants.push(Grant {
                id,
                token: next.token(),
                is_answered: false,
                until: 0,
                is_over: false,
                is_late: None,
            }),
            Cmd::HolderCommand(id, holder_op) => {
                let is_late = before.is_some_and(|stored| stored.rec.expires_at() <= clock);
                // An outcome is not earlier than its grant, whose time may come from a clock that
                // was ahead.
                let now = clock.max(next.record.acquired_at().as_micros());
                let is_near = |at: Time| config.kind == StoreKind::Server || at.abs_diff(now) < CLOSE;
                if holder_op.is_outcome() && is_late {
                    config.met.event(Event::LateOutcome);
                }
                if holder_op.is_outcome() && !next.record.done_at().is_some_and(|at| is_near(at.as_micros()))
                {
                    self.fault(Check::LatenessIsDecidedAtTheWrite);
                }
                if holder_op.ends()
                    && let Some(grant) = self.grant(id, next.token())
                {
                    grant.is_over = true;
                    grant.is_late = holder_op.is_outcome().then_some(is_late);
                }
            }
            Cmd::Operate(_) => {
                for grant in &mut self.grants {
                    grant.is_over = true;
                }
            }
        }
    }

    /// A caller gets the lease.
    pub(crate) fn granted(&mut self, id: Id, rec: &Rec, how: How) {
        let Some(grant) = self.grant(id, rec.token()) else { return self.fault(Check::GrantIsStored) };
        grant.is_answered = true;
        grant.until = grant.until.max(rec.expires_at());
        let told: Vec<Time> =
            self.grants.iter().filter(|grant| grant.is_answered).map(|grant| grant.token).collect();
        if !told.is_sorted_by(|one, next| one < next) {
            self.fault(match how {
                How::Answered => Check::TokensRiseIfAnswered,
                How::Found => Check::TokensRiseIfFound,
                How::SentAgain => Check::TokensRiseIfRepeated,
            });
        }
    }

    /// A holder gets the acknowledgement of its command.
    pub(crate) fn done(
        &mut self,
        id: Id,
        holder_op: HolderOp,
        ack: lessor_core::Ack,
        written: Option<&Rec>,
        config: &Config,
    ) {
        if let Some(written) = written
            && config.left.handles > 0
            && !ack.is_duplicate()
        {
            let version = (written.token(), written.version());
            if self.acknowledged.contains(&version) {
                self.fault(Check::VersionsAreUnique);
            }
            self.acknowledged.push(version);
        }
        let Some(grant) = self.grants.iter_mut().rev().find(|grant| grant.id == id) else { return };
        if holder_op == HolderOp::Extend {
            grant.until = grant.until.max(ack.expires_at().as_micros());
        }
        if grant.is_late.is_some_and(|is_late| holder_op.is_outcome() && is_late != ack.is_late()) {
            self.fault(Check::LatenessIsDecidedAtTheWrite);
        }
    }

    /// The answer to a reading is not that of the table.
    pub(crate) fn wrong_answer(&mut self, cmd: Cmd, cell: Kind) {
        self.fault(match (cmd, cell) {
            (_, Kind::Repeated) => Check::RepetitionIsTheSame,
            (Cmd::HolderCommand(_, holder_op), Kind::Written) if holder_op.is_outcome() => {
                Check::LateOutcomeCounts
            }
            (_, Kind::InDoubt) => Check::DoubtIsResolvedByTheOperator,
            (_, Kind::Mismatch) => Check::OutcomeIsOfTheSameRequest,
            _ => Check::Table,
        });
    }

    fn grant(&mut self, id: Id, token: Time) -> Option<&mut Grant> {
        self.grants.iter_mut().rev().find(|grant| grant.id == id && grant.token == token)
    }

    pub(crate) fn normalise(&mut self, clock: Time) {
        let mut live = 0;
        for grant in &mut self.grants {
            if grant.is_over || grant.until <= clock {
                grant.until = 0;
            }
            live += u32::from(grant.until > 0);
        }
        if live > 1 {
            self.fault(Check::OneLiveGrant);
        }
        self.acknowledged.sort_unstable();
    }
}

/// Returns the promise that is broken if a write has another cell of the table at the time of the
/// write.
fn at_the_write_fault(cmd: Cmd, cell: Kind) -> Option<Check> {
    Some(match (cmd, cell) {
        (_, Kind::Written) => return None,
        (Cmd::HolderCommand(_, HolderOp::Abandon), Kind::Repeated) => Check::NothingIsWrittenAfterTheEnd,
        (_, Kind::Repeated | Kind::Reused) => Check::RepetitionIsTheSame,
        (Cmd::Acquire(..), Kind::Completed | Kind::Failed) => Check::FinishedIsFinal,
        (_, Kind::InProgress | Kind::Busy) => Check::OneLiveGrant,
        (_, Kind::InDoubt) => Check::DoubtIsResolvedByTheOperator,
        (_, Kind::Mismatch) => Check::OutcomeIsOfTheSameRequest,
        (_, Kind::NotHolder) => Check::SupersededChangesNothing,
        (_, Kind::Lapsed) => Check::LapsedStaysLapsed,
        (_, Kind::Finished | Kind::Released) => Check::FinishedIsFinal,
        (_, Kind::NotFound | Kind::NothingToForget) => Check::NothingIsWrittenAfterTheEnd,
        (_, Kind::Completed | Kind::Failed | Kind::Store) => Check::Table,
    })
}
