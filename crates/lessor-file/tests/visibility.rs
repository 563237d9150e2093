//! No caller observes what a crash could undo.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;

use lessor_core::{Acquisition, Engine, Key, State, Store};
use lessor_file::FileStore;
use lessor_simdisk::{CallKind, SimDisk};
use lessor_testkit::ManualClock;

use gate::Gate;

#[path = "support/gate.rs"]
mod gate;

fn on_a_disk_with_a_gate() -> (SimDisk, Arc<Gate>, Arc<FileStore>) {
    let disk = SimDisk::new();
    let builder = FileStore::builder().clock(Arc::new(ManualClock::new()));
    let store = Arc::new(builder.open_on(Arc::new(disk.clone())).unwrap());
    // Frames are written to the first segment. The maintenance thread may be making the second one.
    let gate = Gate::before(&disk, CallKind::Sync, "segment-0000000001");
    (disk, gate, store)
}

#[test]
fn p5_a_record_is_shown_only_once_it_is_synced() {
    let (disk, gate, store) = on_a_disk_with_a_gate();
    let engine = Engine::new(store.clone()).unwrap();
    gate.shut();
    let holder = {
        let engine = engine.clone();
        thread::spawn(move || match engine.acquire("key").wait().unwrap() {
            Acquisition::Acquired(lease) => lease,
            other => panic!("{other:?}"),
        })
    };
    gate.wait_for_one();
    // The grant is written and its sync is under way. A power loss now could undo it.
    let key = Key::new("key").unwrap();
    let mut load = store.load(&key);
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut load).poll(&mut context).is_pending(), "it was loaded");
    let mut rival = engine.acquire("key").send();
    assert!(Pin::new(&mut rival).poll(&mut context).is_pending(), "a caller was refused because of it");
    let lost = disk.crash().image_lost();
    gate.open();
    let lease = holder.join().unwrap();
    assert_eq!(load.wait().unwrap().record.unwrap().token(), lease.token());
    assert!(matches!(rival.wait().unwrap(), Acquisition::InProgress(_)));

    let builder = FileStore::builder().clock(Arc::new(ManualClock::new()));
    let engine = Engine::new(Arc::new(builder.open_on(Arc::new(lost)).unwrap())).unwrap();
    assert!(engine.status("key").wait().unwrap().is_none(), "what was not synced was lost");
}

#[test]
fn writes_during_a_sync_share_the_next_frame() {
    const CALLERS: usize = 20;
    let (disk, gate, store) = on_a_disk_with_a_gate();
    let engine = Engine::new(store).unwrap();
    gate.shut();
    let acquire = |number: usize| {
        let engine = engine.clone();
        thread::spawn(move || match engine.acquire(&format!("key {number}")).wait().unwrap() {
            Acquisition::Acquired(lease) => lease,
            other => panic!("{other:?}"),
        })
    };
    let first = acquire(0);
    gate.wait_for_one();
    let others: Vec<_> = (1..=CALLERS).map(acquire).collect();
    // Each request is staged once its key exists, although no record is visible.
    while engine_keys(&engine) <= CALLERS {
        thread::yield_now();
    }
    let before = disk.calls_of(CallKind::Sync);
    gate.open();
    let mut leases: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
    leases.push(first.join().unwrap());
    let syncs = disk.calls_of(CallKind::Sync) - before;
    assert!(syncs < CALLERS as u64 / 2, "{syncs} syncs for {CALLERS} grants");
    for lease in leases {
        lease.complete(&1).wait().unwrap();
        let view = engine.status(lease.key()).wait().unwrap().unwrap();
        assert_eq!(view.state(), State::Completed);
    }
}

/// Returns the number of keys in the store.
fn engine_keys(engine: &Engine) -> usize {
    let text = format!("{engine:?}");
    let count = text.split("records: ").nth(1).and_then(|rest| rest.split([',', ' ', '}']).next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
