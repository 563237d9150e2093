//! The encoding of records.
//!
//! ```text
//! format version      1 byte, now 1
//! stage               1 byte
//! lease id           16 bytes
//! first_seen_at       varint, µs since the epoch
//! acquired_at         varint, µs since first_seen_at
//! token               varint, less acquired_at in µs
//! expires_at          varint, µs since acquired_at
//! keep_until          varint, µs since acquired_at
//! version, attempt    varints
//! fields present      varint, bit n for field n
//!    0 done_at          varint, µs since acquired_at
//!    1 result           SHA-256 (32 bytes), length (varint), bytes
//!    2 holder           length, UTF-8
//!    3 metadata         length, UTF-8 (a JSON object)
//!    4 fingerprint      32 bytes
//!    5 checkpoint       like result
//!    6 result_hash      length, UTF-8
//!    7 error code       length, UTF-8
//!    8 error detail     length, UTF-8
//!    9 former grant     1 byte: how it ended (0 lapsed, 1 released, 2 failed)
//!   10 former holder    length, UTF-8
//!   11 skippable fields of the record
//!        tag 1: the history, see `past.rs`
//!   12 skippable fields of the grant
//!        tag 1: the wait before a retry of failed work: varint, µs since done_at
//!   13 in doubt         empty: the last holder could not know whether the work was done
//! ```
//! Varints are LEB128 in their shortest form. Bytes that differ from this layout are refused.
//!
//! # Extensions
//!
//! Later releases can add fields of two classes.
//!
//! - A *required* field gets the next bit of "fields present". A reader that does not know the bit
//!   refuses the record with [`DecodeError::UnknownField`]. A required field never changes the
//!   meaning of the bytes before "fields present", the *head*, so every reader of this format can
//!   read those.
//! - A *skippable* field gets a tag inside field 11 or 12. Each of these two is a length (varint)
//!   followed by one or more skippable fields: tag (varint), length (varint), bytes. The tags rise
//!   strictly. A reader keeps the fields whose tags it does not know, and writes them back
//!   unchanged. Those of field 11 are kept until the record is forgotten or its retention ends.
//!   Those of field 12 are kept until the record's next grant.
//!
//! All other changes, such as another stage, need another format version.

mod skippable;

use skippable::Skippable;

use crate::data::bytes::{Reader, Writer};
use crate::data::decode_error::{DecodeError, FORMAT_VERSION};
use crate::data::failure::Failure;
use crate::data::fingerprint::Fingerprint;
use crate::data::lease_id::LeaseId;
use crate::data::past;
use crate::data::payload::Payload;
use crate::data::record::{Body, GrantEnd, Record, RecordHeader, Stage};
use crate::data::time::Timestamp;
use crate::data::token::{Token, Version};

const DONE_AT: u64 = 1;
const RESULT: u64 = 1 << 1;
const HOLDER: u64 = 1 << 2;
const METADATA: u64 = 1 << 3;
const FINGERPRINT: u64 = 1 << 4;
const CHECKPOINT: u64 = 1 << 5;
const RESULT_HASH: u64 = 1 << 6;
const ERROR_CODE: u64 = 1 << 7;
const ERROR_DETAIL: u64 = 1 << 8;
const FORMER: u64 = 1 << 9;
const FORMER_HOLDER: u64 = 1 << 10;
const OF_RECORD: u64 = 1 << 11;
const OF_GRANT: u64 = 1 << 12;
const IN_DOUBT: u64 = 1 << 13;
const KNOWN: u64 = (1 << 14) - 1;

const STAGES: [Stage; 5] =
    [Stage::InProgress, Stage::Completed, Stage::Failed, Stage::Released, Stage::Forgotten];
const ENDED: [GrantEnd; 3] = [GrantEnd::Lapsed, GrantEnd::Released, GrantEnd::Failed];

impl Record {
    /// Returns the record in the current format.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends the record in the current format to `out`.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        encode(self.body(), bytes);
    }

    /// Decodes the head of an encoded record, even if the record has fields that this library does
    /// not know. The remaining bytes and the hashes are not checked.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NewerFormat`] or [`DecodeError::Damaged`].
    pub fn header(bytes: &[u8]) -> Result<RecordHeader, DecodeError> {
        header(bytes)
    }

    /// Decodes a record and checks all hashes. Allocates at most the length of the input plus a
    /// constant.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] states whether the bytes are damaged or come from a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes).map(Self::new)
    }
}

fn encode(body: &Body, bytes: &mut Vec<u8>) {
    let attributes = body.attributes();
    let failure = attributes.failure.as_ref();
    let detail = failure.and_then(|failure| failure.detail.as_deref());
    let retry_after = failure.and_then(|failure| failure.retry_after);
    let history = past::encode(body.trace(), body.past(), body.first_seen_at);
    let former_holder = attributes.previous_holder.as_deref();
    let done = has_done_at(body.stage);
    let present = [
        (done, DONE_AT),
        (body.result().is_some(), RESULT),
        (attributes.holder.is_some(), HOLDER),
        (attributes.metadata.is_some(), METADATA),
        (attributes.fingerprint.is_some(), FINGERPRINT),
        (attributes.checkpoint.is_some(), CHECKPOINT),
        (attributes.result_hash.is_some(), RESULT_HASH),
        (failure.is_some(), ERROR_CODE),
        (detail.is_some(), ERROR_DETAIL),
        (body.previous_end.is_some(), FORMER),
        (former_holder.is_some(), FORMER_HOLDER),
        (attributes.of_record.is_some() || history.is_some(), OF_RECORD),
        (attributes.of_grant.is_some() || retry_after.is_some(), OF_GRANT),
        (attributes.in_doubt, IN_DOUBT),
    ]
    .into_iter()
    .filter_map(|(is, bit)| is.then_some(bit))
    .sum();

    let checkpoint = attributes.checkpoint.as_deref().map(Payload::bytes);
    let length = |payload: Option<&[u8]>| payload.map_or(0, |payload| payload.len() + 42);
    bytes.reserve(96 + length(body.result()) + length(checkpoint));
    let mut out = Writer(bytes);
    out.byte(FORMAT_VERSION);
    out.tag(&STAGES, body.stage);
    out.0.extend_from_slice(&body.lease_id.to_bytes());
    out.varint(body.first_seen_at.as_micros());
    out.since(body.acquired_at, body.first_seen_at);
    out.varint(body.token().as_u64() - body.acquired_at.as_micros());
    out.since(body.expires_at, body.acquired_at);
    out.since(body.keep_until, body.acquired_at);
    out.varint(body.version.as_u64());
    out.varint(body.attempt.into());
    out.varint(present);
    if done {
        out.since(body.done_at, body.acquired_at);
    }
    out.payload(body.result());
    out.text(attributes.holder.as_deref());
    out.text(attributes.metadata.as_deref());
    if let Some(fingerprint) = attributes.fingerprint {
        out.0.extend_from_slice(&fingerprint.to_bytes());
    }
    out.payload(checkpoint);
    out.text(attributes.result_hash.as_deref());
    out.text(failure.map(|failure| &*failure.code));
    out.text(detail);
    if let Some(end) = body.previous_end {
        out.tag(&ENDED, end);
    }
    out.text(former_holder);
    skippable::write(&mut out, history.as_deref(), attributes.of_record.as_deref());
    let retry_after = retry_after.map(|micros| {
        let mut content = Vec::new();
        Writer(&mut content).varint(micros);
        content
    });
    skippable::write(&mut out, retry_after.as_deref(), attributes.of_grant.as_deref());
}

/// The fields that precede "fields present".
struct Head {
    stage: Stage,
    lease_id: LeaseId,
    first_seen_at: Timestamp,
    acquired_at: Timestamp,
    token: Token,
    expires_at: Timestamp,
    keep_until: Timestamp,
    version: Version,
    attempt: u32,
}

impl Head {
    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.byte()? {
            FORMAT_VERSION => {}
            found if found > FORMAT_VERSION => return Err(DecodeError::NewerFormat { found }),
            _ => return Err(DecodeError::Damaged { what: "there is no format 0", at: 0 }),
        }
        let stage = input.tag(&STAGES)?;
        let lease_id = LeaseId::from_bytes(input.array()?);
        let first_seen_at = input.after(Timestamp::EPOCH)?;
        let acquired_at = input.after(first_seen_at)?;
        let token = input.varint()?.checked_add(acquired_at.as_micros()).and_then(Token::from_u64);
        let token = token.ok_or(input.damaged("token out of range"))?;
        let expires_at = input.after(acquired_at)?;
        let keep_until = input.after(acquired_at)?;
        let version = Version(input.varint()?);
        let attempt = u32::try_from(input.varint()?).map_err(|_| input.damaged("attempt out of range"))?;
        if version < Version::FIRST || attempt == 0 {
            return Err(input.damaged("versions and attempts start at 1"));
        }
        Ok(Self {
            stage,
            lease_id,
            first_seen_at,
            acquired_at,
            token,
            expires_at,
            keep_until,
            version,
            attempt,
        })
    }
}

/// Decodes the head, even of a record with unknown fields.
fn header(bytes: &[u8]) -> Result<RecordHeader, DecodeError> {
    let mut input = Reader::new(bytes);
    let Head { stage, token, version, attempt, first_seen_at, acquired_at, expires_at, keep_until, .. } =
        Head::read(&mut input)?;
    let unknown_field = unknown_field(input.varint()?);
    Ok(RecordHeader {
        stage,
        token,
        version,
        attempt,
        first_seen_at,
        acquired_at,
        expires_at,
        keep_until,
        unknown_field,
    })
}

/// Returns the lowest number of the fields that this library does not know.
fn unknown_field(present: u64) -> Option<u32> {
    let unknown = present & !KNOWN;
    (unknown != 0).then_some(unknown.trailing_zeros())
}

fn decode(bytes: &[u8]) -> Result<Body, DecodeError> {
    let mut input = Reader::new(bytes);
    let head = Head::read(&mut input)?;
    let Head { stage, lease_id, first_seen_at, acquired_at, token, expires_at, keep_until, version, attempt } =
        head;
    let present = input.varint()?;
    if let Some(number) = unknown_field(present) {
        return Err(DecodeError::UnknownField { number });
    }
    let has = |bit| present & bit != 0;
    let done = has_done_at(stage);
    let fits = has(DONE_AT) == done
        && has(RESULT) == (stage == Stage::Completed)
        && has(ERROR_CODE) == (stage == Stage::Failed)
        && (has(ERROR_CODE) || !has(ERROR_DETAIL))
        && (has(RESULT) || !has(RESULT_HASH))
        && (has(FORMER) || !has(FORMER_HOLDER))
        && (stage == Stage::InProgress || !has(IN_DOUBT));
    if !fits {
        return Err(input.damaged("fields do not fit the stage"));
    }
    let done_at = if done { input.after(acquired_at)? } else { Timestamp::EPOCH };
    let result = if has(RESULT) { Some(input.payload()?) } else { None };
    let holder = if has(HOLDER) { Some(input.text()?) } else { None };
    let metadata = if has(METADATA) { Some(input.text()?) } else { None };
    let fingerprint = if has(FINGERPRINT) { Some(Fingerprint::from_bytes(input.array()?)) } else { None };
    let checkpoint = if has(CHECKPOINT) { Some(Box::new(input.payload()?)) } else { None };
    let result_hash = if has(RESULT_HASH) { Some(input.text()?) } else { None };
    let code = if has(ERROR_CODE) { Some(input.text()?) } else { None };
    let detail = if has(ERROR_DETAIL) { Some(input.text()?) } else { None };
    let ended = if has(FORMER) { Some(input.tag(&ENDED)?) } else { None };
    let former_holder = if has(FORMER_HOLDER) { Some(input.text()?) } else { None };
    let of_record = if has(OF_RECORD) { Some(Skippable::read(&mut input)?) } else { None };
    let of_grant = if has(OF_GRANT) { Some(Skippable::read(&mut input)?) } else { None };
    if !input.is_at_end() {
        return Err(input.damaged("bytes left over"));
    }
    let retry_after = of_grant.as_ref().and_then(|fields| fields.known);
    if retry_after.is_some() && stage != Stage::Failed {
        return Err(input.damaged("fields do not fit the stage"));
    }
    let retry_after = retry_after.map(read_retry_after).transpose()?;
    let history = of_record.as_ref().and_then(|fields| fields.known);
    let history = history.map(|history| past::decode(history, first_seen_at)).transpose()?;
    if history.is_some() && stage == Stage::Forgotten {
        return Err(input.damaged("fields do not fit the stage"));
    }
    let failure = code.map(|code| Failure { code, detail, retry_after });
    let mut body = Body {
        version,
        expires_at,
        done_at,
        keep_until,
        stage,
        previous_end: ended,
        ..Body::in_progress(lease_id, first_seen_at, attempt)
    };
    body.edit_attributes(|attributes| {
        attributes.holder = holder;
        attributes.metadata = metadata;
        attributes.fingerprint = fingerprint;
        attributes.checkpoint = checkpoint;
        attributes.result_hash = result_hash;
        attributes.failure = failure;
        attributes.previous_holder = former_holder;
        attributes.in_doubt = has(IN_DOUBT);
        attributes.of_record = of_record.and_then(|fields| fields.others);
        attributes.of_grant = of_grant.and_then(|fields| fields.others);
    });
    body.set_grant(acquired_at, token);
    if let Some(result) = result {
        body.set_result(&result);
    }
    if let Some((trace, past)) = history {
        body.set_history(trace, past);
    }
    Ok(body)
}

/// Reads the wait before a retry, in µs.
fn read_retry_after(content: &[u8]) -> Result<u64, DecodeError> {
    let mut input = Reader::new(content);
    let micros = input.varint()?;
    if micros > Failure::MAX_RETRY_AFTER || !input.is_at_end() {
        return Err(input.damaged("wait before a retry out of range"));
    }
    Ok(micros)
}

fn has_done_at(stage: Stage) -> bool {
    matches!(stage, Stage::Completed | Stage::Failed | Stage::Released)
}

#[cfg(test)]
mod tests;
