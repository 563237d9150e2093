//! [`Survey`], what a reading of the whole store says about keys without an outcome.

use std::time::Duration;

use serde::Serialize;

use crate::data::record::Record;
use crate::data::state::State;
use crate::data::time::Timestamp;
use crate::data::view::View;

/// The keys whose last lease has ended without an outcome. Returned by
/// [`Engine::survey`](crate::Engine::survey).
///
/// A survey reads the records one page after the other, so it may miss a change that is made
/// meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Survey {
    /// The keys that their holders left in doubt. They stay so until somebody decides.
    pub in_doubt: Unresolved,
    /// The other keys whose lease has lapsed. The policy of the next caller decides whether it takes
    /// over. To a caller with [`OnLapsed::InDoubt`](crate::OnLapsed::InDoubt), they are in doubt.
    pub lapsed: Unresolved,
}

/// A group of keys of a [`Survey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unresolved {
    /// The number of keys.
    pub keys: u64,
    /// The time since the lease of the oldest one has ended, if there is one.
    pub oldest: Option<Duration>,
}

impl Survey {
    /// Takes a record into account, as it was at `now`.
    pub(crate) fn add(&mut self, record: &Record, now: Timestamp) {
        match View::of(record, now) {
            Some(view) if view.state() != State::Lapsed => {}
            Some(view) if view.is_in_doubt() => self.in_doubt.add(record, now),
            Some(_) => self.lapsed.add(record, now),
            None => {}
        }
    }
}

impl Unresolved {
    fn add(&mut self, record: &Record, now: Timestamp) {
        self.keys += 1;
        self.oldest = self.oldest.max(Some(now.saturating_since(record.expires_at())));
    }
}
