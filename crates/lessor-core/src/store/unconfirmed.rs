//! Writes of which the store has not said whether they happened.

use crate::data::record::Record;

/// The unconfirmed writes of one operation: their replies were lost, so each may have happened, or may happen yet.
///
/// A store that decides operations by itself keeps one per operation. It [adds](Self::add) the record of each write whose reply was
/// lost, reads the record again, and asks whether one of its own writes is [found](Self::find) there. An operation must
/// not simply be sent again: *extend*, *checkpoint*, *forget* and *resolve* would be carried out twice.
///
/// All of them are kept until the operation ends, because an early write may happen between a later reading and the next write.
#[derive(Debug)]
pub struct Unconfirmed<A> {
    writes: Vec<(Record, A)>,
}

impl<A> Default for Unconfirmed<A> {
    fn default() -> Self {
        Self { writes: Vec::new() }
    }
}

impl<A> Unconfirmed<A> {
    /// Adds a write, with the answer that holds if it happened.
    pub fn add(&mut self, next: Record, answer: A) {
        self.writes.push((next, answer));
    }

    /// Returns the answer of the write that `record` shows to have happened, if it is one of these.
    pub fn find(&mut self, record: &Record) -> Option<A> {
        let at = self.writes.iter().position(|(next, _)| record.is_write(next))?;
        Some(self.writes.swap_remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::plain::Plain;

    #[test]
    fn p6_a_write_is_found_once_and_no_other_record_is_taken_for_it() {
        let mut unconfirmed = Unconfirmed::default();
        let first = Plain::granted().record();
        let second = Plain { version: 2, ..Plain::granted() }.record();
        unconfirmed.add(first.clone(), "first");
        assert_eq!(unconfirmed.find(&second), None);
        assert_eq!(unconfirmed.find(&first), Some("first"));
        assert_eq!(unconfirmed.find(&first), None);
    }
}
