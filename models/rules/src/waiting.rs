//! The waiters of one engine, and the reader that reads for all of them.
//!
//! Questions and readings have stamps in the order of their beginnings. A reading answers the questions that came before it
//! began. In the library a write causes another reading. Here readings begin at any time, which includes that.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::bugs::Bug;
use crate::server::Stored;
use crate::table::{Column, column};
use crate::words::Time;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wait {
    /// The waiter acquires the key once that is free.
    pub(crate) is_contender: bool,
    pub(crate) stamp: u8,
    /// Everything that was true of the key since the question.
    pub(crate) truths: Vec<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Post {
    /// The latest reading.
    pub(crate) sight: Option<Sight>,
    pub(crate) reading: Reading,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Reading {
    #[default]
    None,
    Begun(u8),
    /// The store has answered, and the answer is under way.
    Read(Sight),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sight {
    pub(crate) stored: Option<Stored>,
    pub(crate) now: Time,
    /// When the reading began.
    pub(crate) stamp: u8,
    /// When it was published. Only some faults use it.
    pub(crate) shown: u8,
}

impl Sight {
    pub(crate) fn column(&self) -> Column {
        column(self.stored.as_ref(), self.now)
    }

    pub(crate) fn is_for(&self, wait: &Wait, bug: Option<Bug>) -> bool {
        match bug {
            Some(Bug::WaiterTakesWhatWasSeenBefore) => self.shown < wait.stamp || self.stamp > wait.stamp,
            Some(Bug::WaiterTakesAReadingUnderWay) => self.shown > wait.stamp,
            _ => self.stamp > wait.stamp,
        }
    }

    fn is_older_than(&self, other: &Self) -> bool {
        let age = |stored: &Stored| (stored.rec.token(), stored.rec.version());
        self.stored.as_ref().zip(other.stored.as_ref()).is_some_and(|(this, other)| age(this) < age(other))
    }
}

impl Post {
    pub(crate) fn put(&mut self, sight: Sight) {
        if self.sight.as_ref().is_none_or(|known| !sight.is_older_than(known)) {
            self.sight = Some(sight);
        }
    }

    pub(crate) fn stamps(&mut self) -> impl Iterator<Item = &mut u8> {
        let reading = match &mut self.reading {
            Reading::None => (None, None),
            Reading::Begun(stamp) => (Some(stamp), None),
            Reading::Read(sight) => (Some(&mut sight.stamp), Some(&mut sight.shown)),
        };
        let shown = self.sight.as_mut().map(|sight| [&mut sight.stamp, &mut sight.shown]);
        reading.0.into_iter().chain(reading.1).chain(shown.into_iter().flatten())
    }
}

/// The state of the key as one number.
pub(crate) fn truth(stored: Option<&Stored>, clock: Time) -> u64 {
    let column = column(stored, clock);
    let mut hasher = DefaultHasher::new();
    column.hash(&mut hasher);
    if column != Column::Absent {
        stored.map(|stored| &stored.rec).hash(&mut hasher);
    }
    hasher.finish()
}

impl Wait {
    pub(crate) fn learn(&mut self, truth: u64) {
        if let Err(place) = self.truths.binary_search(&truth) {
            self.truths.insert(place, truth);
        }
    }
}
