//! A store that stays open when an engine over it is closed, so that a promise can look at what the closing left.

use std::sync::Arc;

use lessor_core::store::{Change, Closing, Hints, Page, Purged, Reply, Scan, Seen, Spot, Swap};
use lessor_core::{Durability, Key, Pending, Record, Store, Timestamp};

#[derive(Debug)]
pub(crate) struct StaysOpen(Arc<dyn Store>);

impl StaysOpen {
    pub(crate) fn over(store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self(store))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for StaysOpen {
    fn now(&self) -> Reply<Timestamp> {
        self.0.now()
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        self.0.load(key)
    }

    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        self.0.swap(key, change)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.0.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.0.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.0.durability()
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }

    fn glance(&self, key: &str, look: &mut dyn FnMut(Option<(&Record, Timestamp)>)) -> bool {
        self.0.glance(key, look)
    }

    fn edit(&self, key: &Key, edit: &mut dyn FnMut(&mut Spot<'_>)) -> bool {
        self.0.edit(key, edit)
    }

    fn attach(&self, hints: Hints) {
        self.0.attach(hints);
    }
}
