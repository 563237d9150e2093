//! The parts of a record that a grant determines.

use std::sync::Arc;

use crate::data::inline::Inline;
use crate::data::lease_id::LeaseId;
use crate::data::record::{Attributes, Body, GrantEnd, PreviousGrant, Record};
use crate::data::time::Timestamp;
use crate::data::token::{Token, Version};
use crate::data::trace::{FormerPart, Trace};

/// The data that a holder keeps about its grant: a record in progress without its lease id and
/// result.
#[derive(Clone)]
pub(crate) struct Granted {
    pub(crate) token: Token,
    pub(crate) expires_at: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) version: Version,
    pub(crate) first_seen_at: Timestamp,
    acquired_at: Timestamp,
    pub(crate) previous_end: Option<GrantEnd>,
    keep_until: Timestamp,
    attributes: Option<Arc<Attributes>>,
    /// The former grant in the trace.
    former: FormerPart,
    /// True if the record is that of the grant, without later renewals or checkpoints.
    is_as_granted: bool,
}

impl Granted {
    /// Returns the data of a grant that has just been made.
    #[inline]
    pub(crate) fn of(body: &Body) -> Self {
        let mut former = FormerPart::default();
        if let Some(trace) = body.inline.trace() {
            former = trace.former_part();
        }
        Self {
            token: body.token(),
            expires_at: body.expires_at,
            attempt: body.attempt,
            version: body.version,
            first_seen_at: body.first_seen_at,
            acquired_at: body.acquired_at,
            previous_end: body.previous_end,
            keep_until: body.keep_until,
            attributes: body.attributes.clone(),
            former,
            is_as_granted: true,
        }
    }

    /// Returns the data of a grant whose holder may have changed the record since.
    pub(crate) fn of_earlier(body: &Body) -> Self {
        let is_as_granted = body.inline.trace().is_none_or(Trace::is_only_former);
        Self { is_as_granted, ..Self::of(body) }
    }

    /// Returns whether [`record`](Self::record) returns the record that this was made of. False if
    /// the holder has changed the record since the grant.
    pub(crate) fn is_as_granted(&self) -> bool {
        self.is_as_granted
    }

    pub(crate) fn attributes(&self) -> Option<&Attributes> {
        self.attributes.as_deref()
    }

    pub(crate) fn previous_grant(&self) -> Option<PreviousGrant<'_>> {
        let holder = self.attributes().and_then(|attributes| attributes.previous_holder.as_deref());
        self.previous_end.map(|ended| PreviousGrant { ended, holder })
    }

    /// Returns the record in progress.
    pub(crate) fn record(&self, lease_id: LeaseId) -> Record {
        let mut body = Body {
            version: self.version,
            expires_at: self.expires_at,
            keep_until: self.keep_until,
            previous_end: self.previous_end,
            attributes: self.attributes.clone(),
            ..Body::in_progress(lease_id, self.first_seen_at, self.attempt)
        };
        body.set_grant(self.acquired_at, self.token);
        if let Some(trace) = Trace::of_former_part(self.former) {
            body.inline = Inline::trace_of(trace);
        }
        Record::new(body)
    }
}
