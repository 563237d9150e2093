//! The changes of a record's history. They are part of the changes that they tell of.

use crate::data::history::GrantHistory;
use crate::data::inline::Inline;
use crate::data::past::{encode_grants, grants};
use crate::data::record::{Body, GrantEnd};
use crate::data::time::Timestamp;
use crate::data::trace::{Ending, Former, Trace};

/// The maximum number of entries of the last grant: granted, renewed, checkpointed, abandoned, and
/// an outcome.
const OF_LAST: u8 = 5;
/// The number of entries of the former grant in a trace.
const OF_FORMER: u8 = 2;

/// Moves the last grant to the past, before the record gets the next one.
#[inline]
pub(super) fn on_grant(body: &mut Body, ended: GrantEnd, most: u8) {
    let known = match body.inline.trace() {
        None => Some(Ending::NONE),
        Some(trace) => trace.only_ending(body.attempt),
    };
    // The common takeover needs no allocation.
    if let (Some(known), Some(lead), true) = (known, body.near_token_lead(), most >= OF_LAST + OF_FORMER) {
        let (ending, ended_at) = end(body, ended, known);
        let (attempt, granted_at) = (body.attempt, body.acquired_at);
        let former = Former { attempt, granted_at, lead, ended_at, ending };
        body.inline.trace_mut().become_former(former);
    } else {
        fold(body, ended, most);
    }
}

/// Returns how the last grant has ended, and when. `known` is what the stage does not say.
#[inline]
fn end(body: &Body, ended: GrantEnd, known: Ending) -> (Ending, Timestamp) {
    match ended {
        GrantEnd::Lapsed if body.is_in_doubt() => (Ending::IN_DOUBT, body.expires_at),
        GrantEnd::Lapsed if known.how() == Ending::ABANDONED => (Ending::ABANDONED, body.expires_at),
        GrantEnd::Lapsed => (Ending::LAPSED, body.expires_at),
        GrantEnd::Released => (Ending::RELEASED.and(known.by()), body.done_at),
        GrantEnd::Failed => (Ending::FAILED.and(known.by()), body.done_at),
    }
}

/// Moves the last and the former grant to the earlier ones, and drops the oldest if there are too
/// many.
#[cold]
fn fold(body: &mut Body, ended: GrantEnd, most: u8) {
    let first_seen_at = body.first_seen_at;
    let attributes = body.attributes();
    let trace = body.inline.trace().copied().unwrap_or(Trace::EMPTY);
    let mut earlier: Vec<GrantHistory<'_>> =
        grants(body.past(), first_seen_at).filter_map(Result::ok).collect();
    if let Some(former) = trace.former() {
        let holder = attributes.previous_holder.as_deref().filter(|_| former.precedes(body.attempt));
        earlier.extend(former.history(holder));
    }
    let is_known = trace.attempt() == body.attempt;
    let known = if is_known { trace.ending() } else { Ending::NONE };
    let (ending, ended_at) = end(body, ended, known);
    let last = GrantHistory {
        attempt: body.attempt,
        token: body.token(),
        granted_at: body.acquired_at,
        holder: attributes.holder.as_deref(),
        renewals: trace.renewals().filter(|_| is_known),
        checkpoints: trace.checkpoints().filter(|_| is_known),
        lapse: None,
        outcome: None,
    };
    earlier.push(last.ended(ending, ended_at));
    let most = usize::from(most.saturating_sub(OF_LAST + OF_FORMER));
    let mut count = 0;
    let fits = |grant: &&GrantHistory<'_>| {
        count += grant.len();
        count <= most
    };
    let kept = earlier.iter().rev().take_while(fits).count();
    let past = encode_grants(earlier.get(earlier.len() - kept..).unwrap_or_default(), first_seen_at);
    body.inline = Inline::none();
    body.set_history(None, past);
}

/// Keeps the trace beside a result, which takes its place in the record.
#[cold]
pub(super) fn keep_beside_a_result(body: &mut Body, trace: Trace) {
    let past = body.past().into();
    body.set_history(Some(trace), past);
}
