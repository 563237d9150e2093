//! The store: one record, and compare-and-swap in one step.

use lessor_core::Token;

use crate::bugs::Bug;
use crate::config::{Config, Kind};
use crate::flight::{Put, Response};
use crate::words::{Rec, TOKEN_AGE, Time, at};

/// The stored record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) rec: Rec,
    /// The fingerprint in the record.
    pub(crate) print: Option<u8>,
    /// The time at which a fresh grant arrived at a store of the kind `Server`. Zero for other
    /// records.
    pub(crate) on_write: Time,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) stored: Option<Stored>,
    /// The highest purged token, which a store of the kind `Local` checks.
    pub(crate) floor: Time,
}

impl Server {
    /// Reads the record. Removes a fresh grant that arrived too late.
    pub(crate) fn read(&mut self, config: &Config) -> Option<&Stored> {
        if self.stored.as_ref().is_some_and(|stored| is_void(stored, config)) {
            self.stored = None;
        }
        self.stored.as_ref()
    }

    /// Returns the record, unless it is a fresh grant that arrived too late.
    pub(crate) fn valid(&self, config: &Config) -> Option<&Stored> {
        self.stored.as_ref().filter(|stored| !is_void(stored, config))
    }

    pub(crate) fn load(&mut self, clock: Time, config: &Config) -> Response {
        Response::Current(self.read(config).map(|stored| stored.rec.clone()), clock)
    }

    /// Performs the write if it is allowed.
    pub(crate) fn swap(&mut self, put: &Put, print: Option<u8>, clock: Time, config: &Config) -> Response {
        let change = put.change();
        let is_fresh = config.kind == Kind::Server && put.expected.is_none() && !change.is_timed();
        let current = self.read(config).map(|stored| stored.rec.clone());
        let expects = match config.bug {
            Some(Bug::SwapComparesOnlyTheToken) => {
                put.expected.as_ref().map(Rec::token) == current.as_ref().map(Rec::token)
            }
            _ => change.matches(current.as_ref().map(|rec| &rec.record)),
        };
        if !expects {
            return Response::Current(current, clock);
        }
        let is_due = match config.bug {
            Some(Bug::StoreIgnoresNotBefore) => change.not_after.is_none_or(|end| at(clock) < end),
            Some(Bug::StoreIgnoresNotAfter) => change.not_before.is_none_or(|begin| at(clock) >= begin),
            _ => change.in_window(at(clock)),
        };
        let floor = match config.bug {
            Some(Bug::StoreForgetsPurgedTokens) => 0,
            Some(Bug::StoreAcceptsEqualTokens) => self.floor.saturating_sub(1),
            _ => self.floor,
        };
        let is_above_floor = config.kind == Kind::Server || change.is_above_floor(Token::from_u64(floor));
        if !is_due || !is_above_floor {
            return Response::Rejected(current, clock);
        }
        let on_write = if is_fresh { clock } else { 0 };
        let is_at_hand = config.kind == Kind::Local && config.bug != Some(Bug::LatenessIsDecidedByTheReading);
        let stamped = change.stamped(at(clock)).filter(|_| is_at_hand).map(Rec::new);
        let rec = stamped.clone().unwrap_or_else(|| put.next.clone());
        self.stored = Some(Stored { rec, print, on_write });
        stamped.map_or(Response::Stored, Response::Stamped)
    }

    /// Handles the reply to a fresh grant at `clock`. A late reply does not show whether the grant
    /// counts, so the record is read.
    pub(crate) fn check_late(&mut self, put: &Put, clock: Time, config: &Config) -> Response {
        let is_in_time = clock < put.next.token() + TOKEN_AGE / 2;
        if is_in_time || config.bug == Some(Bug::LateReplyIsAccepted) {
            return Response::Stored;
        }
        if config.bug == Some(Bug::LateRecordIsAccepted) {
            self.stored = self.stored.take().filter(|stored| stored.rec != put.next);
            return Response::Rejected(None, clock);
        }
        match self.read(config) {
            Some(stored) if stored.rec == put.next => Response::Stored,
            current => Response::Current(current.map(|stored| stored.rec.clone()), clock),
        }
    }

    /// Returns the time at which the record may be purged.
    pub(crate) fn purge_at(&self, config: &Config) -> Option<Time> {
        let rec = &self.stored.as_ref()?.rec;
        let at = match config.bug {
            Some(Bug::PurgeIgnoresRetention) => rec.expires_at(),
            _ => rec.record.purge_at().as_micros(),
        };
        match (config.kind, config.bug) {
            (Kind::Local, _) | (_, Some(Bug::PurgeIgnoresTokenAge)) => Some(at),
            (Kind::Server, _) => Some(at.max(rec.token() + TOKEN_AGE)),
        }
    }

    pub(crate) fn purge(&mut self) {
        if let Some(stored) = self.stored.take() {
            self.floor = self.floor.max(stored.rec.token());
        }
    }
}

/// Returns whether a record with a higher token may have been purged before this one arrived.
fn is_void(stored: &Stored, config: &Config) -> bool {
    let age = match config.bug {
        Some(Bug::LateRecordIsAccepted) | Some(Bug::LateReplyIsAccepted) => return false,
        Some(Bug::LateRecordCountsTooLong) => TOKEN_AGE + 1,
        _ => TOKEN_AGE / 2,
    };
    stored.on_write > 0 && stored.on_write >= stored.rec.token() + age
}
