//! Summaries of records, without anything confidential.

use lessor_core::{DecodeError, Key, Record, RecordHeader};
use serde::{Serialize, Serializer};

/// A record without its confidential parts, and its location. Times are in µs since 1970, sizes in
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordSummary {
    /// The namespace of the key, if it has one.
    pub namespace: Option<String>,
    /// The key of the record, serialised without its namespace. Its name is empty if the record
    /// counts the grants of the namespace.
    #[serde(serialize_with = "name")]
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
    /// The time at which the last grant was completed, failed or released. `None` also if the
    /// record has an unknown field.
    pub done_at: Option<u64>,
    /// The end of the retention. From then on the record counts as absent.
    pub keep_until: u64,
    /// The number of a field that this library does not know. The store opens, but every operation
    /// on the key is refused until lessor is upgraded. The sizes and
    /// [`done_at`](Self::done_at) of such a record cannot be read.
    pub unknown_field: Option<u32>,
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

fn name<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.name())
}

/// A record as far as it can be read: whole, or only its head if the record has an unknown field.
pub(crate) struct ReadableRecord {
    pub(crate) outline: RecordHeader,
    record: Option<Record>,
}

impl ReadableRecord {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let record = match Record::decode(bytes) {
            Ok(record) => Some(record),
            Err(DecodeError::UnknownField { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { outline: Record::header(bytes)?, record })
    }
}

impl RecordSummary {
    pub(crate) fn new(key: Key, readable: &ReadableRecord, file: &str, offset: u64, lsn: u64) -> Self {
        let ReadableRecord { outline, record } = readable;
        let record = record.as_ref();
        Self {
            namespace: key.namespace().map(str::to_owned),
            key,
            stage: outline.stage.as_str(),
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
