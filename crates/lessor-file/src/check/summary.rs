//! What is shown of a record: nothing that its holder keeps secret.

use lessor_core::{Key, Record, Stage};
use serde::Serialize;

/// One record, and where it lies. Times are in µs since 1970, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// What it is stored under.
    pub key: Key,
    /// `in_progress`, `completed`, `failed`, `released` or `forgotten`. Whether one in progress has lapsed depends on the time.
    pub stage: &'static str,
    /// Of the last grant.
    pub token: u64,
    /// How many changes the record has seen.
    pub version: u64,
    /// How many grants it has seen.
    pub attempt: u32,
    /// When the key was acquired for the first time.
    pub first_seen_at: u64,
    /// When the last grant was made.
    pub acquired_at: u64,
    /// When the last grant runs out, or would have.
    pub expires_at: u64,
    /// When the last grant was completed, failed or released.
    pub done_at: Option<u64>,
    /// From when on the record counts as absent.
    pub keep_until: u64,
    /// Size of the result.
    pub result_bytes: Option<usize>,
    /// Size of the checkpoint that the holder saved.
    pub checkpoint_bytes: Option<usize>,
    /// The file that it is in.
    pub file: String,
    /// Where the frame begins that it is in.
    pub offset: u64,
    /// The frame that it was written with.
    pub lsn: u64,
}

impl Line {
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
