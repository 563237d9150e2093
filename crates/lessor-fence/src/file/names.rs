//! The names of the files in the folder of a fence.

/// The file with the tokens.
pub(super) const LOG: &str = "fence.log";
/// The file that will replace it.
pub(super) const NEXT: &str = "fence.next";
/// The lock.
pub(super) const LOCK: &str = "lock";
