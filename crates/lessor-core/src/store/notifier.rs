//! The notifications that a store sends to the engines over it.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::data::key::Key;

/// Receives a store's notifications of changes by another party.
pub(crate) trait Listener: Send + Sync {
    fn key_changed(&self, key: &Key);
    fn all_changed(&self);
}

/// Notifies one engine of changes by another party. The engine then wakes waiters and holders.
///
/// Cheap to clone. Does not keep the engine alive.
#[derive(Clone)]
pub struct ChangeNotifier(Weak<dyn Listener>);

impl ChangeNotifier {
    pub(crate) fn new<L: Listener + 'static>(listener: &Arc<L>) -> Self {
        let listener: Weak<L> = Arc::downgrade(listener);
        Self(listener)
    }

    /// Reports that another party may have changed the record under `key`.
    pub fn key_changed(&self, key: &Key) {
        if let Some(listener) = self.0.upgrade() {
            listener.key_changed(key);
        }
    }

    /// Reports that any record may have changed, or that the store's clock has been set.
    pub fn all_changed(&self) {
        if let Some(listener) = self.0.upgrade() {
            listener.all_changed();
        }
    }

    /// Returns whether the engine has been dropped. The notifier can then be removed.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for ChangeNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChangeNotifier")
    }
}
