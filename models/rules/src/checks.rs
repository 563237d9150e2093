//! The promises, and the history that is needed to check them.

use crate::config::{Config, Event, Kind as StoreKind};
use crate::server::Stored;
use crate::table::{Column, Kind, cell, column};
use crate::words::{CLOSE, Cmd, Deed, Id, Rec, Time};

/// A promise, as a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Check {
    OneLiveGrant = 1,
    TokensRiseWhereAnswered = 1 << 1,
    TokensRiseWhereFound = 1 << 2,
    TokensRiseWhereSentAgain = 1 << 3,
    FinishedStays = 1 << 4,
    RefusalsChangeNothing = 1 << 5,
    SentAgainIsTheSame = 1 << 6,
    VersionsGrowByOne = 1 << 7,
    LateOutcomeCounts = 1 << 8,
    SupersededChangesNothing = 1 << 9,
    DoubtIsLeftToTheOperator = 1 << 10,
    OutcomeIsOfTheSameRequest = 1 << 11,
    AnswerIsNotOlder = 1 << 12,
    LateIsJudgedAtTheWrite = 1 << 13,
    Table = 1 << 14,
    LapsedStaysLapsed = 1 << 15,
    GrantIsStored = 1 << 16,
    NothingIsWrittenToWhatIsOver = 1 << 17,
    VersionsAreUnique = 1 << 18,
}

pub(crate) const CHECKS: [(&str, Check); 19] = [
    ("P1: one live grant per key", Check::OneLiveGrant),
    ("P2: tokens rise, where a grant is answered", Check::TokensRiseWhereAnswered),
    ("P2: tokens rise, where a grant is found by reading", Check::TokensRiseWhereFound),
    ("P2: tokens rise, where an acquire is sent again", Check::TokensRiseWhereSentAgain),
    ("P3: finished stays", Check::FinishedStays),
    ("P4: refusals change nothing", Check::RefusalsChangeNothing),
    ("P6: what is sent again gives the same answer and writes once", Check::SentAgainIsTheSame),
    ("P10: versions grow by one", Check::VersionsGrowByOne),
    ("P10: a version is one write", Check::VersionsAreUnique),
    ("rule 2: a late outcome counts", Check::LateOutcomeCounts),
    ("rule 2: what lapsed does not come back", Check::LapsedStaysLapsed),
    ("rule 3: a superseded holder changes nothing", Check::SupersededChangesNothing),
    ("rule 6: what is in doubt is left to the operator", Check::DoubtIsLeftToTheOperator),
    ("rule 8: an outcome is for its request alone", Check::OutcomeIsOfTheSameRequest),
    ("rule 11: an answer is not older than its question", Check::AnswerIsNotOlder),
    ("rule 12: late is judged at the write", Check::LateIsJudgedAtTheWrite),
    ("the table: each answer is its cell's", Check::Table),
    ("the table: nothing is written to what is over", Check::NothingIsWrittenToWhatIsOver),
    ("a grant that a caller has is stored", Check::GrantIsStored),
];

/// The history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ghost {
    /// In the order of their writes.
    grants: Vec<Grant>,
    /// The versions that were acknowledged as written, where that is checked.
    acknowledged: Vec<(Time, u64)>,
    pub(crate) broken: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Grant {
    id: Id,
    token: Time,
    is_told: bool,
    /// The end of the lease as far as the holder knows; zero once it is past.
    until: Time,
    /// Finished, released, abandoned or superseded.
    is_over: bool,
    /// The outcome came after the lease had lapsed.
    is_late: Option<bool>,
}

/// How a caller learned of its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Answered,
    Found,
    SentAgain,
}

impl Ghost {
    pub(crate) fn fault(&mut self, check: Check) {
        self.broken |= check as u32;
    }

    /// The write of a command has replaced `before`.
    pub(crate) fn landed(
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
            self.fault(Check::NothingIsWrittenToWhatIsOver);
        } else if next.version() != version + 1 || (begins && next.record.attempt() != 1) {
            self.fault(Check::VersionsGrowByOne);
        }
        match cmd {
            Cmd::Acquire(id, _) => self.grants.push(Grant {
                id,
                token: next.token(),
                is_told: false,
                until: 0,
                is_over: false,
                is_late: None,
            }),
            Cmd::HolderCommand(id, deed) => {
                let is_late = before.is_some_and(|stored| stored.rec.expires_at() <= clock);
                // Nothing is done before it was begun, and that may have been by a clock that was ahead.
                let now = clock.max(next.record.acquired_at().as_micros());
                let is_near = |at: Time| config.kind == StoreKind::Server || at.abs_diff(now) < CLOSE;
                if deed.is_outcome() && is_late {
                    config.met.event(Event::LateOutcome);
                }
                if deed.is_outcome() && !next.record.done_at().is_some_and(|at| is_near(at.as_micros())) {
                    self.fault(Check::LateIsJudgedAtTheWrite);
                }
                if deed.ends()
                    && let Some(grant) = self.grant(id, next.token())
                {
                    grant.is_over = true;
                    grant.is_late = deed.is_outcome().then_some(is_late);
                }
            }
            Cmd::Operate(_) => {
                for grant in &mut self.grants {
                    grant.is_over = true;
                }
            }
        }
    }

    /// A caller is given the lease.
    pub(crate) fn granted(&mut self, id: Id, rec: &Rec, how: How) {
        let Some(grant) = self.grant(id, rec.token()) else { return self.fault(Check::GrantIsStored) };
        grant.is_told = true;
        grant.until = grant.until.max(rec.expires_at());
        let told: Vec<Time> =
            self.grants.iter().filter(|grant| grant.is_told).map(|grant| grant.token).collect();
        if !told.is_sorted_by(|one, next| one < next) {
            self.fault(match how {
                How::Answered => Check::TokensRiseWhereAnswered,
                How::Found => Check::TokensRiseWhereFound,
                How::SentAgain => Check::TokensRiseWhereSentAgain,
            });
        }
    }

    /// A holder is given the acknowledgement of its act.
    pub(crate) fn done(
        &mut self,
        id: Id,
        deed: Deed,
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
        if deed == Deed::Extend {
            grant.until = grant.until.max(ack.expires_at().as_micros());
        }
        if grant.is_late.is_some_and(|is_late| deed.is_outcome() && is_late != ack.is_late()) {
            self.fault(Check::LateIsJudgedAtTheWrite);
        }
    }

    /// The answer to a reading is not that of the table.
    pub(crate) fn astray(&mut self, cmd: Cmd, cell: Kind) {
        self.fault(match (cmd, cell) {
            (_, Kind::Repeated) => Check::SentAgainIsTheSame,
            (Cmd::HolderCommand(_, deed), Kind::Written) if deed.is_outcome() => Check::LateOutcomeCounts,
            (_, Kind::InDoubt) => Check::DoubtIsLeftToTheOperator,
            (_, Kind::Mismatch) => Check::OutcomeIsOfTheSameRequest,
            _ => Check::Table,
        });
    }

    fn grant(&mut self, id: Id, token: Time) -> Option<&mut Grant> {
        self.grants.iter_mut().rev().find(|grant| grant.id == id && grant.token == token)
    }

    pub(crate) fn tidy(&mut self, clock: Time) {
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

/// The promise that a write breaks whose cell of the table, at the instant of the write, is another one.
fn at_the_write_fault(cmd: Cmd, cell: Kind) -> Option<Check> {
    Some(match (cmd, cell) {
        (_, Kind::Written) => return None,
        (Cmd::HolderCommand(_, Deed::Abandon), Kind::Repeated) => Check::NothingIsWrittenToWhatIsOver,
        (_, Kind::Repeated | Kind::Reused) => Check::SentAgainIsTheSame,
        (Cmd::Acquire(..), Kind::Completed | Kind::Failed) => Check::FinishedStays,
        (_, Kind::InProgress | Kind::Busy) => Check::OneLiveGrant,
        (_, Kind::InDoubt) => Check::DoubtIsLeftToTheOperator,
        (_, Kind::Mismatch) => Check::OutcomeIsOfTheSameRequest,
        (_, Kind::NotHolder) => Check::SupersededChangesNothing,
        (_, Kind::Lapsed) => Check::LapsedStaysLapsed,
        (_, Kind::Finished | Kind::Released) => Check::FinishedStays,
        (_, Kind::NotFound | Kind::NothingToForget) => Check::NothingIsWrittenToWhatIsOver,
        (_, Kind::Completed | Kind::Failed | Kind::Store) => Check::Table,
    })
}
