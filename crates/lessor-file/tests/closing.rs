//! A write during a close is refused or kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use lessor_core::store::{CasResult, Snapshot};
use lessor_core::{Acquisition, CloseStep, Engine, LeaseId, Record, Store};
use lessor_file::vfs::Vfs;
use lessor_file::{FileStore, Settings, SyncMode};
use lessor_simdisk::{Call, CallKind, SimDisk};
use lessor_testkit::ManualClock;
use parking_lot::Mutex;
use support::changes::{self, Action};
use support::number_from_env;
use support::work::{key, tiny};

mod support;

fn open(disk: &SimDisk, sync: SyncMode) -> FileStore {
    let clock = Arc::new(ManualClock::new());
    FileStore::builder().settings(tiny(sync)).clock(clock).open_on(Arc::new(disk.clone())).unwrap()
}

/// Grants leases until one is refused. Returns the granted keys.
fn grant(store: &FileStore, thread: u64, is_over: &AtomicBool) -> Vec<(String, Record)> {
    let mut granted = Vec::new();
    for number in 0.. {
        let name = format!("{thread} {number}");
        let id = LeaseId::from_bytes((u128::from(thread) << 64 | number).to_be_bytes());
        let Ok(now) = store.now().wait() else { break };
        let change = changes::change(&key(&name), &Snapshot::new(None, now), Action::Acquire, id, 0).unwrap();
        match lessor_testkit::swap(store, &key(&name), &change.borrow()).wait() {
            Ok(CasResult::Written) => granted.push((name, change.borrow().next.clone())),
            _ if is_over.load(Ordering::SeqCst) => break,
            other => panic!("before the log was closed: {other:?}"),
        }
    }
    granted
}

#[test]
fn p5_nothing_that_was_acknowledged_while_the_log_was_closed_is_lost() {
    const THREADS: u64 = 3;
    for round in 0..number_from_env("LESSOR_CRASH_CASES", 24) {
        let sync = if round % 2 == 0 { SyncMode::Disk } else { SyncMode::Process };
        let disk = SimDisk::new();
        let store = open(&disk, sync);
        let (is_over, start) = (AtomicBool::new(false), Barrier::new(THREADS as usize + 1));
        let work = |thread| {
            start.wait();
            grant(&store, thread, &is_over)
        };
        let granted: Vec<(String, Record)> = thread::scope(|scope| {
            let work = &work;
            let workers: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
            start.wait();
            (0..round % 16 * 20).for_each(|_| thread::yield_now());
            is_over.store(true, Ordering::SeqCst);
            store.close().unwrap();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        drop(store);
        let image = disk.crash().image_lost();
        let store = open(&image, sync);
        for (name, record) in granted {
            assert_eq!(store.load(&key(&name)).wait().unwrap().record, Some(record), "round {round}, {name}");
        }
    }
}

fn opened(disk: &SimDisk) -> (Arc<FileStore>, Engine, ManualClock) {
    let clock = ManualClock::new();
    let mut settings = Settings::default();
    settings.lock_wait = Duration::ZERO;
    let builder = FileStore::builder().settings(settings).clock(Arc::new(clock.clone()));
    let store = Arc::new(builder.open_on(Arc::new(disk.clone())).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    (store, engine, clock)
}

fn complete(engine: &Engine, key: &str, bytes: usize) {
    let Acquisition::Acquired(lease) = engine.acquire(key).wait().unwrap() else { panic!("{key}") };
    lease.complete_bytes(&vec![b'x'; bytes]).wait().unwrap();
}

fn names(disk: &SimDisk, prefix: &str) -> Vec<String> {
    disk.file_names().into_iter().filter(|name| name.starts_with(prefix)).collect()
}

/// Returns a log of about six megabytes and the number of its records.
fn grown(disk: &SimDisk) -> (Arc<FileStore>, Engine, ManualClock) {
    let (store, engine, clock) = opened(disk);
    (0..300).for_each(|number| complete(&engine, &format!("{number}"), 20_000));
    (store, engine, clock)
}

/// Checks that all records are there once the log is closed. Some tests do not wait for the close.
fn everything_is_there(disk: &SimDisk) {
    wait_until(|| disk.try_lock("").unwrap().is_some());
    let (store, engine, _) = opened(disk);
    for number in 0..300 {
        assert!(engine.result(&format!("{number}")).wait().unwrap().is_some(), "{number} is lost");
    }
    store.close().unwrap();
}

/// A compaction during a close wrote its whole checkpoint and discarded it, because the log was
/// closed. Each close took seconds for nothing, and the number of segments grew.
#[test]
fn closing_a_grown_log_leaves_a_checkpoint_and_one_segment() {
    let disk = SimDisk::new();
    let (_store, engine, _) = grown(&disk);
    assert!(names(&disk, "segment-").len() > 2);
    assert!(engine.close(Duration::MAX).wait().unwrap().is_complete());
    assert_eq!((names(&disk, "segment-").len(), names(&disk, "checkpoint-").len()), (1, 1), "{disk:?}");
    assert!(disk.total_len() < 300 * 20_500 + 10_000, "{} bytes", disk.total_len());
    everything_is_there(&disk);
}

/// The time for the close runs out in the middle of a compaction. Nothing is lost, and the caller
/// is notified.
#[test]
fn p9_a_close_that_runs_out_of_time_loses_nothing_and_reports_it() {
    let disk = SimDisk::new();
    let (_store, engine, clock) = grown(&disk);
    let closing = engine.close(Duration::from_secs(60));
    let progress = closing.progress();
    let seen = Arc::new(Mutex::new(Vec::new()));
    disk.on_call(Some(Arc::new({
        let (progress, seen) = (progress.clone(), Arc::clone(&seen));
        move |call: Call| {
            if call.kind == CallKind::Write && call.file.starts_with("checkpoint-") {
                let now = progress.get();
                seen.lock().push(now);
                if now.done > now.total / 4 {
                    clock.advance(Duration::from_secs(61));
                }
            }
        }
    })));
    let closed = closing.wait().unwrap();
    disk.on_call(None);
    assert!(closed.gave_up && !closed.tidied, "{closed:?}");
    let seen = std::mem::take(&mut *seen.lock());
    assert!(seen.iter().all(|now| now.step == CloseStep::Store && now.total > 6_000_000), "{seen:?}");
    assert!(seen.windows(2).all(|two| two[0].done <= two[1].done), "{seen:?}");
    // The next close finds nothing half done.
    drop(engine);
    drop(_store);
    everything_is_there(&disk);
    assert_eq!((names(&disk, "segment-").len(), names(&disk, "checkpoint-").len()), (1, 1), "{disk:?}");
}

/// A caller abandons a close.
#[test]
fn p9_an_abandoned_close_loses_nothing() {
    let disk = SimDisk::new();
    let (store, engine, _) = grown(&disk);
    let mut closing = engine.close(Duration::from_secs(60));
    let _ = Pin::new(&mut closing).poll(&mut Context::from_waker(Waker::noop()));
    drop(closing);
    drop(engine);
    store.close().unwrap();
    everything_is_there(&disk);
}

/// Dropping a large log took as long as compacting it.
#[test]
fn dropping_a_store_skips_a_long_compaction() {
    let disk = SimDisk::new();
    let (store, engine, _) = grown(&disk);
    // Without any time, the call returns before the folder is released.
    engine.close(Duration::ZERO).wait().unwrap();
    drop((store, engine));
    wait_until(|| disk.try_lock("").unwrap().is_some());
    let store = opened(&disk).0;
    let made = disk.calls_of(CallKind::Create);
    let segments = names(&disk, "segment-").len();
    drop(store);
    assert!(names(&disk, "checkpoint-").is_empty() && segments > 2, "{disk:?}");
    assert!(disk.calls_of(CallKind::Create) <= made + 1);
    everything_is_there(&disk);
}

/// After `shutdown` and a drop of the engine, the folder was not released at once, and sometimes
/// the next opening failed.
#[test]
fn p9_a_closed_engine_has_released_its_folder() {
    let disk = SimDisk::new();
    for round in 0..1_000 {
        let (store, engine, _) = opened(&disk);
        drop(store);
        if round % 50 == 0 {
            complete(&engine, &format!("{round}"), 10);
        }
        assert!(engine.close(Duration::from_secs(3_600)).wait().unwrap().is_complete(), "round {round}");
        // The engine, and with it its thread, stays alive.
        std::mem::forget(engine);
    }
}

/// A hundred short-lived processes with one record each left 199 files with 102 MB.
#[test]
fn many_openings_with_one_record_each_leave_few_files_and_bytes() {
    for end in ["closed", "dropped", "killed"] {
        let mut disk = SimDisk::new();
        for round in 0..100 {
            let (store, engine, _) = opened(&disk);
            complete(&engine, &format!("{round}"), 10);
            assert!(disk.total_len() < 2 << 20, "{end}, round {round}: {} bytes", disk.total_len());
            match end {
                "closed" => drop(engine.close(Duration::MAX).wait().unwrap()),
                "dropped" => {
                    drop(engine);
                    wait_until(|| Arc::strong_count(&store) == 1);
                    drop(store);
                }
                _ => {
                    // The compaction that is due may still be running.
                    wait_until(|| disk.file_names().len() < 14);
                    disk = disk.fork();
                }
            }
            assert!(disk.file_names().len() < 14, "{end}, round {round}: {disk:?}");
        }
        let (_store, engine, _) = opened(&disk);
        for round in 0..100 {
            assert!(engine.result(&format!("{round}")).wait().unwrap().is_some(), "{end}: {round} is lost");
        }
    }
}

/// Waits for other threads, as long as it takes.
fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if is_so() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("it does not come to that");
}
