//! The answer of an operation as it is reported while the record is locked.

use crate::data::error::Error;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::rules::{Answer, KeyStatus};
use crate::store::types::CasResult;

/// A part of an operation's answer, reported while the record is locked. Contains only references,
/// so that nothing is moved or dropped.
#[derive(Clone, Copy)]
pub(crate) enum Report<'r> {
    /// A lease was granted with this record.
    Granted(&'r Record),
    /// The key cannot be acquired, for this reason.
    Stands(KeyStatus, &'r Record, Timestamp),
    /// Any other answer.
    Answer(&'r Answer),
    Refused(&'r Error),
    /// The answer to a plain conditional write.
    Swapped(&'r CasResult),
    /// The record that was written, and the time of the write. Follows the answer if the key may be
    /// watched.
    Written(&'r Record, Timestamp),
}

/// Returns whether the swap changed the record.
pub(super) fn is_write(swap: &CasResult) -> bool {
    matches!(swap, CasResult::Written | CasResult::WrittenAs(_))
}
