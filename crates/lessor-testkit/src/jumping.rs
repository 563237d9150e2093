//! A store for which time passes between a decision and its write.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::{CasResult, ConditionalWrite, Execution, Operation, Reply};
use lessor_core::{Key, Store};
use parking_lot::Mutex;

use crate::clock::ManualClock;
use crate::faulty::Level;
use crate::layer::{Layer, Layered};
use crate::retrying::{Retrying, SwapLayer, swap};

/// Controls a store for which time passes before writes. Clones share the state.
#[derive(Clone, Debug)]
pub struct Jumps {
    clock: ManualClock,
    jumps: Arc<Mutex<VecDeque<Duration>>>,
}

impl Jumps {
    /// Returns a store over `inner`, whose clock is `clock`, and its control.
    ///
    /// At [`Level::Operations`], time passes before `inner` executes an operation. At
    /// [`Level::Swaps`], time passes between a decision of the retry loop and its swap.
    #[must_use]
    pub fn over(inner: Arc<dyn Store>, clock: ManualClock, level: Level) -> (Arc<dyn Store>, Self) {
        let jumps = Self { clock, jumps: Arc::default() };
        let theirs = jumps.clone();
        let store: Arc<dyn Store> = match level {
            Level::Operations => Arc::new(Layered(Jumping { inner, jumps: theirs })),
            Level::Swaps => Arc::new(Retrying::over(JumpingSwaps { inner, jumps: theirs })),
        };
        (store, jumps)
    }

    /// Sets the times that pass before the next writes, in this order.
    pub fn jump(&self, by: impl IntoIterator<Item = Duration>) {
        self.jumps.lock().extend(by);
    }

    fn pass(&self) {
        let jump = self.jumps.lock().pop_front();
        if let Some(by) = jump {
            self.clock.advance(by);
        }
    }
}

struct JumpingSwaps {
    inner: Arc<dyn Store>,
    jumps: Jumps,
}

impl SwapLayer for JumpingSwaps {
    fn below(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        self.jumps.pass();
        swap(&*self.inner, key, change)
    }
}

struct Jumping {
    inner: Arc<dyn Store>,
    jumps: Jumps,
}

impl Layer for Jumping {
    fn below(&self) -> &dyn Store {
        &*self.inner
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        self.jumps.pass();
        self.inner.execute(operation)
    }
}
