//! The events of the last grant of a record, and the end of the grant before it, as far as
//! the record's other fields do not say it.

use std::time::Duration;

use crate::data::time::Timestamp;

/// A trace in a fixed layout, so that a renewal changes it in place without an allocation. Numbers
/// are little-endian.
///
/// ```text
///  0  8  the smallest time that was left of the lease at a renewal, in µs
///  8  8  the time of the last renewal
/// 16  8  the time of the last checkpoint
/// 24  4  the number of renewals
/// 28  4  the number of checkpoints
/// 32  4  the attempt that the above is about
/// 36  1  what the stage does not say about its end, see Ending
/// 40  8  the time of the former grant
/// 48  8  the end of the former grant
/// 56  4  the attempt of the former grant
/// 60  1  how the former grant ended, 0 if none is known
/// 61  1  the token of the former grant minus its time in µs
/// ```
#[derive(Clone, Copy, PartialEq)]
#[repr(transparent)]
pub(crate) struct Trace([u8; Trace::LENGTH]);

/// The end of a grant, as a number: how it ended, and [`OPERATOR`](Self::OPERATOR) or
/// [`FORCED`](Self::FORCED) if an operator ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending(pub(crate) u8);

impl Ending {
    /// Nothing is known, or nothing beside the stage.
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const LAPSED: Self = Self(1);
    pub(crate) const ABANDONED: Self = Self(2);
    pub(crate) const IN_DOUBT: Self = Self(3);
    pub(crate) const RELEASED: Self = Self(4);
    pub(crate) const FAILED: Self = Self(5);
    pub(crate) const OPERATOR: Self = Self(1 << 4);
    pub(crate) const FORCED: Self = Self(2 << 4);

    /// Returns how the grant ended.
    pub(crate) const fn how(self) -> Self {
        Self(self.0 & 0xf)
    }

    /// Returns the operator's part.
    pub(crate) const fn by(self) -> Self {
        Self(self.0 & 0xf0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the end of a grant that was followed by another. `None` if the number is none.
    pub(crate) fn of_former(number: u8) -> Option<Self> {
        let ending = Self(number);
        let is_known = (Self::LAPSED.0..=Self::FAILED.0).contains(&ending.how().0);
        let by_operator = matches!(ending.how(), Self::RELEASED | Self::FAILED);
        let is_possible = match ending.by() {
            Self::NONE => true,
            Self::OPERATOR | Self::FORCED => by_operator,
            _ => false,
        };
        (is_known && is_possible).then_some(ending)
    }

    /// Returns what the stage does not say about the end of a grant. `None` if the number is none.
    pub(crate) fn of_last(number: u8) -> Option<Self> {
        let ending = Self(number);
        let is_possible = matches!(ending.how(), Self::NONE | Self::ABANDONED)
            && matches!(ending.by(), Self::NONE | Self::OPERATOR | Self::FORCED);
        is_possible.then_some(ending)
    }
}

/// A grant that was followed by another.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Former {
    pub(crate) attempt: u32,
    pub(crate) granted_at: Timestamp,
    /// The token minus the time of the grant in µs.
    pub(crate) lead: u8,
    pub(crate) ended_at: Timestamp,
    pub(crate) ending: Ending,
}

/// The renewals of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewals {
    pub(crate) count: u32,
    /// The smallest time that was left of the lease.
    pub(crate) least_left: Duration,
    pub(crate) last_at: Timestamp,
}

/// The checkpoints of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoints {
    pub(crate) count: u32,
    pub(crate) last_at: Timestamp,
}

const LEAST_LEFT: usize = 0;
const RENEWED_AT: usize = 8;
const CHECKPOINTED_AT: usize = 16;
const RENEWALS: usize = 24;
const CHECKPOINTS: usize = 28;
const ATTEMPT: usize = 32;
const ENDING: usize = 36;
const FORMER: usize = 40;
const FORMER_GRANTED_AT: usize = FORMER;
const FORMER_ENDED_AT: usize = 48;
const FORMER_ATTEMPT: usize = 56;
const FORMER_ENDING: usize = 60;
const FORMER_LEAD: usize = 61;

/// The part of a trace that is about the former grant. Zeros if there is none.
pub(crate) type FormerPart = [u8; Trace::LENGTH - FORMER];

impl Trace {
    pub(crate) const LENGTH: usize = 64;
    pub(crate) const EMPTY: Self = Self([0; Self::LENGTH]);

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[inline]
    pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Returns the part about the former grant.
    #[inline]
    pub(crate) fn former_part(&self) -> FormerPart {
        self.array(FORMER)
    }

    /// Makes a trace with at most a part of an end one of nothing but the former grant.
    #[inline]
    pub(crate) fn become_former(&mut self, former: Former) {
        self.put_u32(ATTEMPT, 0);
        self.put_u8(ENDING, Ending::NONE.0);
        self.set_former(former);
    }

    /// Returns a trace of nothing but the former grant. `None` if there is none.
    pub(crate) fn of_former_part(part: FormerPart) -> Option<Self> {
        let mut trace = Self::EMPTY;
        trace.put(FORMER, part);
        trace.former().map(|_| trace)
    }

    /// Adds a renewal of the grant `attempt` at `now`, with `left` µs left of the lease.
    #[inline]
    pub(crate) fn renew(&mut self, attempt: u32, left: u64, now: Timestamp) {
        self.begin(attempt);
        let count = self.u32(RENEWALS);
        if count == 0 || left < self.u64(LEAST_LEFT) {
            self.put_u64(LEAST_LEFT, left);
        }
        self.put_u64(RENEWED_AT, now.as_micros());
        self.put_u32(RENEWALS, count.saturating_add(1));
    }

    /// Adds a checkpoint of the grant `attempt` at `now`.
    pub(crate) fn checkpoint(&mut self, attempt: u32, now: Timestamp) {
        self.begin(attempt);
        self.put_u64(CHECKPOINTED_AT, now.as_micros());
        self.put_u32(CHECKPOINTS, self.u32(CHECKPOINTS).saturating_add(1));
    }

    /// Adds to what the stage does not say about the end of the grant `attempt`.
    pub(crate) fn end(&mut self, attempt: u32, ending: Ending) {
        self.begin(attempt);
        let known = Ending(self.u8(ENDING));
        self.put_u8(ENDING, known.and(ending).0);
    }

    /// Begins the trace of the grant `attempt`, unless it has begun. It has another attempt only if
    /// an older release, which does not know traces, has granted the key since.
    #[inline]
    fn begin(&mut self, attempt: u32) {
        if self.u32(ATTEMPT) != attempt {
            let former = self.former();
            *self = Self::EMPTY;
            self.put_u32(ATTEMPT, attempt);
            if let Some(former) = former {
                self.set_former(former);
            }
        }
    }

    /// Returns the attempt that the trace is about. 0 if there is only a former grant.
    #[inline]
    pub(crate) fn attempt(&self) -> u32 {
        self.u32(ATTEMPT)
    }

    pub(crate) fn renewals(&self) -> Option<Renewals> {
        let count = self.u32(RENEWALS);
        (count > 0).then(|| Renewals {
            count,
            least_left: Duration::from_micros(self.u64(LEAST_LEFT)),
            last_at: self.time(RENEWED_AT),
        })
    }

    pub(crate) fn checkpoints(&self) -> Option<Checkpoints> {
        let count = self.u32(CHECKPOINTS);
        (count > 0).then(|| Checkpoints { count, last_at: self.time(CHECKPOINTED_AT) })
    }

    #[inline]
    pub(crate) fn ending(&self) -> Ending {
        Ending(self.u8(ENDING))
    }

    #[inline]
    pub(crate) fn former(&self) -> Option<Former> {
        let ending = Ending(self.u8(FORMER_ENDING));
        (ending != Ending::NONE).then(|| Former {
            attempt: self.u32(FORMER_ATTEMPT),
            granted_at: self.time(FORMER_GRANTED_AT),
            lead: self.u8(FORMER_LEAD),
            ended_at: self.time(FORMER_ENDED_AT),
            ending,
        })
    }

    /// Returns the part of the end of the grant `attempt`, if there is nothing else.
    pub(crate) fn only_ending(&self, attempt: u32) -> Option<Ending> {
        let has_more = self.renewals().is_some() || self.checkpoints().is_some() || self.former().is_some();
        (!has_more && self.attempt() == attempt).then(|| self.ending())
    }

    /// Returns whether there is nothing but the former grant.
    pub(crate) fn is_only_former(&self) -> bool {
        self.u32(ATTEMPT) == 0
    }

    pub(crate) fn set_renewals(&mut self, renewals: Renewals) {
        self.put_u32(RENEWALS, renewals.count);
        self.put_u64(LEAST_LEFT, renewals.least_left.as_micros().try_into().unwrap_or(u64::MAX));
        self.put_u64(RENEWED_AT, renewals.last_at.as_micros());
    }

    pub(crate) fn set_checkpoints(&mut self, checkpoints: Checkpoints) {
        self.put_u32(CHECKPOINTS, checkpoints.count);
        self.put_u64(CHECKPOINTED_AT, checkpoints.last_at.as_micros());
    }

    pub(crate) fn set_ending(&mut self, attempt: u32, ending: Ending) {
        self.put_u32(ATTEMPT, attempt);
        self.put_u8(ENDING, ending.0);
    }

    #[inline]
    pub(crate) fn set_former(&mut self, former: Former) {
        self.put_u64(FORMER_GRANTED_AT, former.granted_at.as_micros());
        self.put_u64(FORMER_ENDED_AT, former.ended_at.as_micros());
        self.put_u32(FORMER_ATTEMPT, former.attempt);
        self.put_u8(FORMER_ENDING, former.ending.0);
        self.put_u8(FORMER_LEAD, former.lead);
    }

    #[inline]
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    #[inline]
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(place) = self.0.get_mut(at..at + N) {
            place.copy_from_slice(&bytes);
        }
    }

    #[inline]
    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    #[inline]
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    #[inline]
    fn u8(&self, at: usize) -> u8 {
        let [byte] = self.array(at);
        byte
    }

    #[inline]
    fn time(&self, at: usize) -> Timestamp {
        Timestamp::from_micros(self.u64(at)).unwrap_or(Timestamp::MAX)
    }

    #[inline]
    fn put_u64(&mut self, at: usize, number: u64) {
        self.put(at, number.to_le_bytes());
    }

    #[inline]
    fn put_u32(&mut self, at: usize, number: u32) {
        self.put(at, number.to_le_bytes());
    }

    #[inline]
    fn put_u8(&mut self, at: usize, number: u8) {
        self.put(at, [number]);
    }
}
