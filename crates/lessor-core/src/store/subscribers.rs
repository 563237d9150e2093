//! The list of the engines over a store.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::data::key::Key;
use crate::store::notifier::ChangeNotifier;

/// The engines over a store. Each engine is notified of changes by other parties.
#[derive(Debug, Default)]
pub struct Subscribers {
    engines: Mutex<Vec<ChangeNotifier>>,
    are_several: AtomicBool,
}

impl Subscribers {
    /// Adds an engine, and removes engines that have been dropped.
    pub fn add(&self, engine: ChangeNotifier) {
        let mut engines = self.engines.lock();
        engines.retain(|engine| !engine.is_stale());
        engines.push(engine);
        self.are_several.store(engines.len() > 1, Ordering::Release);
    }

    fn all(&self) -> Vec<ChangeNotifier> {
        self.engines.lock().clone()
    }

    /// Notifies the engines that one of them has changed the record under `key`. A single engine is
    /// not notified, because it made the change itself.
    #[inline]
    pub fn notify_others(&self, key: &Key) {
        if self.are_several() {
            self.notify(key);
        }
    }

    /// Returns whether there is more than one engine.
    #[inline]
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.are_several.load(Ordering::Acquire)
    }

    /// Notifies all engines that another party has changed the record under `key`.
    #[cold]
    pub fn notify(&self, key: &Key) {
        self.all().iter().for_each(|engine| engine.key_changed(key));
    }

    /// Notifies all engines that any record may have changed.
    pub fn notify_all(&self) {
        self.all().iter().for_each(ChangeNotifier::all_changed);
    }
}
