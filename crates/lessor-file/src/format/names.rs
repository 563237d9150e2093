//! The names of the files in a log's folder.

use crate::format::frame::MAX_NUMBER;

/// The file that is locked by the process that has the log open.
pub(crate) const LOCK: &str = "lock";
pub(crate) const SUPERBLOCK: &str = "superblock";
/// A superblock that is being created.
pub(crate) const SUPERBLOCK_NEW: &str = "superblock.new";

const SEGMENT: &str = "segment-";
const CHECKPOINT: &str = "checkpoint-";
const TORN: &str = "torn-";
const TRUNCATED: &str = "cut-";

pub(crate) fn segment_name(number: u64) -> String {
    format!("{SEGMENT}{number:010}")
}

pub(crate) fn checkpoint_name(number: u64) -> String {
    format!("{CHECKPOINT}{number:010}")
}

/// Returns the name of the copy of the torn tail of segment `number`, from byte `offset` on.
pub(crate) fn torn_name(number: u64, offset: u64) -> String {
    format!("{TORN}{number:010}-{offset}")
}

/// Returns the name of the copy of what was truncated from segment `number`, from byte `offset` on.
pub(crate) fn truncated_name(number: u64, offset: u64) -> String {
    format!("{TRUNCATED}{number:010}-{offset}")
}

pub(crate) fn segment_number(name: &str) -> Option<u64> {
    number_in(name, SEGMENT)
}

pub(crate) fn checkpoint_number(name: &str) -> Option<u64> {
    number_in(name, CHECKPOINT)
}

fn number_in(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    (digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())?
        .filter(|number| *number <= MAX_NUMBER)
}
