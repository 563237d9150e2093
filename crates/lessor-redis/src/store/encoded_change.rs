//! A conditional write, encoded for the server.

use lessor_core::store::ConditionalWrite;
use lessor_core::{Record, Timestamp};

use crate::protocol::arrival::{
    MAX_ARRIVAL_DELAY, expires_ms, is_first_grant, lifetime_ms, purge_at, token_time,
};

pub(super) struct EncodedChange {
    /// The new record.
    pub(super) record: Record,
    /// The bytes of the expected record, followed by those of the new one.
    pub(super) records: Vec<u8>,
    expected_length: usize,
    /// True if no record is expected.
    pub(super) is_fresh: bool,
    /// The time after which the server expires the record, in ms, if a single `SET` can make the
    /// change.
    pub(super) lifetime_ms: Option<u64>,
    /// The time at which the server expires the record, in ms since the Unix epoch.
    pub(super) expires_ms: u64,
    /// The time of the new record's token.
    pub(super) token: Timestamp,
    /// The first time at which the change is allowed, and the first at which it no longer is, if it
    /// depends on the clock.
    pub(super) window: Option<(Timestamp, Option<Timestamp>)>,
    pub(super) purge_at: Timestamp,
}

impl EncodedChange {
    pub(super) fn new(change: &ConditionalWrite<'_>) -> Self {
        let mut records = Vec::with_capacity(512);
        if let Some(expected) = change.expected {
            expected.encode_into(&mut records);
        }
        let expected_length = records.len();
        change.next.encode_into(&mut records);
        let (is_fresh, token) = (change.expected.is_none(), token_time(change.next));
        // A script that replaces no record must not write a late grant either.
        let latest = if is_fresh { token.checked_add(MAX_ARRIVAL_DELAY) } else { None };
        let not_after = change.not_after.into_iter().chain(latest).min();
        let window = (change.is_timed() || is_fresh)
            .then_some((change.not_before.unwrap_or(Timestamp::EPOCH), not_after));
        Self {
            record: change.next.clone(),
            records,
            expected_length,
            is_fresh,
            lifetime_ms: (is_fresh && !change.is_timed() && is_first_grant(change.next))
                .then(|| lifetime_ms(change.next)),
            expires_ms: expires_ms(change.next),
            token,
            window,
            purge_at: purge_at(change.next),
        }
    }

    pub(super) fn expected(&self) -> &[u8] {
        self.records.get(..self.expected_length).unwrap_or_default()
    }

    pub(super) fn next(&self) -> &[u8] {
        self.records.get(self.expected_length..).unwrap_or_default()
    }
}
