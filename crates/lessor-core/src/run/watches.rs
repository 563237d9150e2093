//! Who wants to know what becomes of a key: those who wait for it, and those who hold it.

use std::sync::Arc;

use crate::data::key::Key;
use crate::data::record::{Record, Stage};
use crate::data::time::Timestamp;
use crate::rules::settings::Settings;
use crate::run::background::Background;
use crate::run::clock::EngineClock;
use crate::run::holders::Holders;
use crate::run::wait::Waiting;
use crate::store::contract::Store;

#[derive(Debug)]
pub(crate) struct Watches {
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) holders: Arc<Holders>,
}

impl Watches {
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        clock: &Arc<EngineClock>,
        background: &Background,
        settings: &Settings,
    ) -> Self {
        let holders = Arc::new(Holders::default());
        let waiting = Waiting::new(
            Arc::clone(store),
            Arc::clone(clock),
            background.readers.spawner(),
            background.notifier.clone(),
            settings.poll_every,
            Arc::clone(&holders),
        );
        Self { waiting: Arc::new(waiting), holders }
    }

    /// Notifies holders and waiters of what this engine has just written.
    #[inline]
    pub(crate) fn written(&self, key: &Key, record: &Record, now: Timestamp) {
        let now = record.body().not_before(now);
        self.holders.observe(key, Some(record), now);
        // A new or longer lease is nothing that anybody waits for.
        if record.stage() != Stage::InProgress || !record.body().is_live(now) {
            self.waiting.written(key);
        }
    }

    /// Returns whether a caller may wait for `key` or watch a lease of it.
    #[inline]
    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.waiting.may_have(key) || self.holders.may_have(key)
    }

    /// Another party may have changed the record under `key`.
    pub(crate) fn hint(&self, key: &Key) {
        self.holders.hint(key);
        self.waiting.hint(key);
    }

    /// Another party may have changed any record, or the store's clock made a step.
    pub(crate) fn hint_all(&self) {
        self.holders.hint_all();
        self.waiting.hint_all();
    }
}
