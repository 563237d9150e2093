//! The arguments of requests for leases.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::data::error::Error;
use crate::data::fingerprint::Fingerprint;
use crate::data::lease_id::LeaseId;
use crate::data::time::whole_micros;
use crate::rules::policies::{OnFailed, OnLapsed};
use crate::rules::settings::{Limits, check_holder};
use crate::rules::{Acquire, AcquireOptions};

/// The arguments of a request for a lease, without its key.
///
/// All fields have the size of a word, because a read that is wider than the preceding write is
/// slow.
#[derive(Clone)]
pub(super) struct Terms {
    /// In µs.
    ttl: u64,
    /// The lease id, if the caller chose one, so that the request can be sent again.
    lease_id: Option<Box<LeaseId>>,
    options: Option<Arc<AcquireOptions>>,
    /// The error of the first invalid argument.
    refused: Option<Box<Error>>,
}

/// The placeholder for a lease id that is not generated yet. No grant is made with it.
const NO_LEASE: LeaseId = LeaseId::from_bytes([0; 16]);

impl Terms {
    #[inline]
    pub(super) fn new(limits: &Limits) -> Self {
        Self { ttl: whole_micros(limits.default_ttl), lease_id: None, options: None, refused: None }
    }

    #[inline]
    pub(super) fn ttl(&mut self, limits: &Limits, ttl: Duration) {
        match limits.check_ttl(ttl) {
            Ok(ttl) => self.ttl = whole_micros(ttl),
            Err(error) => self.refuse(error),
        }
    }

    pub(super) fn holder(&mut self, holder: &str) {
        self.set(check_holder(holder), |options, holder| options.holder = Some(holder));
    }

    pub(super) fn metadata<T: Serialize + ?Sized>(&mut self, limits: &Limits, metadata: &T) {
        self.set(limits.check_metadata(metadata), |options, metadata| options.metadata = Some(metadata));
    }

    pub(super) fn metadata_json(&mut self, limits: &Limits, json: &str) {
        self.set(limits.check_metadata_json(json), |options, metadata| options.metadata = Some(metadata));
    }

    pub(super) fn fingerprint(&mut self, fingerprint: Result<Fingerprint, Error>) {
        self.set(fingerprint, |options, fingerprint| options.fingerprint = Some(fingerprint));
    }

    pub(super) fn on_failed(&mut self, policy: OnFailed) {
        self.set(policy.check(), |options, policy| options.on_failed = policy);
    }

    pub(super) fn on_lapsed(&mut self, policy: OnLapsed) {
        self.set(Ok(policy), |options, policy| options.on_lapsed = policy);
    }

    /// Keeps the error of the first invalid argument.
    #[cold]
    pub(super) fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert_with(|| Box::new(error));
    }

    /// Returns the error of the first invalid argument, if there is one.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        self.refused.as_deref().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(super) fn lease_id(&mut self, lease_id: LeaseId) {
        self.lease_id = Some(Box::new(lease_id));
    }

    /// Returns whether the caller chose the lease id.
    #[inline]
    pub(super) fn has_lease_id(&self) -> bool {
        self.lease_id.is_some()
    }

    /// Returns the policy for work that failed before.
    pub(super) fn policy_on_failed(&self) -> OnFailed {
        self.options.as_deref().map_or_else(OnFailed::default, |options| options.on_failed)
    }

    fn set<T>(&mut self, checked: Result<T, Error>, set: impl FnOnce(&mut AcquireOptions, T)) {
        match checked {
            Ok(value) => set(Arc::make_mut(self.options.get_or_insert_default()), value),
            Err(error) => self.refuse(error),
        }
    }

    /// Returns the request without its key. The lease id is generated later.
    #[inline]
    pub(super) fn acquire(&self) -> Acquire {
        let lease_id = self.lease_id.as_deref().copied().unwrap_or(NO_LEASE);
        Acquire::with_options(lease_id, Duration::from_micros(self.ttl), self.options.clone())
    }
}
