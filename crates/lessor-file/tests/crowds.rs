//! Many callers commit while the log continues in small segments and is compacted. At random calls
//! the power fails or the process is killed. The log opens with every acknowledged write.
//!
//! History: a leader that continues in the next segment at the very moment at which a compaction
//! begins cannot be produced by a test with one caller.
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::store::{CasResult, Snapshot};
use lessor_core::{LeaseId, Record, Store};
use lessor_file::{FileStore, SyncMode};
use lessor_simdisk::{Call, CallKind, Crash, SimDisk};
use lessor_testkit::ManualClock;
use parking_lot::Mutex;
use support::changes::{self, Action};
use support::number_from_env;
use support::work::{key, tiny};

mod support;

const CALLERS: u64 = 3;

fn open(disk: &SimDisk, sync: SyncMode) -> Result<FileStore, lessor_core::Error> {
    let mut settings = tiny(sync);
    settings.max_segment = settings.first_segment;
    settings.sync_every = Duration::from_secs(3600);
    FileStore::builder()
        .settings(settings)
        .clock(Arc::new(ManualClock::new()))
        .open_on(Arc::new(disk.clone()))
}

/// The disk at some call, and the writes that were acknowledged before.
struct Moment {
    call: Call,
    crash: Crash,
    killed: SimDisk,
    acknowledged: Vec<(String, Record)>,
}

struct Crowd {
    disk: SimDisk,
    acknowledged: Mutex<Vec<(String, Record)>>,
    moments: Mutex<Vec<Moment>>,
    is_over: AtomicBool,
    random: AtomicU64,
}

impl Crowd {
    fn below(&self, most: u64) -> u64 {
        let next = |state: u64| {
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
        };
        let state = self.random.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| Some(next(state)));
        (next(state.unwrap()) >> 33) % most
    }

    /// Some calls take longer than others, and some are followed by a crash.
    fn on_call(&self, call: Call, every: u64) {
        if self.is_over.load(Ordering::SeqCst) || !call.kind.mutates() {
            return;
        }
        if matches!(call.kind, CallKind::Write | CallKind::Sync) && self.below(4) == 0 {
            (0..self.below(60)).for_each(|_| thread::yield_now());
        }
        // Errors of a compaction show once the superblock names its checkpoint.
        let is_after_naming = call.kind == CallKind::Remove;
        if self.below(every) == 0 || is_after_naming && self.below(3) == 0 {
            let acknowledged = self.acknowledged.lock().clone();
            let (crash, killed) = (self.disk.crash(), self.disk.fork());
            self.moments.lock().push(Moment { call, crash, killed, acknowledged });
        }
    }

    fn grant(&self, store: &FileStore, caller: u64, number: u64) {
        let name = format!("{caller} {number}");
        let id = LeaseId::from_bytes((u128::from(caller) << 64 | u128::from(number)).to_be_bytes());
        let now = store.now().wait().unwrap();
        let change = changes::change(&key(&name), &Snapshot::new(None, now), Action::Acquire, id, 0).unwrap();
        assert!(matches!(
            lessor_testkit::swap(store, &key(&name), &change.borrow()).wait().unwrap(),
            CasResult::Written
        ));
        self.acknowledged.lock().push((name, change.borrow().next.clone()));
    }
}

fn has(image: &SimDisk, sync: SyncMode, acknowledged: &[(String, Record)]) -> Result<(), String> {
    let store = open(image, sync).map_err(|error| format!("opening: {error}"))?;
    for (name, record) in acknowledged {
        let seen = store.load(&key(name)).wait().map_err(|error| error.to_string())?;
        if seen.record.as_ref() != Some(record) {
            return Err(format!("{name} was acknowledged and is {:?}", seen.record));
        }
    }
    Ok(())
}

fn check(moment: &Moment, sync: SyncMode, seed: u64) -> u64 {
    let place = format!("seed {seed}, before {:?}", moment.call);
    let acknowledged = &moment.acknowledged[..];
    let survives = if sync == SyncMode::Disk { acknowledged } else { &[] };
    has(&moment.killed, sync, acknowledged).unwrap_or_else(|why| panic!("{place}, killed: {why}"));
    let images = [
        moment.crash.image_lost(),
        moment.crash.image_kept(),
        moment.crash.image_random(seed),
        moment.crash.image_random(seed + 1_000_000),
    ];
    for (number, image) in images.iter().enumerate() {
        has(image, sync, survives).unwrap_or_else(|why| panic!("{place}, image {number}: {why}"));
    }
    1 + images.len() as u64
}

/// The number of runs is set by `LESSOR_CROWDS`, default 12.
fn crash_amid_crowds(sync: SyncMode) {
    let (crowds, mut disks, mut crashes) = (number_from_env("LESSOR_CROWDS", 12), 0, 0);
    for seed in 0..crowds {
        let disk = SimDisk::new();
        let store = open(&disk, sync).unwrap();
        let crowd = Arc::new(Crowd {
            disk: disk.clone(),
            acknowledged: Mutex::default(),
            moments: Mutex::default(),
            is_over: AtomicBool::new(false),
            random: AtomicU64::new(seed),
        });
        let watcher = Arc::clone(&crowd);
        disk.on_call(Some(Arc::new(move |call| watcher.on_call(call, 60))));
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (crowd, store) = (&crowd, &store);
                scope.spawn(move || (0..25).for_each(|number| crowd.grant(store, caller, number)));
            }
            for _ in 0..5 {
                store.compact().unwrap();
            }
        });
        crowd.is_over.store(true, Ordering::SeqCst);
        disk.on_call(None);
        for moment in std::mem::take(&mut *crowd.moments.lock()) {
            disks += check(&moment, sync, seed);
            crashes += 1;
        }
    }
    println!("{crowds} crowds with sync = {sync:?}: {crashes} crashes, {disks} disks were opened");
    assert!(crashes > 0);
}

#[test]
fn p5_a_crash_among_many_callers_loses_no_acknowledged_write_with_sync_disk() {
    crash_amid_crowds(SyncMode::Disk);
}

#[test]
fn p5_a_kill_among_many_callers_loses_nothing_and_a_power_loss_leaves_a_log_with_sync_process() {
    crash_amid_crowds(SyncMode::Process);
}
