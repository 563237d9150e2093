//! The place for a record in a store.

use std::fmt;

use crate::data::record::Record;

/// The place for a record in a store, while no other thread can read or change it.
///
/// Created from `&mut Record` for an existing record, and from `&mut Option<Record>` for a place
/// that may be empty.
pub struct RecordSlot<'a>(pub(super) Slot<'a>);

pub(super) enum Slot<'a> {
    Vacant(&'a mut Option<Record>),
    Occupied(&'a mut Record),
}

impl<'a> From<&'a mut Record> for RecordSlot<'a> {
    fn from(record: &'a mut Record) -> Self {
        Self(Slot::Occupied(record))
    }
}

impl<'a> From<&'a mut Option<Record>> for RecordSlot<'a> {
    fn from(slot: &'a mut Option<Record>) -> Self {
        match slot {
            Some(record) => Self(Slot::Occupied(record)),
            vacant => Self(Slot::Vacant(vacant)),
        }
    }
}

impl RecordSlot<'_> {
    #[inline]
    pub(super) fn record(&self) -> Option<&Record> {
        match &self.0 {
            Slot::Vacant(_) => None,
            Slot::Occupied(record) => Some(record),
        }
    }
}

impl<'a> RecordSlot<'a> {
    #[inline]
    pub(super) fn put(self, next: Record) -> &'a Record {
        match self.0 {
            Slot::Vacant(vacant) => vacant.insert(next),
            Slot::Occupied(record) => {
                *record = next;
                record
            }
        }
    }
}

impl fmt::Debug for RecordSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordSlot")
    }
}
