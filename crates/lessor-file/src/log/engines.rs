//! The engines over a store.

use std::sync::atomic::{AtomicBool, Ordering};

use lessor_core::Key;
use lessor_core::store::Hints;
use parking_lot::Mutex;

/// The engines over a store. A change by one of them is reported to the others.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    all: Mutex<Vec<Hints>>,
    are_several: AtomicBool,
}

impl Engines {
    pub(crate) fn attach(&self, hints: Hints) {
        let mut all = self.all.lock();
        all.retain(|engine| !engine.is_stale());
        all.push(hints);
        self.are_several.store(all.len() > 1, Ordering::Release);
    }

    pub(crate) fn are_several(&self) -> bool {
        self.are_several.load(Ordering::Acquire)
    }

    pub(crate) fn changed(&self, key: &Key) {
        let all = self.all.lock().clone();
        all.iter().for_each(|engine| engine.changed(key));
    }
}
