//! Tracks the work that runs on each thread, so that work cannot wait for itself.

use std::cell::RefCell;
use std::sync::Arc;

use crate::api::lease::handle::LeaseHandle;
use crate::data::error::Error;
use crate::store::contract::Store;

thread_local! {
    /// The leases whose work is running on this thread, the innermost last.
    static WORKING: RefCell<Vec<LeaseHandle>> = const { RefCell::new(Vec::new()) };
}

/// Marks the thread as running a piece of work, until it is dropped.
pub(crate) struct Working {
    /// False on a thread that is being torn down.
    is_listed: bool,
}

impl Working {
    pub(crate) fn on(held: LeaseHandle) -> Self {
        Self { is_listed: WORKING.try_with(|working| working.borrow_mut().push(held)).is_ok() }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if self.is_listed {
            // Dropped after the borrow has ended, because dropping a lease may run a store's code.
            drop(WORKING.try_with(|working| working.borrow_mut().pop()));
        }
    }
}

/// Refuses a wait for `key` from within its own work, which would never end.
pub(crate) fn refuse_own_work(store: &Arc<dyn Store>, key: &str) -> Result<(), Error> {
    let is_own = WORKING.try_with(|working| working.borrow().iter().any(|held| held.holds(store, key)));
    if is_own.unwrap_or(false) {
        let reason = "the call comes from within the work of the same key, and would wait for itself; \
                      complete, fail or release the lease first, or use another key";
        return Err(Error::invalid("key", reason));
    }
    Ok(())
}
