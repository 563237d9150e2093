//! Invalidation messages: the server reports changes to records that were read, and the engines
//! that share the store wake their waiters.

use std::sync::Arc;

use lessor_core::store::Subscribers;
use redis::{PushInfo, PushKind, Value};

use crate::config::prefix::Prefix;

#[derive(Debug)]
pub(crate) struct Invalidation {
    prefix: Prefix,
    pub(crate) engines: Arc<Subscribers>,
}

impl Invalidation {
    pub(crate) fn new(prefix: Prefix) -> Self {
        Self { prefix, engines: Arc::default() }
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
                    self.engines.notify(&key);
                }
            }),
            _ => self.engines.notify_all(),
        }
    }
}
