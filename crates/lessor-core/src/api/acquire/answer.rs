//! The answers to requests for leases.

use std::sync::Arc;
use std::time::Duration;

use crate::api::lease::Lease;
use crate::data::error::Error;
use crate::data::granted::Granted;
use crate::data::key::Key;
use crate::data::lease_id::LeaseId;
use crate::data::record::Record;
use crate::data::state::State;
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::data::view::View;
use crate::rules::{Answer, KeyStatus};
use crate::run::context::{Answered, Handle, Work};
use crate::run::observer::event::{Event, EventKey};
use crate::run::tasks::abandon;
use crate::store::operation::{Executed, Operation, Report};
use crate::store::types::Reply;
use crate::sync::pending::Pending;

/// The answer to a request for a lease.
///
/// Later releases may add variants. None of them will grant a lease, so treat an unknown one like
/// [`InProgress`](Self::InProgress): acquire again later.
#[derive(Debug)]
#[must_use = "a lease that is dropped is abandoned immediately"]
#[non_exhaustive]
pub enum Acquisition {
    /// The caller holds the lease and must do the work.
    Acquired(Lease),
    /// Another caller holds the lease. [`View::ttl_left`] and [`View::retry_after`] return the
    /// remaining time.
    InProgress(View),
    /// The work is completed. [`View::result`] returns the result.
    Completed(View),
    /// The work failed, and the policy does not allow another attempt, or not before
    /// [`View::retry_after`].
    Failed(View),
    /// The last holder's lease lapsed, and the policy leaves the decision to the caller: find out
    /// how far the work got, then call [`Engine::resolve`](crate::Engine::resolve).
    InDoubt(View),
}

impl KeyStatus {
    #[inline]
    pub(super) fn acquisition(self, record: &Record, now: Timestamp) -> Acquisition {
        let view = self.view(record, now);
        match self {
            Self::InProgress => Acquisition::InProgress(view),
            Self::Completed => Acquisition::Completed(view),
            Self::Failed { .. } => Acquisition::Failed(view),
            Self::InDoubt => Acquisition::InDoubt(view),
        }
    }

    #[inline]
    pub(super) fn event(self, key: &str) -> Event<'_> {
        let (answer, in_doubt) = match self {
            Self::InProgress => (State::InProgress, false),
            Self::Completed => (State::Completed, false),
            Self::Failed { .. } => (State::Failed, false),
            Self::InDoubt => (State::Lapsed, true),
        };
        Event::Answered { key: key.into(), answer, in_doubt }
    }
}

/// Converts the store's answer into the caller's.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    pub(super) ttl: Duration,
    /// True if the caller chose the lease id.
    pub(super) chosen: bool,
}

/// A record that the operation wrote, and the time of the write.
pub(super) type Written = Option<(Record, Timestamp)>;

impl Finish {
    /// Handles the less common reports. An earlier grant is stored in `granted`. In that case an
    /// answer is returned only if the caller has to learn that the grant is not new.
    #[cold]
    pub(super) fn rare(
        self,
        report: Report<'_>,
        granted: &mut Option<Granted>,
    ) -> Option<Result<Acquisition, Error>> {
        match report {
            Report::Answer(Answer::Resent(record)) => {
                *granted = Some(Granted::of_earlier(record.body()));
                // With an id that the engine generated, no other caller can have received the
                // grant.
                self.chosen.then(|| Err(Error::unexpected()))
            }
            Report::Answer(answer) => Some(acquisition(answer.clone())),
            Report::Refused(error) => Some(Err(self.refusal(error.clone()))),
            _ => Some(Err(Error::unexpected())),
        }
    }

    #[inline]
    pub(super) fn lease(
        self,
        shared: &Arc<Handle>,
        text: &str,
        key: Option<Key>,
        (lease_id, granted): (LeaseId, Granted),
        resent: bool,
        written: Written,
    ) -> Pending<Result<Acquisition, Error>> {
        let key = key.unwrap_or_else(|| Key::checked(text));
        if let Some((record, now)) = written {
            // The new lease ends the former one, which a holder may watch.
            shared.watches.written(&key, &record, now);
        }
        let (key_of_event, token) = (text.into(), granted.token);
        match resent {
            true => shared.record(&Event::GrantRepeated { key: key_of_event, token }),
            false => shared.record(&Event::Granted {
                key: key_of_event,
                token,
                attempt: granted.attempt,
                after: granted.previous_end,
            }),
        }
        let lease = Lease::granted(Arc::clone(shared), (key, lease_id), self.ttl, granted, resent);
        Pending::ready(Ok(Acquisition::Acquired(lease)))
    }

    fn finish(self, shared: &Arc<Handle>, key: Key, answered: Answered) -> Result<Acquisition, Error> {
        let of = key.clone();
        let answer = self.finish_unobserved(shared, key, answered);
        observe(shared, (&of).into(), &answer);
        answer
    }

    fn finish_unobserved(
        self,
        shared: &Arc<Handle>,
        key: Key,
        answered: Answered,
    ) -> Result<Acquisition, Error> {
        let (record, resent) = match answered {
            Ok((Answer::Granted, Some(record))) => (record, false),
            Ok((Answer::Resent(record), _)) => (*record, self.chosen),
            Ok((answer, _)) => return acquisition(answer),
            Err(error) => return Err(self.refusal(error)),
        };
        let held = (key, record.body().lease_id);
        let granted = Granted::of_earlier(record.body());
        Ok(Acquisition::Acquired(Lease::granted(Arc::clone(shared), held, self.ttl, granted, resent)))
    }

    fn refusal(self, error: Error) -> Error {
        match error {
            // A generated id was rejected as used because of the request's own grant: the reply was
            // lost for longer than the lease.
            Error::LeaseIdReused if !self.chosen => Error::Lapsed,
            error => error,
        }
    }

    /// Returns a future for the answer that arrives with the store's reply.
    #[inline(never)]
    pub(super) fn later(
        self,
        shared: &Arc<Handle>,
        operation: &mut Operation<'_>,
        reply: Reply<Executed>,
    ) -> Pending<Result<Acquisition, Error>> {
        let (key, lease_id) = (operation.to_key(), operation.lease_id());
        // Another process may be working under an id that the caller chose.
        let work = if self.chosen { Work::MayHaveBegun } else { Work::NotBegun };
        let mut abandon_on_drop = AbandonOnDrop { shared: Arc::clone(shared), key, lease_id, work };
        reply.map(move |executed| {
            // An indeterminate write may have granted a lease. Unless the caller chose its id, only
            // the engine can abandon it.
            let may_be_granted = matches!(executed, Err(StoreError::Indeterminate(_))) && !self.chosen;
            abandon_on_drop.lease_id = abandon_on_drop.lease_id.filter(|_| may_be_granted);
            let answered = abandon_on_drop.shared.take(&abandon_on_drop.key, executed);
            self.finish(&abandon_on_drop.shared, abandon_on_drop.key.clone(), answered)
        })
    }
}

/// Reports the answer to an acquire.
#[cold]
pub(super) fn observe(shared: &Handle, key: EventKey<'_>, answer: &Result<Acquisition, Error>) {
    let event = match answer {
        Ok(Acquisition::Acquired(lease)) => match lease.grant_data() {
            Some(&Granted { token, .. }) if lease.is_duplicate() => Event::GrantRepeated { key, token },
            Some(&Granted { token, attempt, previous_end: after, .. }) => {
                Event::Granted { key, token, attempt, after }
            }
            None => return,
        },
        Ok(
            Acquisition::InProgress(view)
            | Acquisition::Completed(view)
            | Acquisition::Failed(view)
            | Acquisition::InDoubt(view),
        ) => {
            let in_doubt = matches!(answer, Ok(Acquisition::InDoubt(_)));
            Event::Answered { key, answer: view.state(), in_doubt }
        }
        // Sent again with a charge.
        Err(Error::QuotaExceeded(_)) => return,
        Err(error) => Event::NotAcquired { key, error },
    };
    shared.record(&event);
}

/// Returns the caller's answer if no lease is granted.
fn acquisition(answer: Answer) -> Result<Acquisition, Error> {
    match answer {
        Answer::InProgress(view) => Ok(Acquisition::InProgress(*view)),
        Answer::Completed(view) => Ok(Acquisition::Completed(*view)),
        Answer::Failed(view) => Ok(Acquisition::Failed(*view)),
        Answer::InDoubt(view) => Ok(Acquisition::InDoubt(*view)),
        Answer::Uncharged => Err(Error::uncharged()),
        _ => Err(Error::unexpected()),
    }
}

/// Abandons the lease of a request that was dropped before its answer arrived.
struct AbandonOnDrop {
    shared: Arc<Handle>,
    key: Key,
    /// `None` once the caller has received its answer.
    lease_id: Option<LeaseId>,
    work: Work,
}

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        if let Some(lease_id) = self.lease_id {
            abandon(&self.shared, self.key.clone(), lease_id, self.work);
        }
    }
}
