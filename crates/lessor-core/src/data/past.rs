//! The stored form of a record's history.
//!
//! ```text
//! flags        1 byte: 1 renewals, 2 checkpoints, 4 former grant, 8 ending
//! attempt      varint, with renewals, checkpoints or an ending: the grant that they are about
//! renewals     number, smallest time left of the lease in µs, time of the last one
//! checkpoints  number, time of the last one
//! ending       1 byte: 2 abandoned, plus 16 if an operator has resolved the key, or 32 by force
//! former grant attempt, time, token minus the time (1 byte), end minus the time, ending (1 byte)
//! earlier grants, each:
//!   flags      1 byte: 1 renewals, 2 checkpoints, 4 holder, 8 the holder of the grant before it
//!   attempt, time, token minus the time, end minus the time
//!   ending     1 byte: 1 lapsed, 2 abandoned, 3 in doubt, 4 released, 5 failed, plus 16 or 32
//!   renewals, checkpoints
//!   holder     length, UTF-8
//! ```
//! Numbers are varints. Times are in µs since `first_seen_at`, which no release ever changes in a
//! record, so that the history stays readable after an older release has changed the record.

use crate::data::bytes::{Reader, Writer};
use crate::data::decode_error::DecodeError;
use crate::data::history::{EndedBy, GrantHistory, HistoryKind};
use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::trace::{Checkpoints, Ending, Former, Renewals, Trace};

/// The history of a record, as far as it is not in the record itself.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct StoredHistory {
    /// The trace of a record that has a result.
    pub(crate) trace: Option<Trace>,
    /// The grants before the former one, in encoded form.
    pub(crate) past: Box<[u8]>,
}

/// The maximum length of a holder's label in an earlier grant, in bytes.
const MAX_LABEL: usize = 64;

const RENEWALS: u8 = 1;
const CHECKPOINTS: u8 = 2;
const FORMER: u8 = 4;
const ENDING: u8 = 8;
const HOLDER: u8 = 4;
const SAME_HOLDER: u8 = 8;

/// Returns the encoded history. `None` if it is empty.
pub(crate) fn encode(trace: Option<&Trace>, past: &[u8], first_seen_at: Timestamp) -> Option<Vec<u8>> {
    if trace.is_none() && past.is_empty() {
        return None;
    }
    let trace = trace.unwrap_or(&Trace::EMPTY);
    let (renewals, checkpoints, former) = (trace.renewals(), trace.checkpoints(), trace.former());
    let has_ending = trace.ending() != Ending::NONE;
    let flags = [
        (renewals.is_some(), RENEWALS),
        (checkpoints.is_some(), CHECKPOINTS),
        (former.is_some(), FORMER),
        (has_ending, ENDING),
    ];
    let mut bytes = Vec::with_capacity(64 + past.len());
    let mut out = Writer(&mut bytes);
    out.byte(of_flags(flags));
    if renewals.is_some() || checkpoints.is_some() || has_ending {
        out.varint(trace.attempt().into());
    }
    write_run(&mut out, renewals, checkpoints, first_seen_at);
    if has_ending {
        out.byte(trace.ending().0);
    }
    if let Some(former) = former {
        out.varint(former.attempt.into());
        out.since(former.granted_at, first_seen_at);
        out.byte(former.lead);
        out.since(former.ended_at, former.granted_at);
        out.byte(former.ending.0);
    }
    bytes.extend_from_slice(past);
    Some(bytes)
}

fn of_flags(flags: [(bool, u8); 4]) -> u8 {
    flags.into_iter().map(|(is, flag)| if is { flag } else { 0 }).sum()
}

fn write_run(
    out: &mut Writer<'_>,
    renewals: Option<Renewals>,
    checkpoints: Option<Checkpoints>,
    first_seen_at: Timestamp,
) {
    if let Some(Renewals { count, least_left, last_at }) = renewals {
        out.varint(count.into());
        out.varint(least_left.as_micros().try_into().unwrap_or(u64::MAX));
        out.since(last_at, first_seen_at);
    }
    if let Some(Checkpoints { count, last_at }) = checkpoints {
        out.varint(count.into());
        out.since(last_at, first_seen_at);
    }
}

/// Decodes a history, and checks that it has its only form.
pub(crate) fn decode(
    content: &[u8],
    first_seen_at: Timestamp,
) -> Result<(Option<Trace>, Box<[u8]>), DecodeError> {
    let mut input = Reader::new(content);
    let flags = input.byte()?;
    if flags > (RENEWALS | CHECKPOINTS | FORMER | ENDING) {
        return Err(input.damaged("unknown flags of a history"));
    }
    let mut trace = Trace::EMPTY;
    let has_run = flags & (RENEWALS | CHECKPOINTS | ENDING) != 0;
    let attempt = if has_run { read_count(&mut input)? } else { 0 };
    let (renewals, checkpoints) = read_run(&mut input, flags, first_seen_at)?;
    if let Some(renewals) = renewals {
        trace.set_renewals(renewals);
    }
    if let Some(checkpoints) = checkpoints {
        trace.set_checkpoints(checkpoints);
    }
    let ending = if flags & ENDING != 0 {
        let ending = Ending::of_last(input.byte()?).filter(|ending| *ending != Ending::NONE);
        ending.ok_or(input.damaged("unknown end of a grant"))?
    } else {
        Ending::NONE
    };
    trace.set_ending(attempt, ending);
    if flags & FORMER != 0 {
        trace.set_former(read_former(&mut input, first_seen_at)?);
    }
    let past = input.rest();
    for grant in grants(past, first_seen_at) {
        grant?;
    }
    if flags == 0 && past.is_empty() {
        return Err(input.damaged("history is empty"));
    }
    Ok(((flags != 0).then_some(trace), past.into()))
}

fn read_count(input: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let count = u32::try_from(input.varint()?).ok().filter(|count| *count > 0);
    count.ok_or(input.damaged("count out of range"))
}

fn read_run(
    input: &mut Reader<'_>,
    flags: u8,
    first_seen_at: Timestamp,
) -> Result<(Option<Renewals>, Option<Checkpoints>), DecodeError> {
    let (mut renewals, mut checkpoints) = (None, None);
    if flags & RENEWALS != 0 {
        let count = read_count(input)?;
        let least_left = input.after(Timestamp::EPOCH)?.saturating_since(Timestamp::EPOCH);
        renewals = Some(Renewals { count, least_left, last_at: input.after(first_seen_at)? });
    }
    if flags & CHECKPOINTS != 0 {
        checkpoints = Some(Checkpoints { count: read_count(input)?, last_at: input.after(first_seen_at)? });
    }
    Ok((renewals, checkpoints))
}

fn read_former(input: &mut Reader<'_>, first_seen_at: Timestamp) -> Result<Former, DecodeError> {
    let attempt = read_count(input)?;
    let granted_at = input.after(first_seen_at)?;
    let lead = input.byte()?;
    let ended_at = input.after(granted_at)?;
    let ending = Ending::of_former(input.byte()?).ok_or(input.damaged("unknown end of a grant"))?;
    let former = Former { attempt, granted_at, lead, ended_at, ending };
    former.token().ok_or(input.damaged("token out of range"))?;
    Ok(former)
}

impl Former {
    /// Returns whether the grant `attempt` is the one after this one.
    pub(crate) fn precedes(&self, attempt: u32) -> bool {
        self.attempt.checked_add(1) == Some(attempt)
    }

    pub(crate) fn token(&self) -> Option<Token> {
        Token::from_u64(self.granted_at.as_micros() + u64::from(self.lead))
    }

    /// Returns the history of the grant, whose holder had this label.
    pub(crate) fn history<'a>(&self, holder: Option<&'a str>) -> Option<GrantHistory<'a>> {
        let history = GrantHistory {
            attempt: self.attempt,
            token: self.token()?,
            granted_at: self.granted_at,
            holder,
            renewals: None,
            checkpoints: None,
            lapse: None,
            outcome: None,
        };
        Some(history.ended(self.ending, self.ended_at))
    }
}

impl GrantHistory<'_> {
    /// Returns the history of a grant that was followed by another.
    pub(crate) fn ended(self, ending: Ending, at: Timestamp) -> Self {
        let outcome = |kind| Some((kind, at, EndedBy::of(ending)));
        let (lapse, outcome) = match ending.how() {
            Ending::RELEASED => (None, outcome(HistoryKind::Released)),
            Ending::FAILED => (None, outcome(HistoryKind::Failed)),
            Ending::ABANDONED => (Some((HistoryKind::Abandoned, at)), None),
            Ending::IN_DOUBT => (Some((HistoryKind::LeftInDoubt, at)), None),
            _ => (Some((HistoryKind::Lapsed, at)), None),
        };
        Self { lapse, outcome, ..self }
    }

    fn end(&self) -> (Ending, Timestamp) {
        match (self.outcome, self.lapse) {
            (Some((kind, at, by)), _) => {
                let how = if kind == HistoryKind::Released { Ending::RELEASED } else { Ending::FAILED };
                let by = match by {
                    EndedBy::Holder => Ending::NONE,
                    EndedBy::Operator => Ending::OPERATOR,
                    EndedBy::OperatorByForce => Ending::FORCED,
                };
                (how.and(by), at)
            }
            (None, Some((HistoryKind::Abandoned, at))) => (Ending::ABANDONED, at),
            (None, Some((HistoryKind::LeftInDoubt, at))) => (Ending::IN_DOUBT, at),
            (None, Some((_, at))) => (Ending::LAPSED, at),
            (None, None) => (Ending::LAPSED, self.granted_at),
        }
    }
}

/// Returns the encoded form of earlier grants.
pub(crate) fn encode_grants(grants: &[GrantHistory<'_>], first_seen_at: Timestamp) -> Box<[u8]> {
    let mut bytes = Vec::new();
    let mut out = Writer(&mut bytes);
    let mut former_holder = None;
    for grant in grants {
        let holder = grant.holder.map(shortened);
        let is_same = holder.is_some() && holder == former_holder;
        out.byte(of_flags([
            (grant.renewals.is_some(), RENEWALS),
            (grant.checkpoints.is_some(), CHECKPOINTS),
            (holder.is_some() && !is_same, HOLDER),
            (is_same, SAME_HOLDER),
        ]));
        let (ending, ended_at) = grant.end();
        out.varint(grant.attempt.into());
        out.since(grant.granted_at, first_seen_at);
        out.varint(grant.token.as_u64().saturating_sub(grant.granted_at.as_micros()));
        out.since(ended_at, grant.granted_at);
        out.byte(ending.0);
        write_run(&mut out, grant.renewals, grant.checkpoints, first_seen_at);
        out.text(holder.filter(|_| !is_same));
        former_holder = holder;
    }
    bytes.into()
}

/// Returns the beginning of a label that is kept for earlier grants.
fn shortened(label: &str) -> &str {
    label.get(..label.floor_char_boundary(MAX_LABEL)).unwrap_or_default()
}

/// Returns the earlier grants. Ends after the first error. Allocates nothing.
pub(crate) fn grants(
    past: &[u8],
    first_seen_at: Timestamp,
) -> impl Iterator<Item = Result<GrantHistory<'_>, DecodeError>> {
    let mut input = Reader::new(past);
    let mut holder = None;
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over || input.is_at_end() {
            return None;
        }
        let grant = read_grant(&mut input, holder, first_seen_at);
        match &grant {
            Ok(grant) => holder = grant.holder,
            Err(_) => is_over = true,
        }
        Some(grant)
    })
}

fn read_grant<'b>(
    input: &mut Reader<'b>,
    former_holder: Option<&'b str>,
    first_seen_at: Timestamp,
) -> Result<GrantHistory<'b>, DecodeError> {
    let flags = input.byte()?;
    let attempt = read_count(input)?;
    let granted_at = input.after(first_seen_at)?;
    let token = input.varint()?.checked_add(granted_at.as_micros()).and_then(Token::from_u64);
    let token = token.ok_or(input.damaged("token out of range"))?;
    let ended_at = input.after(granted_at)?;
    let ending = Ending::of_former(input.byte()?).ok_or(input.damaged("unknown end of a grant"))?;
    let (renewals, checkpoints) = read_run(input, flags, first_seen_at)?;
    let holder = match flags & !(RENEWALS | CHECKPOINTS) {
        0 => None,
        HOLDER => Some(input.text_of(MAX_LABEL)?),
        SAME_HOLDER if former_holder.is_some() => former_holder,
        _ => return Err(input.damaged("unknown flags of a grant")),
    };
    let (lapse, outcome) = (None, None);
    let grant = GrantHistory { attempt, token, granted_at, holder, renewals, checkpoints, lapse, outcome };
    Ok(grant.ended(ending, ended_at))
}
