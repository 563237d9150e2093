//! Invalidation messages: the server reports changes to records that were read, and the engines
//! that share the store wake their waiters.

use std::sync::atomic::{AtomicBool, Ordering};

use lessor_core::Key;
use lessor_core::store::ChangeNotifier;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};

use crate::config::prefix::Prefix;

#[derive(Debug)]
pub(crate) struct Subscribers {
    prefix: Prefix,
    engines: Mutex<Vec<ChangeNotifier>>,
    /// True if there is more than one engine.
    is_shared: AtomicBool,
}

impl Subscribers {
    pub(crate) fn new(prefix: Prefix) -> Self {
        Self { prefix, engines: Mutex::default(), is_shared: AtomicBool::new(false) }
    }

    pub(crate) fn add(&self, engine: ChangeNotifier) {
        let mut engines = self.engines.lock();
        engines.retain(|engine| !engine.is_stale());
        engines.push(engine);
        self.is_shared.store(engines.len() > 1, Ordering::Release);
    }

    /// Notifies the engines of a change that one of them has made, without waiting for the server's
    /// message, which may not come at all.
    pub(crate) fn on_write(&self, key: &Key) {
        if self.is_shared.load(Ordering::Acquire) {
            self.changed(key);
        }
    }

    fn changed(&self, key: &Key) {
        let engines = self.engines.lock().clone();
        engines.iter().for_each(|engine| engine.key_changed(key));
    }

    /// Handles a push message. An `invalidate` message carries the names of the changed keys, or
    /// null if all keys were flushed.
    pub(crate) fn on_push(&self, push: &PushInfo) {
        if push.kind != PushKind::Invalidate {
            return;
        }
        match push.data.first() {
            Some(Value::Array(names)) => names.iter().for_each(|name| {
                if let Value::BulkString(name) = name
                    && let Some(key) = self.prefix.key(name)
                {
                    self.changed(&key);
                }
            }),
            _ => self.all_changed(),
        }
    }

    /// Notifies the engines that any record may have changed.
    pub(crate) fn all_changed(&self) {
        let engines = self.engines.lock().clone();
        engines.iter().for_each(ChangeNotifier::all_changed);
    }
}
