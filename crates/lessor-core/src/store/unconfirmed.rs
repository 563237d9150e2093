//! Writes whose replies were lost.

use crate::data::record::Record;

/// The unconfirmed writes of one operation. Their replies were lost, so each may have happened, or
/// may still happen.
///
/// A store that implements [`Store`](crate::Store) itself keeps one per operation. When the reply
/// to a write is lost, it [adds](Self::add) the record, reads the record again, and checks whether
/// it [finds](Self::find) one of its own writes there. It must not simply send the operation again,
/// because *extend*, *checkpoint*, *forget* and *resolve* would take effect twice.
///
/// The writes are kept until the operation ends, because an early write may still happen between a
/// later reading and the next write.
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
    /// Adds a write, with the answer that is valid if the write happened.
    pub fn add(&mut self, next: Record, answer: A) {
        self.writes.push((next, answer));
    }

    /// Returns the answer of the write that produced `record`, if it is one of these.
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
    fn p6_a_write_is_found_once_and_not_in_another_record() {
        let mut unconfirmed = Unconfirmed::default();
        let first = Plain::granted().record();
        let second = Plain { version: 2, ..Plain::granted() }.record();
        unconfirmed.add(first.clone(), "first");
        assert_eq!(unconfirmed.find(&second), None);
        assert_eq!(unconfirmed.find(&first), Some("first"));
        assert_eq!(unconfirmed.find(&first), None);
    }
}
