//! Acquires of a namespace with a quota: a grant is charged before it is made.

use std::fmt;
use std::sync::Arc;

use crate::data::error::Error;
use crate::data::error_kind::ErrorKind;
use crate::data::time::Timestamp;
use crate::data::usage::Usage;
use crate::rules::quota::Quota;
use crate::rules::{Answer, Charge, Command};
use crate::run::context::Handle;
use crate::run::namespace::Namespace;
use crate::run::observer::event::Event;
use crate::run::units::{Next, Round, Unit, Units};
use crate::sync::pending::Pending;

/// An acquire whose grant is charged.
pub(crate) struct Charged<A, R> {
    pub(crate) engine: Arc<Handle>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) quota: Quota,
    /// Sends the acquire of the key with this text, which is granted only before a time. The answer
    /// is [`Error::QuotaExceeded`] if it could be granted later.
    pub(crate) request: R,
    pub(crate) text: String,
    /// Returns whether an answer is a grant.
    pub(crate) is_grant: fn(&A) -> bool,
    /// The unit that pays for the grant of the request in progress. Without one, the request cannot
    /// be granted and finds out whether a unit is necessary, so that replays and refusals are free.
    pub(crate) unit: Option<Unit>,
}

impl<A, R> Charged<A, R>
where
    A: Send + 'static,
    R: Fn(&str, Timestamp) -> Pending<Result<A, Error>> + Send + Sync + 'static,
{
    /// Sends the acquire.
    pub(crate) fn send(mut self) -> Pending<Result<A, Error>> {
        match self.request().try_take() {
            Ok(answer) => match self.settle(answer) {
                Some(answer) => Pending::ready(answer),
                None => Pending::later(self.run(None)),
            },
            Err(sent) => Pending::later(self.run(Some(sent))),
        }
    }

    fn request(&self) -> Pending<Result<A, Error>> {
        let until = self.unit.map_or(Timestamp::EPOCH, |unit| unit.until);
        (self.request)(&self.text, until)
    }

    fn units(&self) -> &Arc<Units> {
        &self.namespace.space.units
    }

    async fn run(mut self, mut sent: Option<Pending<Result<A, Error>>>) -> Result<A, Error> {
        loop {
            if let Some(sent) = sent.take()
                && let Some(answer) = self.settle(sent.await)
            {
                return answer;
            }
            match self.obtain().await {
                Ok(unit) => self.unit = Some(unit),
                Err(error) => {
                    let key = self.text.as_str().into();
                    self.engine.record(&Event::NotAcquired { key, error: &error });
                    return Err(error);
                }
            }
            sent = Some(self.request());
        }
    }

    /// Puts the unit back if it is certain that no grant was made with it. Returns `None` if the
    /// request has to be sent again with another unit.
    fn settle(&mut self, answer: Result<A, Error>) -> Option<Result<A, Error>> {
        match (&answer, self.unit.take()) {
            (Err(Error::QuotaExceeded(_)), unit) => {
                // The month of the unit is over.
                unit.into_iter().for_each(|unit| self.units().expire(unit));
                return None;
            }
            (_, Some(unit)) if !self.may_be_granted(&answer) => self.units().put_back(unit),
            _ => {}
        }
        Some(answer)
    }

    fn may_be_granted(&self, answer: &Result<A, Error>) -> bool {
        match answer {
            Ok(answer) => (self.is_grant)(answer),
            Err(error) => !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Mismatch),
        }
    }

    /// Takes a unit, or waits until a block of units is charged.
    async fn obtain(&self) -> Result<Unit, Error> {
        let mut first = None;
        loop {
            match self.units().next(&mut first) {
                Next::Use(unit) => return Ok(unit),
                Next::Fail(error) => return Err(error),
                Next::Wait(ended, round) => {
                    if let Some(round) = round {
                        self.charge(round);
                    }
                    ended.await;
                }
            }
        }
    }

    /// Charges a block of units. If the store does not answer immediately, the round ends on the
    /// thread for readers, whether this request is polled or not.
    fn charge(&self, round: Round) {
        let (most, limit) = (self.quota.most(), self.quota.limit());
        let nonce = match self.engine.lease_ids.draw() {
            Ok(nonce) => nonce,
            Err(error) => return round.end(Err(error)),
        };
        let command = Command::Charge(Charge::Take { nonce, most, limit });
        let key = self.namespace.space.quota_key.clone();
        let charged = self.engine.execute(key, command, move |answered| {
            round.end(match answered {
                Ok((Answer::Charged { units: 0, month, total }, _)) => {
                    Err(Error::QuotaExceeded(Box::new(Usage::new(month, total, limit))))
                }
                Ok((Answer::Charged { units, month, .. }, _)) => Ok((month, units)),
                Ok(_) => Err(Error::unexpected()),
                Err(error) => Err(error),
            });
        });
        if let Err(charged) = charged.try_take() {
            self.engine.background.readers.spawner().spawn(charged);
        }
    }
}

impl<A, R> fmt::Debug for Charged<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charged").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Gives the unused units of all namespaces back, before the engine is closed.
pub(crate) async fn give_back(engine: &Handle) {
    for space in engine.namespaces.all() {
        let Some((month, units)) = space.units.drain() else { continue };
        let Ok(nonce) = engine.lease_ids.draw() else { continue };
        // If this fails, the units stay charged, as after a crash.
        let _ = engine.run(&space.quota_key, Command::Charge(Charge::Return { nonce, month, units })).await;
    }
}
