//! Summaries of records, without anything confidential.

use lessor_core::{Key, Record, Stage};
use serde::Serialize;

/// A record without its confidential parts, and its location. Times are in µs since 1970, sizes in
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordSummary {
    /// The key of the record.
    pub key: Key,
    /// `in_progress`, `completed`, `failed`, `released` or `forgotten`. A record in progress may
    /// have lapsed; that depends on the time.
    pub stage: &'static str,
    /// The token of the last grant.
    pub token: u64,
    /// The number of changes of the record.
    pub version: u64,
    /// The number of grants of the record.
    pub attempt: u32,
    /// The time of the first acquisition.
    pub first_seen_at: u64,
    /// The time of the last grant.
    pub acquired_at: u64,
    /// The expiry of the last grant.
    pub expires_at: u64,
    /// The time at which the last grant was completed, failed or released.
    pub done_at: Option<u64>,
    /// The end of the retention. From then on the record counts as absent.
    pub keep_until: u64,
    /// The size of the result.
    pub result_bytes: Option<usize>,
    /// The size of the checkpoint that the holder saved.
    pub checkpoint_bytes: Option<usize>,
    /// The name of the file that holds the record.
    pub file: String,
    /// The offset of the frame that holds the record.
    pub offset: u64,
    /// The LSN of the write.
    pub lsn: u64,
}

impl RecordSummary {
    pub(crate) fn new(key: Key, record: &Record, file: &str, offset: u64, lsn: u64) -> Self {
        Self {
            key,
            stage: stage(record),
            token: record.token().as_u64(),
            version: record.version().as_u64(),
            attempt: record.attempt(),
            first_seen_at: record.first_seen_at().as_micros(),
            acquired_at: record.acquired_at().as_micros(),
            expires_at: record.expires_at().as_micros(),
            done_at: record.done_at().map(|at| at.as_micros()),
            keep_until: record.keep_until().as_micros(),
            result_bytes: record.result_len(),
            checkpoint_bytes: record.checkpoint_len(),
            file: file.to_owned(),
            offset,
            lsn,
        }
    }
}

pub(crate) fn stage(record: &Record) -> &'static str {
    match record.stage() {
        Stage::InProgress => "in_progress",
        Stage::Completed => "completed",
        Stage::Failed => "failed",
        Stage::Released => "released",
        Stage::Forgotten => "forgotten",
    }
}
