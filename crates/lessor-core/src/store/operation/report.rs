//! The answer of an operation as it is reported while the record is locked.

use crate::data::error::Error;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::rules::{Answer, KeyStatus};
use crate::store::types::CasResult;

/// A part of an operation's answer, reported while the record is locked. Everything is borrowed, so that nothing has to be
/// moved or dropped on the way.
#[derive(Clone, Copy)]
pub(crate) enum Report<'r> {
    /// A lease was granted; this is the record.
    Granted(&'r Record),
    /// The key cannot be acquired, and this is why.
    Stands(KeyStatus, &'r Record, Timestamp),
    /// Any other answer.
    Answer(&'r Answer),
    Refused(&'r Error),
    /// The answer to a plain conditional write.
    Swapped(&'r CasResult),
    /// The record as it was written, and when. Follows the answer if the key may be watched.
    Written(&'r Record, Timestamp),
}

/// Returns whether the swap changed the record.
pub(super) fn is_write(swap: &CasResult) -> bool {
    matches!(swap, CasResult::Written | CasResult::WrittenAs(_))
}
