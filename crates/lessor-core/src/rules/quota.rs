//! The quota of a namespace, and the record that counts its grants.
//!
//! A process charges units in blocks, before it grants leases. So the count is never less than the
//! number of grants, and a grant costs no write besides its own.

use serde::{Deserialize, Serialize};

use super::command::{Answer, Charge};
use super::transition::{Put, Transition};
use crate::data::error::Error;
use crate::data::month::Month;
use crate::data::payload::Payload;
use crate::data::record::{Body, Record, Stage};
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::usage::Usage;

/// The number of units that a process charges at once, unless the quota has another one.
const BLOCK: u32 = 64;
/// The part of the remaining units that a process charges at most, so that several processes share
/// the last ones.
const SHARE: u64 = 32;
/// The number of months that are counted apart: the current one and those of a year.
const MONTHS: usize = 13;
/// The time for which a count is kept after the last charge, in µs: the months that it counts.
const KEEP: u64 = 400 * 24 * 3600 * 1_000_000;
/// The encoded length of a month: its number and its count.
const ENTRY: usize = 12;

/// The quota of a namespace: its grants per calendar month, in UTC.
///
/// Every grant is counted, also that of a takeover or of a retry. Answers without a grant are free.
/// Each process charges a block of units at once, so that a grant costs no further write. Units that
/// a process has charged and not used are given back when its engine is closed, and are lost if the
/// process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    limit: Option<u64>,
    #[serde(default = "default_block")]
    block: u32,
}

fn default_block() -> u32 {
    BLOCK
}

impl Quota {
    /// Returns a quota of `limit` grants per month. 0 allows none.
    #[must_use]
    pub const fn monthly(limit: u64) -> Self {
        Self { limit: Some(limit), block: BLOCK }
    }

    /// Returns a quota that counts grants without a limit.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { limit: None, block: BLOCK }
    }

    /// Sets the maximum number of units that a process charges at once, from 1 to 65,536. Default: 64.
    /// With few units left, a process charges fewer, down to one.
    ///
    /// A larger block saves writes. It is also the number of units that the crash of a process can
    /// lose.
    #[must_use]
    pub const fn block(self, units: u32) -> Self {
        Self { block: units, ..self }
    }

    /// Returns the maximum number of grants per month.
    #[must_use]
    pub const fn limit(self) -> Option<u64> {
        self.limit
    }

    pub(crate) fn most(self) -> u32 {
        self.block
    }

    pub(crate) fn validate(self) -> Result<Self, Error> {
        match self.block {
            1..=65_536 => Ok(self),
            block => Err(Error::invalid("quota", format!("a block of {block} is not between 1 and 65536"))),
        }
    }
}

/// The counts of a namespace, the latest month first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts(Vec<(Month, u64)>);

impl Counts {
    fn of(record: Option<&Record>) -> Result<Self, Error> {
        let Some(body) = record.map(Record::body).filter(|body| body.stage != Stage::Forgotten) else {
            return Ok(Self::default());
        };
        let bytes = match (body.stage, body.result()) {
            (Stage::Completed, Some(bytes)) if bytes.len() % ENTRY == 0 => bytes,
            _ => return Err(unknown()),
        };
        let entry = |entry: &[u8]| -> Option<(Month, u64)> {
            let (month, count) = entry.split_first_chunk()?;
            let count = u64::from_le_bytes(count.try_into().ok()?);
            Some((Month::from_number(u32::from_le_bytes(*month)), count))
        };
        bytes.chunks_exact(ENTRY).map(entry).collect::<Option<_>>().map(Self).ok_or_else(unknown)
    }

    fn encode(&self) -> Payload {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY);
        for (month, count) in &self.0 {
            bytes.extend(month.number().to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
        Payload::new(&bytes)
    }

    fn get(&self, month: Month) -> u64 {
        self.0.iter().find(|(of, _)| *of == month).map_or(0, |(_, count)| *count)
    }

    fn set(&mut self, month: Month, count: u64) {
        match self.0.iter_mut().find(|(of, _)| *of == month) {
            Some((_, current)) => *current = count,
            None => {
                self.0.insert(0, (month, count));
                self.0.truncate(MONTHS);
            }
        }
    }
}

#[cold]
fn unknown() -> Error {
    let reason = "the record that counts a namespace's grants has an unknown form; update this library";
    StoreError::incompatible(reason).into()
}

/// Returns the usage that `record` counts at `now`.
pub(crate) fn usage(
    record: Option<&Record>,
    now: Timestamp,
    limit: Option<u64>,
    unused: (Month, u64),
) -> Result<Usage, Error> {
    let now = record.map_or(now, |record| record.body().not_before(now));
    let month = Month::of(now);
    let counts = Counts::of(record)?;
    let unused = if unused.0 == month { unused.1 } else { 0 };
    let used = counts.get(month).saturating_sub(unused);
    let earlier = counts.0.into_iter().filter(|(of, _)| *of < month).collect();
    Ok(Usage::new(month, used, limit).with_earlier(earlier))
}

/// Decides a charge on the record that counts.
#[cold]
pub(super) fn charge<'c>(
    record: Option<&Record>,
    charge: &Charge,
    now: Timestamp,
    floor: Option<Token>,
) -> Transition<'c> {
    let mut counts = match Counts::of(record) {
        Ok(counts) => counts,
        Err(error) => return Transition::Refuse(error),
    };
    let current = Month::of(now);
    let (month, before) = match *charge {
        Charge::Take { .. } => (current, counts.get(current)),
        Charge::Return { month, .. } => (month, counts.get(month)),
    };
    let (units, after) = match *charge {
        Charge::Take { most, limit, .. } => {
            let units = block(most, limit.map(|limit| limit.saturating_sub(before)));
            (units, before.saturating_add(units))
        }
        Charge::Return { units, .. } => (units, before.saturating_sub(units)),
    };
    let answer = Answer::Charged { units, month, total: after };
    if after == before {
        return Transition::Answer(answer);
    }
    counts.set(month, after);
    let Some(token) = Token::after(record.map(Record::token).or(floor), now) else {
        return Transition::Refuse(Error::ClockOutOfRange);
    };
    let mut body = Body::in_progress(charge.nonce(), now, 1);
    if let Some(earlier) = record.map(Record::body) {
        body.version = earlier.version.next();
        body.first_seen_at = earlier.first_seen_at;
    }
    body.set_grant(now, token);
    body.stage = Stage::Completed;
    body.expires_at = now;
    body.done_at = now;
    body.keep_until = now.saturating_add_micros(KEEP);
    body.set_result(&counts.encode());
    Transition::Put(Box::new(Put { body, answer }))
}

/// Returns the number of units to charge with `left` units left.
fn block(most: u32, left: Option<u64>) -> u64 {
    let most = u64::from(most);
    left.map_or(most, |left| most.min((left / SHARE).max(1)).min(left))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::data::lease_id::LeaseId;
    use crate::rules::{Command, Decision, decide};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn take(most: u32, limit: Option<u64>) -> Charge {
        Charge::Take { nonce: LeaseId::random().unwrap(), most, limit }
    }

    fn at(month: Month) -> Timestamp {
        month.start().saturating_add(DAY)
    }

    /// Executes a charge, and returns the units, the total and the record.
    fn execute(record: Option<Record>, charge: Charge, now: Timestamp) -> (u64, u64, Option<Record>) {
        match decide(record.as_ref(), &Command::Charge(charge), now, Duration::ZERO) {
            Decision::Answer(Answer::Charged { units, total, .. }) => (units, total, record),
            Decision::Write(write, Answer::Charged { units, total, .. }) => {
                if let Some(before) = &record {
                    assert!(write.next.token() > before.token(), "P2: tokens rise");
                    assert_eq!(write.next.body().version, before.body().version.next(), "P10");
                }
                let bytes = write.next.encode();
                assert_eq!(Record::decode(&bytes).unwrap(), write.next, "the record reads back");
                (units, total, Some(write.next))
            }
            decision => panic!("{decision:?}"),
        }
    }

    #[test]
    fn a_quota_is_charged_in_blocks_which_shrink_to_one_and_never_exceed_the_limit() {
        for limit in [0, 1, 2, 31, 32, 33, 100, 1000, 3000] {
            let (mut record, mut charged, mut writes) = (None, 0, 0);
            loop {
                let (units, total, next) =
                    execute(record, take(64, Some(limit)), at(Month::of(Timestamp::EPOCH)));
                record = next;
                charged += units;
                assert_eq!(total, charged);
                if units == 0 {
                    break;
                }
                assert!(units <= 64 && (units == 1 || units <= (limit - charged + units) / 32));
                writes += 1;
            }
            assert_eq!(charged, limit);
            assert!(writes <= limit.min(200), "{writes} writes for {limit} grants");
        }
        assert_eq!(block(64, None), 64);
    }

    #[test]
    fn each_month_is_counted_apart_and_those_of_a_year_are_kept() {
        let (first, mut record) = (Month::of(Timestamp::EPOCH), None);
        let mut month = first;
        for count in 1..=20 {
            let (units, total, next) = execute(record, take(count, None), at(month));
            assert_eq!((units, total), (u64::from(count), u64::from(count)));
            record = next;
            month = month.next();
        }
        let usage = usage(record.as_ref(), at(month), Some(5), (month, 0)).unwrap();
        assert_eq!((usage.month(), usage.used(), usage.left()), (month, 0, Some(5)));
        let counts: Vec<u64> = usage.earlier().iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, (8..=20).rev().collect::<Vec<u64>>());
    }

    #[test]
    fn units_are_returned_to_their_own_month_once() {
        let month = Month::of(Timestamp::EPOCH);
        let (_, _, record) = execute(None, take(64, None), at(month));
        let back = |units| Charge::Return { nonce: LeaseId::random().unwrap(), month, units };
        let (_, total, record) = execute(record, back(60), at(month.next()));
        assert_eq!(total, 4);
        let (_, total, record) = execute(record, back(60), at(month.next()));
        assert_eq!(total, 0, "a count is never negative");
        let (_, total, _) = execute(record, back(1), at(month.next()));
        assert_eq!(total, 0);
    }

    #[test]
    fn unused_units_of_this_process_are_not_shown_as_used_and_those_of_another_month_are_ignored() {
        let month = Month::of(Timestamp::EPOCH);
        let (_, _, record) = execute(None, take(64, None), at(month));
        let used = |unused| usage(record.as_ref(), at(month), None, unused).unwrap().used();
        assert_eq!(used((month, 60)), 4);
        assert_eq!(used((month.next(), 60)), 64);
        assert_eq!(used((month, 100)), 0);
    }

    #[test]
    fn p12_a_record_that_counts_nothing_is_refused_and_not_overwritten() {
        let mut body = Body::in_progress(LeaseId::random().unwrap(), Timestamp::EPOCH, 1);
        body.stage = Stage::Completed;
        body.set_result(&Payload::new(b"thirteen byte"));
        let record = Record::new(body);
        let decision = decide(
            Some(&record),
            &Command::Charge(take(1, None)),
            at(Month::of(Timestamp::EPOCH)),
            Duration::ZERO,
        );
        assert!(matches!(decision, Decision::Refuse(Error::Store(_))), "{decision:?}");
        assert!(usage(Some(&record), Timestamp::EPOCH, None, (Month::of(Timestamp::EPOCH), 0)).is_err());
    }

    #[test]
    fn a_quota_is_serialised_as_its_limit_and_its_block() {
        let quota: Quota = serde_json::from_str(r#"{"limit": 3000}"#).unwrap();
        assert_eq!(quota, Quota::monthly(3000));
        assert_eq!(
            serde_json::from_str::<Quota>(r#"{"limit": null, "block": 8}"#).unwrap(),
            Quota::unlimited().block(8)
        );
        for block in [0, 65_537] {
            assert!(Quota::unlimited().block(block).validate().is_err());
        }
    }
}
