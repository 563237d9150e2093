//! The units of a quota that this process has charged and not used yet.

use std::sync::Arc;

use event_listener::{Event, EventListener};
use parking_lot::Mutex;

use crate::data::error::Error;
use crate::data::month::Month;
use crate::data::time::Timestamp;

/// The right to make one grant before a time. It is used up unless it is [put
/// back](Units::put_back).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    month: Month,
    pub(crate) until: Timestamp,
}

/// The charged and unused units of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Units {
    stock: Mutex<Stock>,
    /// Notified when a round has ended.
    ended: Event,
}

#[derive(Debug, Default)]
struct Stock {
    /// The month for which the units were charged, its end, and their number.
    charged: Option<(Month, Timestamp, u64)>,
    /// The number of rounds that have begun. A round charges one block.
    rounds: u64,
    /// True while a round is in progress.
    is_charging: bool,
    /// The last round that failed, and its error.
    failure: Option<(u64, Error)>,
}

/// The next step of a caller without a unit.
pub(crate) enum Next {
    /// Uses this unit.
    Use(Unit),
    /// Returns this error, of a round that began after the call.
    Fail(Error),
    /// Waits for the end of the round. The caller has to begin it if there is one here.
    Wait(EventListener, Option<Round>),
}

/// A round in progress, which charges a block of units for all callers that wait. No caller has to be
/// polled for it to end.
#[derive(Debug)]
pub(crate) struct Round(Option<Arc<Units>>);

impl Units {
    /// Takes a unit, if there is one.
    pub(crate) fn take(&self) -> Option<Unit> {
        self.stock.lock().take()
    }

    /// Returns the next step of a caller that needs a unit. `first` is the number of the first round
    /// that begins after the call.
    pub(crate) fn next(self: &Arc<Self>, first: &mut Option<u64>) -> Next {
        let mut stock = self.stock.lock();
        let first = *first.get_or_insert(stock.rounds + 1);
        if let Some(unit) = stock.take() {
            return Next::Use(unit);
        }
        if let Some((round, error)) = &stock.failure
            && *round >= first
        {
            return Next::Fail(error.clone());
        }
        let begins = !stock.is_charging;
        if begins {
            stock.is_charging = true;
            stock.rounds += 1;
        }
        Next::Wait(self.ended.listen(), begins.then(|| Round(Some(Arc::clone(self)))))
    }

    /// Adds a unit again that no grant was made with.
    pub(crate) fn put_back(&self, unit: Unit) {
        if let Some((month, _, units)) = &mut self.stock.lock().charged
            && *month == unit.month
        {
            *units += 1;
        }
    }

    /// Drops the units of a month that is over.
    pub(crate) fn expire(&self, unit: Unit) {
        let mut stock = self.stock.lock();
        if stock.charged.is_some_and(|(month, ..)| month == unit.month) {
            stock.charged = None;
        }
    }

    /// Returns the month and the number of the unused units.
    pub(crate) fn unused(&self) -> Option<(Month, u64)> {
        self.stock.lock().charged.map(|(month, _, units)| (month, units))
    }

    /// Removes all unused units, which the caller gives back to the store.
    pub(crate) fn drain(&self) -> Option<(Month, u64)> {
        let (month, _, units) = self.stock.lock().charged.take()?;
        (units > 0).then_some((month, units))
    }

    fn end(&self, charged: Result<(Month, u64), Error>) {
        let mut stock = self.stock.lock();
        stock.is_charging = false;
        match charged {
            Err(error) => stock.failure = Some((stock.rounds, error)),
            Ok((month, units)) => match &mut stock.charged {
                Some((of, _, unused)) if *of == month => *unused = unused.saturating_add(units),
                charged => *charged = Some((month, month.next().start(), units)),
            },
        }
        drop(stock);
        self.ended.notify(usize::MAX);
    }
}

impl Stock {
    fn take(&mut self) -> Option<Unit> {
        let (month, until, units) = self.charged.as_mut()?;
        *units = units.checked_sub(1)?;
        Some(Unit { month: *month, until: *until })
    }
}

impl Round {
    /// Ends the round, with the units that were charged.
    pub(crate) fn end(mut self, charged: Result<(Month, u64), Error>) {
        if let Some(units) = self.0.take() {
            units.end(charged);
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if let Some(units) = self.0.take() {
            units.end(Err(Error::unexpected()));
        }
    }
}

#[cfg(test)]
mod tests {
    use event_listener::Listener;

    use super::*;

    /// Begins a round.
    fn begin(units: &Arc<Units>, first: &mut Option<u64>) -> (EventListener, Round) {
        match units.next(first) {
            Next::Wait(ended, Some(round)) => (ended, round),
            _ => panic!("there is a unit, a failure, or another round"),
        }
    }

    fn charged(units: &Arc<Units>, month: Month, count: u64) -> Option<Unit> {
        begin(units, &mut None).1.end(Ok((month, count)));
        units.take()
    }

    #[test]
    fn one_caller_charges_and_the_others_wait_for_it_even_if_it_fails() {
        let units = Arc::new(Units::default());
        let (mut one, mut other) = (None, None);
        let (ended, round) = begin(&units, &mut one);
        let Next::Wait(waiting, None) = units.next(&mut other) else { panic!("a round is in progress") };
        drop(round);
        ended.wait();
        waiting.wait();
        assert!(matches!(units.next(&mut one), Next::Fail(_)));
        // The round began before the other caller asked, so its failure is no answer.
        drop(begin(&units, &mut other));
        assert!(matches!(units.next(&mut other), Next::Fail(_)));
    }

    #[test]
    fn a_unit_is_put_back_only_into_its_own_month() {
        let (units, month) = (Arc::new(Units::default()), Month::of(Timestamp::EPOCH));
        let first = charged(&units, month, 1).unwrap();
        assert_eq!((first.until, units.take()), (month.next().start(), None));
        units.put_back(first);
        assert_eq!(units.unused(), Some((month, 1)));
        assert_eq!(units.take(), Some(first));
        charged(&units, month.next(), 2).unwrap();
        units.put_back(first);
        units.expire(first);
        assert_eq!(units.drain(), Some((month.next(), 1)));
        assert_eq!(units.drain(), None);
    }

    #[test]
    fn units_of_a_month_that_is_over_are_dropped_together() {
        let (units, month) = (Arc::new(Units::default()), Month::of(Timestamp::EPOCH));
        let first = charged(&units, month, 64).unwrap();
        units.expire(first);
        assert_eq!((units.take(), units.unused()), (None, None));
    }
}
