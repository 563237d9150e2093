//! The waiters of one engine, and the reader that reads for all of them.
//!
//! Waits and readings have stamps in the order in which they begin. A reading answers the waits
//! that began before it. In the library a write causes another reading. In the model readings may
//! begin at any time, which includes that.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::bugs::Bug;
use crate::server::Stored;
use crate::table::{Column, column};
use crate::words::Time;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wait {
    /// True if the waiter acquires the key when it is free.
    pub(crate) is_contender: bool,
    pub(crate) stamp: u8,
    /// The states that the key has had since the wait began.
    pub(crate) key_states: Vec<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// The latest reading.
    pub(crate) observation: Option<Observation>,
    pub(crate) reading: Reading,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Reading {
    #[default]
    None,
    Begun(u8),
    /// The store has answered, and the reply is in flight.
    Read(Observation),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Observation {
    pub(crate) stored: Option<Stored>,
    pub(crate) now: Time,
    /// The stamp of the beginning of the reading.
    pub(crate) stamp: u8,
    /// The stamp of its publication, which only some faults use.
    pub(crate) shown: u8,
}

impl Observation {
    pub(crate) fn column(&self) -> Column {
        column(self.stored.as_ref(), self.now)
    }

    pub(crate) fn is_for(&self, wait: &Wait, bug: Option<Bug>) -> bool {
        match bug {
            Some(Bug::WaiterAcceptsAnEarlierReading) => self.shown < wait.stamp || self.stamp > wait.stamp,
            Some(Bug::WaiterAcceptsAReadingInFlight) => self.shown > wait.stamp,
            _ => self.stamp > wait.stamp,
        }
    }

    fn is_older_than(&self, other: &Self) -> bool {
        let age = |stored: &Stored| (stored.rec.token(), stored.rec.version());
        self.stored.as_ref().zip(other.stored.as_ref()).is_some_and(|(this, other)| age(this) < age(other))
    }
}

impl Reader {
    pub(crate) fn put(&mut self, observation: Observation) {
        if self.observation.as_ref().is_none_or(|known| !observation.is_older_than(known)) {
            self.observation = Some(observation);
        }
    }

    pub(crate) fn stamps(&mut self) -> impl Iterator<Item = &mut u8> {
        let reading = match &mut self.reading {
            Reading::None => (None, None),
            Reading::Begun(stamp) => (Some(stamp), None),
            Reading::Read(observation) => (Some(&mut observation.stamp), Some(&mut observation.shown)),
        };
        let shown =
            self.observation.as_mut().map(|observation| [&mut observation.stamp, &mut observation.shown]);
        reading.0.into_iter().chain(reading.1).chain(shown.into_iter().flatten())
    }
}

/// Returns the state of the key as a number.
pub(crate) fn key_state(stored: Option<&Stored>, clock: Time) -> u64 {
    let column = column(stored, clock);
    let mut hasher = DefaultHasher::new();
    column.hash(&mut hasher);
    if column != Column::Absent {
        stored.map(|stored| &stored.rec).hash(&mut hasher);
    }
    hasher.finish()
}

impl Wait {
    pub(crate) fn add_state(&mut self, key_state: u64) {
        if let Err(place) = self.key_states.binary_search(&key_state) {
            self.key_states.insert(place, key_state);
        }
    }
}
