//! Waiters are woken when the server says that something changed that was loaded here.

use std::sync::atomic::{AtomicBool, Ordering};

use lessor_core::Key;
use lessor_core::store::Hints;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};

use crate::names::Prefix;

#[derive(Debug)]
pub(crate) struct Listeners {
    prefix: Prefix,
    engines: Mutex<Vec<Hints>>,
    /// Whether there is more than one engine.
    is_shared: AtomicBool,
}

impl Listeners {
    pub(crate) fn new(prefix: Prefix) -> Self {
        Self { prefix, engines: Mutex::default(), is_shared: AtomicBool::new(false) }
    }

    pub(crate) fn add(&self, engine: Hints) {
        let mut engines = self.engines.lock();
        engines.retain(|engine| !engine.is_stale());
        engines.push(engine);
        self.is_shared.store(engines.len() > 1, Ordering::Release);
    }

    /// One of the engines has changed a record. The others need not wait until the server says so, or look by themselves if it does not.
    pub(crate) fn wrote(&self, key: &Key) {
        if self.is_shared.load(Ordering::Acquire) {
            self.changed(key);
        }
    }

    fn changed(&self, key: &Key) {
        let engines = self.engines.lock().clone();
        engines.iter().for_each(|engine| engine.changed(key));
    }

    /// What the server says without being asked: `invalidate`, with the names of what changed, or nothing for everything.
    pub(crate) fn hear(&self, said: &PushInfo) {
        if said.kind != PushKind::Invalidate {
            return;
        }
        match said.data.first() {
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

    /// Anything may have changed.
    pub(crate) fn all_changed(&self) {
        let engines = self.engines.lock().clone();
        engines.iter().for_each(Hints::clock_moved);
    }
}
