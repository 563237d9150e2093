//! What is shown of a record: nothing that its holder keeps secret.

use lessor_core::{DecodeError, Key, Outline, Record, Stage};
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
    /// When the last grant was completed, failed or released. `None` as well if the record has an unknown field.
    pub done_at: Option<u64>,
    /// From when on the record counts as absent.
    pub keep_until: u64,
    /// The number of a field that this library does not know. The log opens, but every operation on the key is refused until
    /// lessor is upgraded. Sizes and [`done_at`](Self::done_at) of such a record cannot be read.
    pub unknown_field: Option<u32>,
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

/// A record as far as it can be read: all of it, or of a record with an unknown field its head.
pub(crate) struct Readable {
    pub(crate) outline: Outline,
    record: Option<Record>,
}

impl Readable {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let record = match Record::decode(bytes) {
            Ok(record) => Some(record),
            Err(DecodeError::UnknownField { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { outline: Record::outline(bytes)?, record })
    }
}

impl Line {
    pub(crate) fn new(key: Key, readable: &Readable, file: &str, offset: u64, lsn: u64) -> Self {
        let Readable { outline, record } = readable;
        let record = record.as_ref();
        Self {
            key,
            stage: stage(outline),
            token: outline.token.as_u64(),
            version: outline.version.as_u64(),
            attempt: outline.attempt,
            first_seen_at: outline.first_seen_at.as_micros(),
            acquired_at: outline.acquired_at.as_micros(),
            expires_at: outline.expires_at.as_micros(),
            done_at: record.and_then(Record::done_at).map(|at| at.as_micros()),
            keep_until: outline.keep_until.as_micros(),
            unknown_field: outline.unknown_field,
            result_bytes: record.and_then(Record::result_len),
            checkpoint_bytes: record.and_then(Record::checkpoint_len),
            file: file.to_owned(),
            offset,
            lsn,
        }
    }
}

pub(crate) fn stage(outline: &Outline) -> &'static str {
    match outline.stage {
        Stage::InProgress => "in_progress",
        Stage::Completed => "completed",
        Stage::Failed => "failed",
        Stage::Released => "released",
        Stage::Forgotten => "forgotten",
    }
}
