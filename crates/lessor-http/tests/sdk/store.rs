//! [`Failing`], a store whose next operations fail with a given error.

use std::sync::Arc;

use lessor_core::store::{Execution, Operation, Reply, Snapshot};
use lessor_core::{Key, Pending, Store, StoreError};
use lessor_testkit::Layer;
use parking_lot::Mutex;

/// The error of the next operations, and their number.
pub(crate) type Failures = Arc<Mutex<(u32, String)>>;

pub(crate) struct Failing {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) failures: Failures,
}

impl Failing {
    fn fails(&self) -> Option<StoreError> {
        let mut failures = self.failures.lock();
        failures.0 = failures.0.checked_sub(1)?;
        Some(match failures.1.as_str() {
            "unavailable" => StoreError::unavailable("injected"),
            "indeterminate" => StoreError::indeterminate("injected"),
            "corrupt" => StoreError::corrupt("a record", "injected"),
            "incompatible" => StoreError::incompatible("injected"),
            "full" => StoreError::full("injected"),
            other => panic!("no error is named {other:?}"),
        })
    }
}

impl Layer for Failing {
    fn below(&self) -> &dyn Store {
        &*self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.fails().map_or_else(|| self.inner.load(key), |error| Pending::ready(Err(error)))
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        match self.fails() {
            Some(error) => Execution::Later(Pending::ready(Err(error))),
            None => self.inner.execute(operation),
        }
    }
}
