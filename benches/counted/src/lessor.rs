//! lessor in memory, through its public face.

use std::sync::Arc;

use lessor_core::{Acquisition, Engine, Settings};
use lessor_memory::MemoryStore;

use crate::{Guard, Receipt, TTL, Told};

pub struct Lessor(Engine);

impl Default for Lessor {
    fn default() -> Self {
        let mut settings = Settings::default();
        settings.default_ttl = TTL;
        Self(Engine::with_settings(Arc::new(MemoryStore::new()), settings).expect("the settings are valid"))
    }
}

impl Guard for Lessor {
    fn name(&self) -> &'static str {
        "lessor"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Told {
        match self.0.acquire(key).wait().expect("acquire") {
            Acquisition::Acquired(lease) => {
                lease.complete(receipt).wait().expect("complete");
                Told::Done
            }
            Acquisition::InProgress(view) => Told::Refused(view.ttl_left().unwrap_or_default()),
            Acquisition::Completed(view) => Told::Replayed(view.result().expect("a receipt")),
            other => panic!("{other:?}"),
        }
    }

    fn hold(&self, key: &str) {
        match self.0.acquire(key).wait().expect("acquire") {
            Acquisition::Acquired(lease) => std::mem::forget(lease),
            other => panic!("{other:?}"),
        }
    }
}
