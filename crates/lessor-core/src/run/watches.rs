//! The parties that are interested in changes of a key: its waiters and its holders.

use std::sync::Arc;

use crate::data::key::Key;
use crate::data::record::Record;
use crate::data::time::Timestamp;
use crate::rules::settings::Schedule;
use crate::run::background::Background;
use crate::run::clock::EngineClock;
use crate::run::holders::Holders;
use crate::run::observer::Observer;
use crate::run::wait::Waiters;
use crate::store::contract::Store;

/// The waiters and the watched leases of an engine.
#[derive(Debug)]
pub(crate) struct Watches {
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) holders: Arc<Holders>,
}

impl Watches {
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        clock: &Arc<EngineClock>,
        background: &Background,
        schedule: &Schedule,
        observer: &Arc<Observer>,
    ) -> Self {
        let holders = Arc::new(Holders::default());
        let waiters = Waiters::new(
            Arc::clone(store),
            Arc::clone(clock),
            background.readers.spawner(),
            background.notifier.clone(),
            schedule.poll_every,
            Arc::clone(&holders),
            Arc::clone(observer),
        );
        Self { waiters: Arc::new(waiters), holders }
    }

    /// Notifies holders and waiters of a record that this engine has written.
    #[inline]
    pub(crate) fn written(&self, key: &Key, record: &Record, now: Timestamp) {
        let now = record.body().not_before(now);
        self.holders.observe(key, Some(record), now);
        self.waiters.written(key, record.body().is_live(now));
    }

    /// Returns whether `key` may have a waiter or a watched lease.
    #[inline]
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.waiters.may_have(key) || self.holders.may_have(key)
    }

    /// Schedules a reading of the record under `key`, which another party may have changed.
    pub(crate) fn hint(&self, key: &Key) {
        self.holders.hint(key);
        self.waiters.hint(key);
    }

    /// Schedules readings of all watched records, because another party may have changed any of
    /// them or the store's clock has been set.
    pub(crate) fn hint_all(&self) {
        self.holders.hint_all();
        self.waiters.hint_all();
    }
}
