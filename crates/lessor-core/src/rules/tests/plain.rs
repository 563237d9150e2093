//! Records as plain numbers and strings, so that expectations can be written in full. They are
//! encoded by a second implementation of the documented format, which shares no code with the
//! tested one.

use sha2::{Digest, Sha256};

use crate::data::fingerprint::Fingerprint;
use crate::data::lease_id::LeaseId;
use crate::data::record::{GrantEnd, Record, Stage};
use crate::data::time::Timestamp;

/// A time in November 2023, and units of time in microseconds.
pub(crate) const T: u64 = 1_700_000_000_000_000;
pub(crate) const SEC: u64 = 1_000_000;
pub(crate) const TTL: u64 = 60 * SEC;
pub(crate) const RETENTION: u64 = 3600 * SEC;

/// The callers. An id consists of this number, sixteen times. A tombstone has `NOBODY`.
pub(crate) const NOBODY: u8 = 0;
pub(crate) const HOLDER: u8 = 0xa1;
pub(crate) const OTHER: u8 = 0xb2;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plain {
    pub(crate) stage: Stage,
    pub(crate) id: u8,
    pub(crate) token: u64,
    pub(crate) version: u64,
    pub(crate) attempt: u64,
    pub(crate) first_seen: u64,
    pub(crate) acquired: u64,
    pub(crate) expires: u64,
    pub(crate) keep_until: u64,
    pub(crate) done: Option<u64>,
    pub(crate) result: Option<&'static str>,
    /// The holder's hash of the result.
    pub(crate) word: Option<&'static str>,
    pub(crate) holder: Option<&'static str>,
    pub(crate) metadata: Option<&'static str>,
    pub(crate) fingerprint: Option<u8>,
    pub(crate) checkpoint: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
    pub(crate) detail: Option<&'static str>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) in_doubt: bool,
    pub(crate) former: Option<(GrantEnd, Option<&'static str>)>,
    /// Encoded skippable fields that the library does not know, without their length. Of the grant,
    /// only tag 0 next to `retry_after`, and of the record only tags from 2 on next to `history`,
    /// which both have tag 1.
    pub(crate) of_record: Option<&'static [u8]>,
    /// The content of the history.
    pub(crate) history: Option<&'static [u8]>,
    pub(crate) of_grant: Option<&'static [u8]>,
}

impl Plain {
    /// Returns a first grant to `HOLDER` at `T`, for `TTL`, without optional parts.
    pub(crate) const fn granted() -> Self {
        Self {
            stage: Stage::InProgress,
            id: HOLDER,
            token: T,
            version: 1,
            attempt: 1,
            first_seen: T,
            acquired: T,
            expires: T + TTL,
            keep_until: T + TTL + RETENTION,
            done: None,
            result: None,
            word: None,
            holder: None,
            metadata: None,
            fingerprint: None,
            checkpoint: None,
            code: None,
            detail: None,
            retry_after: None,
            in_doubt: false,
            former: None,
            of_record: None,
            history: None,
            of_grant: None,
        }
    }

    /// Returns a third grant with all optional parts, made without any time passing.
    pub(crate) const fn rich() -> Self {
        Self {
            token: T + 40,
            version: 7,
            attempt: 3,
            first_seen: T - 900 * SEC,
            holder: Some("worker-3"),
            metadata: Some(r#"{"ticket":"42"}"#),
            fingerprint: Some(1),
            checkpoint: Some("page 17"),
            former: Some((GrantEnd::Lapsed, Some("worker-2"))),
            // Tags 3 and 200, the second one empty, and tag 0.
            of_record: Some(b"\x03\x02hi\xc8\x01\x00"),
            of_grant: Some(b"\x00\x01g"),
            ..Self::granted()
        }
    }

    pub(crate) fn record(&self) -> Record {
        Record::decode(&self.bytes()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the bytes before "fields present".
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut out = vec![
            1,
            match self.stage {
                Stage::InProgress => 0,
                Stage::Completed => 1,
                Stage::Failed => 2,
                Stage::Released => 3,
                Stage::Forgotten => 4,
            },
        ];
        out.extend([self.id; 16]);
        let numbers = [
            self.first_seen,
            self.acquired - self.first_seen,
            self.token - self.acquired,
            self.expires - self.acquired,
            self.keep_until - self.acquired,
            self.version,
            self.attempt,
        ];
        numbers.into_iter().for_each(|number| varint(&mut out, number));
        out
    }

    /// Returns the bits of "fields present".
    pub(crate) fn present(&self) -> u64 {
        (0..).zip(self.fields()).map(|(bit, (is, _))| u64::from(is) << bit).sum()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.head();
        varint(&mut out, self.present());
        out.extend(self.fields().into_iter().flat_map(|(_, bytes)| bytes));
        out
    }

    fn fields(&self) -> [(bool, Vec<u8>); 14] {
        let retry_after = self.retry_after.map(leb128);
        let retry_after = retry_after.map_or(vec![], |micros| [&[1], &*with_length(&micros)].concat());
        let of_grant = [self.of_grant.unwrap_or_default(), &retry_after].concat();
        let has_of_grant = self.of_grant.is_some() || self.retry_after.is_some();
        let history = self.history.map_or(vec![], |content| [&[1], &*with_length(content)].concat());
        let of_record = [&history, self.of_record.unwrap_or_default()].concat();
        let has_of_record = self.of_record.is_some() || self.history.is_some();
        [
            (self.done.is_some(), self.done.map_or(vec![], |done| leb128(done - self.acquired))),
            (self.result.is_some(), self.result.map_or(vec![], payload)),
            (self.holder.is_some(), self.holder.map_or(vec![], text)),
            (self.metadata.is_some(), self.metadata.map_or(vec![], text)),
            (self.fingerprint.is_some(), self.fingerprint.map_or(vec![], |byte| vec![byte; 32])),
            (self.checkpoint.is_some(), self.checkpoint.map_or(vec![], payload)),
            (self.word.is_some(), self.word.map_or(vec![], text)),
            (self.code.is_some(), self.code.map_or(vec![], text)),
            (self.detail.is_some(), self.detail.map_or(vec![], text)),
            (
                self.former.is_some(),
                self.former.map_or(vec![], |(ended, _)| {
                    vec![match ended {
                        GrantEnd::Lapsed => 0,
                        GrantEnd::Released => 1,
                        GrantEnd::Failed => 2,
                    }]
                }),
            ),
            (
                self.former.is_some_and(|(_, holder)| holder.is_some()),
                self.former.and_then(|(_, holder)| holder).map_or(vec![], text),
            ),
            (has_of_record, if has_of_record { with_length(&of_record) } else { vec![] }),
            (has_of_grant, if has_of_grant { with_length(&of_grant) } else { vec![] }),
            (self.in_doubt, vec![]),
        ]
    }
}

pub(crate) fn id(byte: u8) -> LeaseId {
    LeaseId::from_bytes([byte; 16])
}

pub(crate) fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

pub(crate) fn fingerprint(byte: u8) -> Fingerprint {
    Fingerprint::from_bytes([byte; 32])
}

pub(crate) fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn leb128(number: u64) -> Vec<u8> {
    let mut out = vec![];
    varint(&mut out, number);
    out
}

fn varint(out: &mut Vec<u8>, number: u64) {
    let low = u8::try_from(number & 0x7f).unwrap();
    if number < 0x80 {
        return out.push(low);
    }
    out.push(low | 0x80);
    varint(out, number >> 7);
}

fn text(text: &str) -> Vec<u8> {
    with_length(text.as_bytes())
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&leb128(bytes.len() as u64), bytes].concat()
}

fn payload(bytes: &str) -> Vec<u8> {
    let mut out = Sha256::digest(bytes).to_vec();
    out.extend(text(bytes));
    out
}
