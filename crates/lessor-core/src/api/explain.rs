//! [`Explanation`], which states in sentences why a key is in its state.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::data::history::{EndedBy, HistoryEntry, HistoryKind};
use crate::data::key::Key;
use crate::data::state::State;
use crate::data::time::Timestamp;
use crate::data::view::View;

/// The reasons for the state of a key, returned by [`Engine::explain`](crate::Engine::explain).
///
/// The fields are data for programs. `Display` states the same in sentences: the state and since
/// when, why the work ran, why it ran more than once, and what the key waits for. Neither contains
/// results, metadata, error details or lease ids.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Acquisition, Engine};
/// use lessor_memory::MemoryStore;
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// for _ in 0..2 {
///     let Acquisition::Acquired(lease) = engine.acquire("payout:7").holder("host-1").wait()? else {
///         unreachable!("nobody has the lease");
///     };
///     lease.abandon().wait()?;
/// }
/// let explanation = engine.explain("payout:7").wait()?;
/// let text = explanation.to_string();
/// assert!(text.contains("attempt 1 was abandoned by host-1"), "{text}");
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The key.
    pub key: Key,
    /// The state, or `None` if the key has no record: it was never acquired, it was forgotten, or
    /// its retention has ended.
    pub state: Option<State>,
    /// The time at which the state began. `None` without a record.
    pub since: Option<Timestamp>,
    /// The number of grants.
    pub attempts: u32,
    /// The label of the last holder, if it has one.
    pub holder: Option<String>,
    /// The error code of failed work.
    pub error_code: Option<String>,
    /// The event that the next acquire would have to wait for.
    pub waits_for: WaitsFor,
    /// The latest events of the key, in the order of time.
    pub history: Vec<HistoryEntry>,
}

/// The event that the next acquire of a key would have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitsFor {
    /// Nothing. The key can be acquired now.
    Nothing,
    /// The end of a live lease after this time in seconds, unless it is renewed, or its outcome.
    Lease(#[serde(serialize_with = "seconds")] Duration),
    /// The end of the wait before a retry, after this time in seconds.
    Retry(#[serde(serialize_with = "seconds")] Duration),
    /// A decision: the work is in doubt.
    Decision,
    /// The policy of the caller: the key has lapsed, and only some policies take it over.
    Policy,
    /// Nothing will happen. The key has an outcome, which every caller gets.
    Outcome,
}

fn seconds<S: serde::Serializer>(wait: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(wait.as_secs_f64())
}

impl Explanation {
    pub(crate) fn new(key: Key, view: Option<&View>) -> Self {
        let Some(view) = view else {
            let (waits_for, history) = (WaitsFor::Nothing, Vec::new());
            let (state, since, holder, error_code) = (None, None, None, None);
            return Self { key, state, since, attempts: 0, holder, error_code, waits_for, history };
        };
        let history = view.history();
        let waits_for = match view.state() {
            State::InProgress => WaitsFor::Lease(view.wait().unwrap_or_default()),
            State::Lapsed if view.is_in_doubt() => WaitsFor::Decision,
            State::Lapsed => WaitsFor::Policy,
            State::Completed => WaitsFor::Outcome,
            State::Failed => view.wait().map_or(WaitsFor::Outcome, WaitsFor::Retry),
            State::Released => WaitsFor::Nothing,
        };
        let since = match view.state() {
            State::InProgress => granted_at(&history),
            _ => history.last().map(HistoryEntry::at),
        };
        Self {
            key,
            state: Some(view.state()),
            since,
            attempts: view.attempt(),
            holder: view.holder().map(str::to_owned),
            error_code: view.error_code().map(str::to_owned),
            waits_for,
            history,
        }
    }

    fn write_state(&self, f: &mut fmt::Formatter<'_>, state: State) -> fmt::Result {
        write!(f, "The key {:?} ", self.key.as_str())?;
        let by = By(self.holder.as_deref(), self.history.last().map_or(EndedBy::Holder, HistoryEntry::by));
        let at = At(self.since);
        match (state, self.waits_for) {
            (State::InProgress, _) => write!(f, "is in progress, since{at}, {by}."),
            (State::Lapsed, WaitsFor::Decision) => write!(f, "is in doubt, since{at}. It was left so {by}."),
            (State::Lapsed, _) => write!(f, "has lapsed, at{at}. It was held {by}, and has no outcome."),
            (State::Completed, _) => write!(f, "was completed, at{at}, {by}."),
            (State::Failed, _) => {
                let code = self.error_code.as_deref().unwrap_or_default();
                write!(f, "has failed, at{at}, with the code {code:?}, {by}.")
            }
            (State::Released, _) => write!(f, "was released without an outcome, at{at}, {by}."),
        }
    }

    /// Writes why the work ran, once or more.
    fn write_runs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts {
            0 => return Ok(()),
            1 => return write!(f, "\nThe work ran once, because the key had no record."),
            attempts => write!(f, "\nThe work may have run {attempts} times.")?,
        }
        let ends =
            self.history.iter().filter(|entry| entry.attempt() < self.attempts && is_end(entry.kind()));
        let mut is_any_known = false;
        for end in ends {
            is_any_known = true;
            write!(f, "\n- attempt {} ", end.attempt())?;
            let (by, at) = (By(end.holder(), end.by()), At(Some(end.at())));
            match end.kind() {
                HistoryKind::Abandoned => write!(f, "was abandoned {by}, at{at}.")?,
                HistoryKind::LeftInDoubt => {
                    write!(f, "was left in doubt {by}, at{at}. The next caller reconciled.")?;
                }
                HistoryKind::Released => write!(f, "was released {by}, at{at}.")?,
                HistoryKind::Failed => write!(f, "failed {by}, at{at}. A retry was allowed.")?,
                _ => write!(f, "was held {by} and ran out of time, at{at}.")?,
            }
        }
        if !is_any_known {
            write!(f, " The history does not reach back to the earlier attempts.")?;
        }
        Ok(())
    }

    fn write_wait(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.waits_for {
            WaitsFor::Nothing => write!(f, "\nThe next caller acquires it."),
            WaitsFor::Lease(left) => write!(
                f,
                "\nOther callers wait for its outcome. The lease runs out in {left:?} unless it is renewed."
            ),
            WaitsFor::Retry(left) => {
                write!(f, "\nCallers get the failure for {left:?}. Then the next one retries.")
            }
            WaitsFor::Decision => write!(
                f,
                "\nNobody takes it over blindly. Find out whether the work was done, then resolve the key, \
                 or acquire it with OnLapsed::Reconcile."
            ),
            WaitsFor::Policy => write!(
                f,
                "\nThe next caller takes it over, unless its policy is OnLapsed::InDoubt. The last holder may \
                 still deliver its outcome before that."
            ),
            WaitsFor::Outcome if self.state == Some(State::Failed) => {
                write!(f, "\nCallers get the failure, unless their policy retries it.")
            }
            WaitsFor::Outcome => write!(f, "\nCallers get the result. The work is not run again."),
        }
    }
}

fn granted_at(history: &[HistoryEntry]) -> Option<Timestamp> {
    history.iter().rev().find(|entry| entry.kind() == HistoryKind::Granted).map(HistoryEntry::at)
}

fn is_end(kind: HistoryKind) -> bool {
    !matches!(kind, HistoryKind::Granted | HistoryKind::Renewed | HistoryKind::Checkpointed)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            None => {
                write!(f, "The key {:?} has no record.", self.key.as_str())?;
            }
            Some(state) => self.write_state(f, state)?,
        }
        self.write_runs(f)?;
        self.write_wait(f)
    }
}

/// The holder with its label, or an operator.
struct By<'a>(Option<&'a str>, EndedBy);

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.1, self.0) {
            (EndedBy::Operator, _) => f.write_str("by an operator"),
            (EndedBy::OperatorByForce, _) => f.write_str("by an operator, by force"),
            (EndedBy::Holder, Some(holder)) => write!(f, "by {holder}"),
            (EndedBy::Holder, None) => f.write_str("by a holder without a label"),
        }
    }
}

/// A time, in UTC.
struct At(Option<Timestamp>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, " {}", humantime::format_rfc3339_micros(at.to_system_time())),
            None => f.write_str(" an unknown time"),
        }
    }
}
