//! History: with `SyncMode::Process`, a compaction copied records that were written meanwhile to
//! the checkpoint, although the log had not synced them. After a power loss the log had fewer
//! frames than the checkpoint covered, and reused their numbers. A reader of such a record waited
//! for ever for its frame to be synced. After another opening, the old record of the checkpoint
//! replaced a newer, acknowledged one.
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
    // The segment has space for the writes while the maintenance thread is stopped.
    lazy.first_segment = 16 << 10;
    lazy.max_segment = 16 << 10;
    let builder = FileStore::builder().settings(lazy).clock(Arc::new(clock.clone()));
    let store = Arc::new(builder.open_on(Arc::new(disk.clone())).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    let lease_id = acquire(&engine, "job");

    // While the checkpoint is written, other callers write, and then the holder of the job.
    let done = AtomicBool::new(false);
    let busy = engine.clone();
    disk.on_call(Some(Arc::new(move |call| {
        let is_begin = call.kind == CallKind::Create && call.file.starts_with("checkpoint-");
        if is_begin && !done.swap(true, Ordering::SeqCst) {
            for other in ["a", "b", "c"] {
                acquire(&busy, other);
            }
            busy.lease_handle("job", lease_id).unwrap().checkpoint("half-way").wait().unwrap();
        }
    })));
    store.compact().unwrap();
    disk.on_call(None);

    // All unsynced data is lost.
    let left = disk.crash().image_lost();
    store.close().unwrap();
    let again = open(&left, &clock);
    let engine = Engine::new(again.clone()).unwrap();
    engine.lease_handle("job", lease_id).unwrap().complete("done").wait().unwrap();
    again.close().unwrap();

    let again = open(&left, &clock);
    let engine = Engine::new(again.clone()).unwrap();
    let view = engine.result("job").wait().unwrap().expect("the result was acknowledged");
    assert_eq!(view.result::<String>().unwrap(), "done");
    again.close().unwrap();
}
