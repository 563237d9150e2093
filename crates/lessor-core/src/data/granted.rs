//! The parts of a record that a grant determines.

use std::sync::Arc;

use crate::data::lease_id::LeaseId;
use crate::data::payload::ShortResult;
use crate::data::record::{Attributes, Body, Record, Stage, Token, Version};
use crate::data::time::Timestamp;

/// A record in progress without its lease id and the place of its result: what a holder keeps of its grant.
#[derive(Clone)]
pub(crate) struct Granted {
    pub(crate) token: Token,
    pub(crate) expires_at: Timestamp,
    pub(crate) attempt: u32,
    version: Version,
    acquired_at: Timestamp,
    keep_until: Timestamp,
    attributes: Option<Arc<Attributes>>,
}

impl Granted {
    #[inline]
    pub(crate) fn of(body: &Body) -> Self {
        Self {
            token: body.token,
            expires_at: body.expires_at,
            attempt: body.attempt,
            version: body.version,
            acquired_at: body.acquired_at,
            keep_until: body.keep_until,
            attributes: body.attributes.clone(),
        }
    }

    pub(crate) fn attributes(&self) -> Option<&Attributes> {
        self.attributes.as_deref()
    }

    /// Returns the record.
    pub(crate) fn record(&self, lease_id: LeaseId) -> Record {
        Record::new(Body {
            lease_id,
            token: self.token,
            version: self.version,
            acquired_at: self.acquired_at,
            expires_at: self.expires_at,
            done_at: Timestamp::EPOCH,
            keep_until: self.keep_until,
            attempt: self.attempt,
            stage: Stage::InProgress,
            short_result: ShortResult::none(),
            attributes: self.attributes.clone(),
        })
    }
}
