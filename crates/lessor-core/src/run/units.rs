//! The units of a quota that this process has charged and not used yet.

use event_listener::{Event, EventListener};
use parking_lot::Mutex;

use crate::data::month::Month;
use crate::data::time::Timestamp;

/// The right to make one grant before a time. It is used up unless it is [given
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
    /// Notified when a charge has ended.
    charged: Event,
}

#[derive(Debug, Default)]
struct Stock {
    /// The month for which the units were charged, and their number.
    charged: Option<(Month, Timestamp, u64)>,
    /// True while a caller charges a block.
    is_charging: bool,
}

/// What a caller without a unit does next.
pub(crate) enum Next<'a> {
    /// Uses this unit.
    Use(Unit),
    /// Charges a block, while other callers wait for it.
    Charge(Charging<'a>),
    /// Waits for the caller that charges a block.
    Wait(EventListener),
}

/// A charge in progress. Other callers wait until it is dropped.
pub(crate) struct Charging<'a>(&'a Units);

impl Units {
    /// Takes a unit, if there is one.
    pub(crate) fn take(&self) -> Option<Unit> {
        self.stock.lock().take()
    }

    /// Returns the next step of a caller that needs a unit.
    pub(crate) fn next(&self) -> Next<'_> {
        let mut stock = self.stock.lock();
        if let Some(unit) = stock.take() {
            return Next::Use(unit);
        }
        if stock.is_charging {
            return Next::Wait(self.charged.listen());
        }
        stock.is_charging = true;
        Next::Charge(Charging(self))
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
}

impl Stock {
    fn take(&mut self) -> Option<Unit> {
        let (month, until, units) = self.charged.as_mut()?;
        *units = units.checked_sub(1)?;
        Some(Unit { month: *month, until: *until })
    }
}

impl Charging<'_> {
    /// Adds the units that were charged, and returns one of them.
    pub(crate) fn add(self, month: Month, units: u64) -> Option<Unit> {
        let mut stock = self.0.stock.lock();
        match &mut stock.charged {
            Some((of, _, unused)) if *of == month => *unused = unused.saturating_add(units),
            charged => *charged = Some((month, month.next().start(), units)),
        }
        stock.take()
    }
}

impl Drop for Charging<'_> {
    fn drop(&mut self) {
        self.0.stock.lock().is_charging = false;
        self.0.charged.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charged(units: &Units, month: Month, count: u64) -> Option<Unit> {
        match units.next() {
            Next::Charge(charging) => charging.add(month, count),
            _ => panic!("there is a unit, or another charge"),
        }
    }

    #[test]
    fn one_caller_charges_and_the_others_wait_for_it_even_if_it_fails() {
        let units = Units::default();
        let Next::Charge(charging) = units.next() else { panic!("nobody charges yet") };
        let Next::Wait(waiting) = units.next() else { panic!("a charge is in progress") };
        drop(charging);
        event_listener::Listener::wait(waiting);
        let Next::Charge(_) = units.next() else { panic!("the charge has failed") };
    }

    #[test]
    fn a_unit_is_put_back_only_into_its_own_month() {
        let (units, month) = (Units::default(), Month::of(Timestamp::EPOCH));
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
        let (units, month) = (Units::default(), Month::of(Timestamp::EPOCH));
        let first = charged(&units, month, 64).unwrap();
        units.expire(first);
        assert_eq!((units.take(), units.unused()), (None, None));
    }
}
