//! Performs the events.

use lessor_core::Error;
use lessor_core::rules::Answer;
use lessor_core::store::StoreError;

use crate::bugs::Bug;
use crate::checks::{Check, How};
use crate::config::{Config, Event, Kind as StoreKind};
use crate::flight::{Guess, InFlight, Outcome, Put, Request, Response};
use crate::state::{Lease, Orphan, State};
use crate::table::{Column, Kind, cell, column, kind};
use crate::waiting::{Observation, Reading, Wait, key_state};
use crate::words::{BY_OPERATOR, Cmd, HolderOp, Rec, Time};

impl State {
    /// Begins an operation of a caller. A first reading is performed as well, because no event in
    /// between would make a difference.
    pub(crate) fn begin(
        &mut self,
        c: usize,
        cmd: Cmd,
        guess: Guess,
        now: Time,
        is_again: bool,
        config: &Config,
    ) {
        let mut flight = InFlight::begin(cmd, guess, now);
        flight.is_again = is_again;
        let looks = flight.request == Request::Load;
        let caller = &mut self.callers[c];
        caller.flight = Some(flight);
        caller.is_answered = false;
        if self.left.agains > 0 && !is_again && !caller.is_operator {
            caller.last = Some(cmd);
        }
        if looks {
            self.look(c, config);
        }
    }

    /// The store answers a load.
    pub(crate) fn look(&mut self, c: usize, config: &Config) {
        let response = self.server.load(self.clock, config);
        let Some(flight) = &self.callers[c].flight else { return };
        let cell = cell(self.server.stored.as_ref(), self.clock, flight.cmd);
        self.answer(c, response, Some(cell), config);
    }

    /// A caller's write arrives at the store.
    pub(crate) fn write_arrives(&mut self, c: usize, ahead: Time, config: &Config) {
        let Some(InFlight { cmd, request: Request::Swap(put), .. }) = self.callers[c].flight.clone() else {
            return;
        };
        let (response, cell) = self.swap(cmd, &put, config);
        if let Response::Current(current, now) = response {
            // The time of a conflict may be ahead. A write that is decided with such a time depends
            // on the window of the write.
            let cell = (ahead == 0).then_some(cell).flatten();
            return self.answer(c, Response::Current(current, now + ahead), cell, config);
        }
        let is_fresh = put.expected.is_none() && config.kind == StoreKind::Server;
        if response == Response::Stored && is_fresh {
            self.callers[c].is_answered = true;
        } else {
            self.answer(c, response, cell, config);
        }
    }

    /// The reply to a fresh grant arrives.
    pub(crate) fn deliver(&mut self, c: usize, config: &Config) {
        let Some(InFlight { cmd, request: Request::Swap(put), .. }) = self.callers[c].flight.clone() else {
            return;
        };
        self.callers[c].is_answered = false;
        let response = self.server.check_late(&put, self.clock, config);
        let cell = matches!(response, Response::Current(..))
            .then(|| cell(self.server.stored.as_ref(), self.clock, cmd));
        self.answer(c, response, cell, config);
    }

    pub(crate) fn purge(&mut self, config: &Config) {
        config.met.event(Event::Purge);
        if column(self.server.stored.as_ref(), self.clock) != Column::Absent {
            self.history.fault(Check::FinishedIsFinal);
        }
        self.server.purge();
    }

    /// A write without a caller arrives at the store.
    pub(crate) fn orphan_arrives(&mut self, orphan: usize, config: &Config) {
        let Orphan { cmd, put } = self.orphans.remove(orphan);
        self.swap(cmd, &put, config);
    }

    /// A caller gives up on its write, which stays in flight.
    pub(crate) fn orphan(&mut self, c: usize) {
        if let Some(InFlight { cmd, request: Request::Swap(put), .. }) = &self.callers[c].flight
            && !self.callers[c].is_answered
        {
            self.orphans.push(Orphan { cmd: *cmd, put: put.clone() });
        }
    }

    fn swap(&mut self, cmd: Cmd, put: &Put, config: &Config) -> (Response, Option<Kind>) {
        let before = self.server.valid(config).cloned();
        let cell = cell(before.as_ref(), self.clock, cmd);
        let goes_on = put.next.version() > 1;
        let known = before.as_ref().filter(|_| goes_on).and_then(|stored| stored.print);
        let print = match cmd {
            Cmd::Acquire(_, who) => who.print.or(known),
            _ => known,
        };
        let response = self.server.swap(put, print, self.clock, config);
        if !matches!(response, Response::Stored | Response::Stamped(_)) {
            return (response, Some(cell));
        }
        if let Some(stored) = self.server.valid(config) {
            self.history.on_write(cmd, before.as_ref(), &stored.rec, self.clock, config);
        } else {
            config.met.event(Event::TooLateGrant);
        }
        (response, None)
    }

    /// Passes a response of the store to the retry loop. `cell` is the table's answer for the
    /// record in it.
    pub(crate) fn answer(&mut self, c: usize, response: Response, cell: Option<Kind>, config: &Config) {
        let Some(mut flight) = self.callers[c].flight.take() else { return };
        match flight.on_response(response) {
            None => {
                if let (Request::Swap(_), Some(cell)) = (&flight.request, cell)
                    && cell != Kind::Written
                {
                    self.history.wrong_answer(flight.cmd, cell);
                }
                self.callers[c].flight = Some(flight);
            }
            Some(outcome) => self.end(c, &flight, outcome, cell, config),
        }
    }

    /// Ends an operation. Its caller gets the outcome.
    fn end(&mut self, c: usize, flight: &InFlight, outcome: Outcome, cell: Option<Kind>, config: &Config) {
        let kind = kind(&outcome);
        config.met.answer(kind);
        let written = outcome.as_ref().ok().and_then(|(_, written)| written.clone()).map(Rec::new);
        if written.is_some() && flight.is_unconfirmed() {
            config.met.event(Event::OwnWriteFound);
        }
        if written.is_some() && !matches!(kind, Kind::Written | Kind::Repeated) {
            self.history.fault(Check::RefusalsChangeNothing);
        }
        if let Some(cell) = cell
            && written.is_none()
            && kind != Kind::Store
            && kind != cell
        {
            self.history.wrong_answer(flight.cmd, cell);
        }
        match (flight.cmd, outcome) {
            (Cmd::Acquire(id, _), Ok((Answer::Granted, Some(_)))) => {
                let how = match (flight.is_again, flight.is_unconfirmed()) {
                    (_, true) => How::Found,
                    (true, false) => How::SentAgain,
                    (false, false) => How::Answered,
                };
                let rec = written.expect("a grant is written");
                self.history.granted(id, &rec, how);
                self.callers[c].lease = Some(Lease { id, rec: Some(rec) });
            }
            (Cmd::Acquire(id, _), Ok((Answer::Resent(record), _))) => {
                let rec = Rec::new(*record);
                let how =
                    if flight.is_again && !flight.is_unconfirmed() { How::SentAgain } else { How::Found };
                self.history.granted(id, &rec, how);
                self.callers[c].lease = Some(Lease { id, rec: Some(rec) });
            }
            (Cmd::Acquire(_, who), Ok((Answer::Completed(view) | Answer::Failed(view), _))) => {
                let value = view.result_bytes().and_then(|bytes| bytes.first().copied());
                let value = value.or(view.error_code().and_then(|code| code.parse().ok()));
                self.deliver_outcome(who.print, value);
            }
            (Cmd::Acquire(..), Ok((Answer::InProgress(_), _))) if config.waits => self.wait(c, true, config),
            (Cmd::Acquire(id, _), Err(Error::Store(StoreError::Indeterminate(_)))) if !config.is_chosen => {
                self.begin(c, Cmd::HolderCommand(id, HolderOp::Abandon), Guess::None, 0, false, config);
            }
            (Cmd::HolderCommand(id, holder_op), Ok((Answer::Done(ack), _))) => {
                self.history.done(id, holder_op, ack, written.as_ref(), config);
                let lease = self.callers[c].lease.as_mut().filter(|lease| lease.id == id);
                match lease {
                    Some(_) if holder_op.ends() => self.callers[c].lease = None,
                    Some(lease) if written.is_some() => lease.rec = written,
                    _ => {}
                }
            }
            (
                Cmd::HolderCommand(id, _),
                Err(Error::NotHolder { .. } | Error::NotFound | Error::Released | Error::Finished { .. }),
            ) if self.callers[c].lease.as_ref().is_some_and(|lease| lease.id == id) => {
                self.callers[c].lease = None;
            }
            _ => {}
        }
    }

    /// A caller gets the outcome of a request.
    fn deliver_outcome(&mut self, asked: Option<u8>, outcome: Option<u8>) {
        if let (Some(asked), Some(outcome)) =
            (asked, outcome.filter(|&value| value > 0 && value != BY_OPERATOR))
            && asked != outcome
        {
            self.history.fault(Check::OutcomeIsOfTheSameRequest);
        }
    }

    /// A caller begins to wait.
    pub(crate) fn wait(&mut self, c: usize, is_contender: bool, config: &Config) {
        let stamp = self.stamp();
        let key_states = vec![key_state(self.server.valid(config), self.clock)];
        self.callers[c].wait = Some(Wait { is_contender, stamp, key_states });
    }

    pub(crate) fn begin_reading(&mut self) {
        self.reader.reading = Reading::Begun(self.stamp());
    }

    pub(crate) fn read_for_all(&mut self, config: &Config) {
        let Reading::Begun(stamp) = self.reader.reading else { return };
        let stored = self.server.read(config).cloned();
        self.reader.reading = Reading::Read(Observation { stored, now: self.clock, stamp, shown: 0 });
    }

    pub(crate) fn show(&mut self, config: &Config) {
        if let Reading::Read(observation) = std::mem::take(&mut self.reader.reading) {
            let shown = self.shown(config);
            self.reader.put(Observation { shown, ..observation });
        }
    }

    fn shown(&mut self, config: &Config) -> u8 {
        match config.bug {
            Some(Bug::WaiterAcceptsAReadingInFlight | Bug::WaiterAcceptsAnEarlierReading) => self.stamp(),
            _ => 0,
        }
    }

    /// Returns whether the latest reading ends the wait.
    pub(crate) fn has_answer_for(&self, c: usize, config: &Config) -> bool {
        let (Some(wait), Some(observation)) = (&self.callers[c].wait, &self.reader.observation) else {
            return false;
        };
        let is_over = observation.column() != Column::Live;
        let tries = wait.is_contender && self.would_try(c, observation.column());
        observation.is_for(wait, config.bug) && is_over && (!tries || self.left.turns > 0)
    }

    fn would_try(&self, c: usize, column: Column) -> bool {
        match column {
            Column::Completed | Column::Live => false,
            Column::Failed => self.callers[c].who.retries,
            Column::Absent | Column::Lapsed | Column::Released => true,
        }
    }

    /// Ends a wait with the latest reading: it is the answer, or the waiter tries to acquire the
    /// key.
    pub(crate) fn take(&mut self, c: usize, config: &Config) {
        let Some(observation) = self.reader.observation.clone() else { return };
        let Some(wait) = self.callers[c].wait.take() else { return };
        if wait.is_contender && self.would_try(c, observation.column()) {
            self.left.turns -= 1;
            let id = self.draw();
            let cmd = Cmd::Acquire(id, self.callers[c].who);
            return self.begin(c, cmd, Guess::Absent, self.clock, false, config);
        }
        if !wait.key_states.contains(&key_state(observation.stored.as_ref(), observation.now)) {
            self.history.fault(Check::AnswerIsNotOlder);
        }
        let asked = self.callers[c].who.print;
        let known = observation.stored.as_ref().and_then(|stored| stored.print);
        let is_another = asked.zip(known).is_some_and(|(asked, known)| asked != known);
        let compares = config.bug != Some(Bug::WaiterIgnoresFingerprints);
        if wait.is_contender && is_another && !compares {
            self.history.fault(Check::OutcomeIsOfTheSameRequest);
        }
    }
}
