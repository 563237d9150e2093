//! A store that stays open when its engine is closed, so that a promise can examine the result of
//! the closing.

use std::sync::Arc;

use lessor_core::store::{Closing, Reply};
use lessor_core::{Pending, Store};

use crate::layer::{Layer, Layered};

pub(crate) struct StaysOpen(Arc<dyn Store>);

impl StaysOpen {
    pub(crate) fn over(store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Layered(Self(store)))
    }
}

impl Layer for StaysOpen {
    fn below(&self) -> &dyn Store {
        &*self.0
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }
}
