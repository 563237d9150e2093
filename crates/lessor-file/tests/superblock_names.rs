//! What the superblock names is on the disk before it is named.
//!
//! History: a compaction makes the log continue in a new segment, and the superblock names that as
//! the first one that counts. If a leader had just begun that segment, the compaction relied on it
//! although nothing of it was synced, not even its header. After a power loss the log did not open:
//! "the segment is missing or empty".
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::store::{CasResult, Snapshot};
use lessor_core::{LeaseId, Store};
use lessor_file::{FileStore, SyncMode};
use lessor_simdisk::{Call, CallKind, Fault, SimDisk, When};
use lessor_testkit::ManualClock;
use parking_lot::{Condvar, Mutex};
use support::changes::{self, Action};
use support::work::{key, tiny};

mod support;

const NEXT: &str = "segment-0000000002";

fn open(disk: &SimDisk, sync: SyncMode) -> FileStore {
    let mut settings = tiny(sync);
    settings.sync_every = Duration::from_secs(3600);
    settings.compact_at = 1 << 30;
    FileStore::builder()
        .settings(settings)
        .clock(Arc::new(ManualClock::new()))
        .open_on(Arc::new(disk.clone()))
        .unwrap()
}

/// Grants the next lease.
fn grant(store: &FileStore, number: &AtomicU64) {
    let number = number.fetch_add(1, Ordering::SeqCst);
    let name = key(&format!("lease {number}"));
    let id = LeaseId::from_bytes(u128::from(number).to_be_bytes());
    let now = store.now().wait().unwrap();
    let change = changes::change(&name, &Snapshot::new(None, now), Action::Acquire, id, 0).unwrap();
    assert!(matches!(
        lessor_testkit::swap(store, &name, &change.borrow()).wait().unwrap(),
        CasResult::Written
    ));
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("never happened: {what}");
}

/// Waits for the next segment, and prevents others from being made, so that a compaction continues
/// in that one.
fn is_made(disk: &SimDisk, held: Option<Arc<LeaseHandle>>) {
    eventually("the next segment is made", || {
        disk.file_names().iter().any(|name| name == NEXT) && disk.durable_bytes(NEXT).len() == 8 << 10
    });
    let (on, writes) = (disk.clone(), AtomicU64::new(0));
    disk.on_call(Some(Arc::new(move |call: Call| match call.kind {
        CallKind::Create if call.file.starts_with("segment-") => {
            on.fail(When::call(call.number), Fault::Full);
        }
        CallKind::Write if call.file == NEXT && writes.fetch_add(1, Ordering::SeqCst) == 1 => {
            held.iter().for_each(|held| held.stop());
        }
        _ => {}
    })));
}

/// A leader has begun the next segment, and nothing has been synced since.
#[test]
fn p5_an_unsynced_segment_is_not_named_with_sync_process() {
    let disk = SimDisk::new();
    let (store, number) = (open(&disk, SyncMode::Process), AtomicU64::new(0));
    is_made(&disk, None);
    while disk.bytes(NEXT).iter().all(|byte| *byte == 0) {
        grant(&store, &number);
    }
    store.compact().unwrap();
    open(&disk.crash().image_lost(), SyncMode::Process);
    open(&disk.crash().image_kept(), SyncMode::Process);
}

/// Stops the thread that writes the first frame of the next segment, after its header is written.
#[derive(Default)]
struct LeaseHandle {
    /// Two flags: it is stopped, and it may continue.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl LeaseHandle {
    fn stop(&self) {
        let mut state = self.state.lock();
        state.0 = true;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |(_, goes_on)| !*goes_on);
    }

    fn wait(&self) {
        self.changed.wait_while(&mut self.state.lock(), |(is_stopped, _)| !*is_stopped);
    }

    fn let_go(&self) {
        self.state.lock().1 = true;
        self.changed.notify_all();
    }
}

/// A leader has written the header of the next segment, and is about to write its first frame.
#[test]
fn p5_an_unfinished_segment_is_not_named_with_sync_disk() {
    let disk = SimDisk::new();
    let (store, number) = (open(&disk, SyncMode::Disk), AtomicU64::new(0));
    let held = Arc::new(LeaseHandle::default());
    is_made(&disk, Some(Arc::clone(&held)));
    thread::scope(|scope| {
        let committer = scope.spawn(|| {
            while disk.bytes(NEXT).iter().all(|byte| *byte == 0) {
                grant(&store, &number);
            }
        });
        held.wait();
        store.compact().unwrap();
        let crash = disk.crash();
        held.let_go();
        committer.join().unwrap();
        for image in [crash.image_lost(), crash.image_kept()] {
            let left = open(&image, SyncMode::Disk);
            for number in 0..number.load(Ordering::SeqCst) - 1 {
                let seen = left.load(&key(&format!("lease {number}"))).wait().unwrap();
                assert!(seen.record.is_some(), "lease {number} was acknowledged");
            }
        }
    });
}

/// No compaction and no opening syncs the folder meanwhile, so making a segment has to sync its
/// name.
#[test]
fn p5_a_write_acknowledged_in_a_later_segment_survives_a_power_loss() {
    const GRANTS: u64 = 300;
    let disk = SimDisk::new();
    let (store, number) = (open(&disk, SyncMode::Disk), AtomicU64::new(0));
    (0..GRANTS).for_each(|_| grant(&store, &number));
    let segments = disk.file_names().iter().filter(|name| name.starts_with("segment-")).count();
    assert!(segments > 3, "only {segments} segments");
    let left = open(&disk.crash().image_lost(), SyncMode::Disk);
    for number in 0..GRANTS {
        let seen = left.load(&key(&format!("lease {number}"))).wait().unwrap();
        assert!(seen.record.is_some(), "lease {number} was acknowledged");
    }
}
