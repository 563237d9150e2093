//! A gate that blocks calls of a simulated disk.

use std::sync::Arc;

use lessor_simdisk::{Call, CallKind, SimDisk};
use parking_lot::{Condvar, Mutex};

/// A gate before one kind of call on one file. It is open at first.
#[derive(Default)]
pub(crate) struct Gate {
    /// True if it is closed, and the number of calls that wait.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn before(disk: &SimDisk, kind: CallKind, file: &'static str) -> Arc<Self> {
        let gate = Arc::new(Self::default());
        let maintenance = Arc::clone(&gate);
        disk.on_call(Some(Arc::new(move |call: Call| {
            if call.kind == kind && call.file == file {
                maintenance.pass();
            }
        })));
        gate
    }

    pub(crate) fn shut(&self) {
        self.state.lock().0 = true;
    }

    pub(crate) fn open(&self) {
        self.state.lock().0 = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.1 += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |(shut, _)| *shut);
        state.1 -= 1;
    }

    /// Blocks until a call waits.
    pub(crate) fn wait_for_one(&self) {
        self.changed.wait_while(&mut self.state.lock(), |(_, waiting)| *waiting == 0);
    }
}
