//! The possible events of a state, for the checker.

use stateright::{Model, Property};

use crate::bugs::Bug;
use crate::checks::CHECKS;
use crate::config::{Config, Kind, Work};
use crate::flight::{Guess, Request, Response};
use crate::state::State;
use crate::waiting::{Reading, key_state};
use crate::words::{BACKOFF, Cmd, HolderOp, Operation, RETRY_AFTER, TOKEN_AGE, Time};

/// An event. Callers and writes without a caller are identified by their positions, which change
/// from state to state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A caller begins an acquire, with a reading of the clock that is this much ahead.
    Acquire(usize, Time),
    /// A holder begins a command, with a reading of the clock that is this much ahead.
    HolderCommand(usize, HolderOp, Time),
    /// A caller repeats its last operation.
    Again(usize),
    Operate(usize, Operation),
    /// The store answers a load.
    Look(usize),
    /// A write arrives at the store. The time of a conflict is this much ahead.
    Land(usize, Time),
    /// The reply to a write arrives.
    Deliver(usize),
    /// A caller gives up on the reply to a write.
    Doubt(usize),
    /// The store refuses a request.
    Fail(usize),
    LandOrphan(usize),
    Crash(usize),
    /// A caller drops an acquire before its reply. The engine abandons the lease that may be
    /// granted.
    HangUp(usize),
    /// A holder passes its lease id to another caller.
    Handle(usize, usize),
    Purge,
    Tick,
    Jump(Time),
    Observe(usize),
    BeginReading,
    Read,
    Show,
    Take(usize),
}

impl Model for Config {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.history.broken & self.checks != 0 {
            return;
        }
        for c in 0..state.callers.len() {
            self.actions_of(state, c, actions);
        }
        actions.extend((0..state.orphans.len()).map(Action::LandOrphan));
        if state.server.purge_at(self).is_some_and(|at| at <= state.clock) {
            actions.push(Action::Purge);
        }
        if state.left.ticks > 0 {
            actions.push(Action::Tick);
        }
        if state.left.jumps > 0 {
            actions.extend(self.instants(state).into_iter().map(Action::Jump));
        }
        if state.callers.iter().any(|caller| caller.wait.is_some()) {
            actions.push(match state.reader.reading {
                Reading::None => Action::BeginReading,
                Reading::Begun(_) => Action::Read,
                Reading::Read(_) => Action::Show,
            });
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Bug::plant(self.bug);
        let mut next = state.clone();
        next.apply(action, self);
        let key_state = key_state(next.server.valid(self), next.clock);
        for caller in &mut next.callers {
            if let Some(wait) = &mut caller.wait {
                wait.add_state(key_state);
            }
        }
        next.normalise();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let property = |n: usize| Property::always(CHECKS[n].0, CONDITIONS[n]);
        (0..CHECKS.len()).filter(|&n| self.checks & CHECKS[n].1 as u32 != 0).map(property).collect()
    }
}

type Condition = fn(&Config, &State) -> bool;

/// The checker takes plain functions, so each check has its own.
const CONDITIONS: [Condition; CHECKS.len()] = [
    holds::<0>,
    holds::<1>,
    holds::<2>,
    holds::<3>,
    holds::<4>,
    holds::<5>,
    holds::<6>,
    holds::<7>,
    holds::<8>,
    holds::<9>,
    holds::<10>,
    holds::<11>,
    holds::<12>,
    holds::<13>,
    holds::<14>,
    holds::<15>,
    holds::<16>,
    holds::<17>,
    holds::<18>,
];

fn holds<const N: usize>(_: &Config, state: &State) -> bool {
    state.history.broken & CHECKS[N].1 as u32 == 0
}

impl Config {
    fn actions_of(&self, state: &State, c: usize, actions: &mut Vec<Action>) {
        let (caller, left) = (&state.callers[c], &state.left);
        let (is_idle, is_waiting) = (caller.flight.is_none(), caller.wait.is_some());
        if caller.is_operator && is_idle && left.operations > 0 {
            actions.extend(self.operations.iter().map(|&operation| Action::Operate(c, operation)));
        }
        if is_waiting && state.has_answer_for(c, self) {
            actions.push(Action::Take(c));
        }
        if !caller.is_operator && is_idle && !is_waiting {
            self.actions_of_idle(state, c, actions);
        }
        if let Some(flight) = &caller.flight {
            let is_write = matches!(flight.request, Request::Swap(_));
            if caller.is_answered {
                actions.push(Action::Deliver(c));
            } else {
                if is_write {
                    actions.extend(self.aheads().map(|ahead| Action::Land(c, ahead)));
                } else {
                    actions.push(Action::Look(c));
                }
                if is_write && left.doubts > 0 && state.orphans.len() < self.orphans {
                    actions.push(Action::Doubt(c));
                }
                if left.failures > 0 {
                    actions.push(Action::Fail(c));
                }
            }
            let has_room = !is_write || caller.is_answered || state.orphans.len() < self.orphans;
            if left.hangups > 0 && has_room && matches!(flight.cmd, Cmd::Acquire(..)) {
                actions.push(Action::HangUp(c));
            }
        }
        let is_busy = caller.lease.is_some() || caller.flight.is_some();
        let is_lonely = caller.flight.as_ref().is_none_or(|flight| {
            !matches!(flight.request, Request::Swap(_))
                || caller.is_answered
                || state.orphans.len() < self.orphans
        });
        if left.crashes > 0 && is_busy && is_lonely && !caller.is_operator {
            actions.push(Action::Crash(c));
        }
    }

    fn actions_of_idle(&self, state: &State, c: usize, actions: &mut Vec<Action>) {
        let (caller, left) = (&state.callers[c], &state.left);
        match &caller.lease {
            None if left.acquires > 0 => actions.extend(self.aheads().map(|ahead| Action::Acquire(c, ahead))),
            None => {}
            Some(_) => {
                if left.acts > 0 {
                    let holder_ops =
                        self.holder_ops.iter().map(|&work| holder_op(work, caller.who.print.unwrap_or(0)));
                    for ahead in self.aheads() {
                        actions.extend(
                            holder_ops.clone().map(|holder_op| Action::HolderCommand(c, holder_op, ahead)),
                        );
                    }
                }
                if left.handles > 0 {
                    let takers = (0..state.callers.len()).filter(|&taker| {
                        let taker = &state.callers[taker];
                        taker.lease.is_none() && taker.flight.is_none() && !taker.is_operator
                    });
                    actions.extend(takers.map(|taker| Action::Handle(c, taker)));
                }
            }
        }
        if left.agains > 0 && caller.last.is_some() {
            actions.push(Action::Again(c));
        }
        if left.observers > 0 {
            actions.push(Action::Observe(c));
        }
    }

    /// Returns the amounts by which a reading of the clock may be ahead.
    fn aheads(&self) -> impl Iterator<Item = Time> + use<> {
        std::iter::once(0).chain(self.ahead)
    }

    /// Returns the future times at which something changes.
    fn instants(&self, state: &State) -> Vec<Time> {
        let mut instants = Vec::new();
        if let Some(stored) = &state.server.stored {
            let record = &stored.rec.record;
            instants.extend([record.expires_at().as_micros(), record.keep_until().as_micros()]);
            instants.extend(state.server.purge_at(self));
            let waits = [BACKOFF, RETRY_AFTER].into_iter();
            instants.extend(
                record
                    .done_at()
                    .into_iter()
                    .flat_map(|at| waits.clone().map(move |wait| at.as_micros() + wait)),
            );
        }
        let flights = state.callers.iter().filter_map(|caller| match caller.flight.as_ref()?.request {
            Request::Load => None,
            Request::Swap(ref put) => Some(put),
        });
        for put in flights.chain(state.orphans.iter().map(|orphan| &orphan.put)) {
            if self.kind == Kind::Server && put.expected.is_none() {
                instants.extend([TOKEN_AGE / 2, TOKEN_AGE].map(|age| put.next.token() + age));
            }
        }
        instants.retain(|&at| at > state.clock);
        instants.sort_unstable();
        instants.dedup();
        instants
    }
}

fn holder_op(work: Work, print: u8) -> HolderOp {
    match work {
        Work::Extend => HolderOp::Extend,
        Work::Checkpoint => HolderOp::Checkpoint,
        Work::Complete => HolderOp::Complete(print),
        Work::CompleteOtherwise => HolderOp::Complete(8),
        Work::Fail => HolderOp::Fail(print),
        Work::FailFor => HolderOp::FailFor(print),
        Work::Release => HolderOp::Release,
        Work::Abandon => HolderOp::Abandon,
        Work::Doubt => HolderOp::Doubt,
    }
}

impl State {
    fn apply(&mut self, action: Action, config: &Config) {
        match action {
            Action::Acquire(c, ahead) => {
                self.left.acquires -= 1;
                let cmd = Cmd::Acquire(self.draw(), self.callers[c].who);
                self.begin(c, cmd, Guess::Absent, self.clock + ahead, false, config);
            }
            Action::HolderCommand(c, holder_op, ahead) => {
                self.left.acts -= 1;
                let Some(lease) = self.callers[c].lease.clone() else { return };
                let rec = lease.rec.filter(|_| !matches!(holder_op, HolderOp::Abandon | HolderOp::Doubt));
                let guess = rec.map_or(Guess::None, Guess::Record);
                self.begin(
                    c,
                    Cmd::HolderCommand(lease.id, holder_op),
                    guess,
                    self.clock + ahead,
                    false,
                    config,
                );
            }
            Action::Again(c) => {
                self.left.agains -= 1;
                let Some(cmd) = self.callers[c].last else { return };
                let guess = if matches!(cmd, Cmd::Acquire(..)) { Guess::Absent } else { Guess::None };
                self.begin(c, cmd, guess, self.clock, true, config);
            }
            Action::Operate(c, operation) => {
                self.left.operations -= 1;
                self.begin(c, Cmd::Operate(operation), Guess::None, 0, false, config);
            }
            Action::Look(c) => self.look(c, config),
            Action::Land(c, ahead) => self.write_arrives(c, ahead, config),
            Action::Deliver(c) => self.deliver(c, config),
            Action::Doubt(c) => {
                self.left.doubts -= 1;
                self.orphan(c);
                self.answer(c, Response::Indeterminate, None, config);
            }
            Action::Fail(c) => {
                self.left.failures -= 1;
                self.answer(c, Response::Unavailable, None, config);
            }
            Action::LandOrphan(orphan) => self.orphan_arrives(orphan, config),
            Action::Crash(c) => {
                self.left.crashes -= 1;
                self.orphan(c);
                let caller = &mut self.callers[c];
                (caller.lease, caller.flight, caller.is_answered) = (None, None, false);
            }
            Action::HangUp(c) => {
                self.left.hangups -= 1;
                self.orphan(c);
                let Some(id) = self.callers[c].flight.as_ref().and_then(|flight| flight.cmd.id()) else {
                    return;
                };
                self.begin(c, Cmd::HolderCommand(id, HolderOp::Abandon), Guess::None, 0, false, config);
            }
            Action::Handle(c, taker) => {
                self.left.handles -= 1;
                let mut lease = self.callers[c].lease.clone();
                if let Some(lease) = &mut lease {
                    lease.rec = None;
                }
                self.callers[taker].lease = lease;
            }
            Action::Purge => self.purge(config),
            Action::Tick => {
                self.left.ticks -= 1;
                self.clock += 1;
            }
            Action::Jump(to) => {
                self.left.jumps -= 1;
                self.clock = to;
            }
            Action::Observe(c) => {
                self.left.observers -= 1;
                self.wait(c, false, config);
            }
            Action::BeginReading => self.begin_reading(),
            Action::Read => self.read_for_all(config),
            Action::Show => self.show(config),
            Action::Take(c) => self.take(c, config),
        }
    }
}
