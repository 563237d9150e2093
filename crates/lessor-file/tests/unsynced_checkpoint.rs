//! The story: with `SyncMode::Process`, a compaction put records into the checkpoint that were written meanwhile and that
//! the log had not synced yet. After a power loss the log had fewer frames than the checkpoint knew of, and gave their
//! numbers a second time. Whoever read such a record waited for ever for its frame to be synced, or, after
//! another opening, found the checkpoint's old record in the place of a newer one that had been acknowledged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/small.rs"]
mod small;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lessor_core::{Acquisition, Engine, LeaseId};
use lessor_file::{FileStore, SyncMode};
use lessor_simdisk::{CallKind, SimDisk};
use lessor_testkit::ManualClock;
use small::{open, settings};

fn acquire(engine: &Engine, key: &str) -> LeaseId {
    let Acquisition::Acquired(lease) = engine.acquire(key).wait().unwrap() else { panic!("{key}") };
    let lease_id = *lease.lease_id();
    std::mem::forget(lease);
    lease_id
}

#[test]
fn p9_a_checkpoint_is_never_ahead_of_the_log() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new());
    let mut lazy = settings();
    lazy.sync = SyncMode::Process;
    lazy.sync_every = Duration::from_secs(3600);
    // With room for what is written while the thread that makes room is held up.
    lazy.first_segment = 16 << 10;
    lazy.max_segment = 16 << 10;
    let opener = FileStore::builder().settings(lazy).clock(Arc::new(clock.clone()));
    let store = Arc::new(opener.open_on(Arc::new(disk.clone())).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    let lease_id = acquire(&engine, "job");

    // While the checkpoint is being written, others write, and then the job's holder.
    let done = AtomicBool::new(false);
    let busy = engine.clone();
    disk.on_call(Some(Arc::new(move |call| {
        let is_begin = call.kind == CallKind::Create && call.file.starts_with("checkpoint-");
        if is_begin && !done.swap(true, Ordering::SeqCst) {
            for other in ["a", "b", "c"] {
                acquire(&busy, other);
            }
            busy.held("job", lease_id).unwrap().checkpoint("half-way").wait().unwrap();
        }
    })));
    store.compact().unwrap();
    disk.on_call(None);

    // All that was not synced is lost.
    let left = disk.crash().image_lost();
    store.close().unwrap();
    let again = open(&left, &clock);
    let engine = Engine::new(again.clone()).unwrap();
    engine.held("job", lease_id).unwrap().complete("done").wait().unwrap();
    again.close().unwrap();

    let again = open(&left, &clock);
    let engine = Engine::new(again.clone()).unwrap();
    let view = engine.result("job").wait().unwrap().expect("the result was acknowledged");
    assert_eq!(view.result::<String>().unwrap(), "done");
    again.close().unwrap();
}
