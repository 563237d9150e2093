//! What is written while the log is being closed is refused, or kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use lessor_core::store::{Seen, Swap};
use lessor_core::{LeaseId, Record, Store};
use lessor_log::vfs::sim::SimDisk;
use lessor_log::{LogStore, Opener, Sync};
use lessor_testkit::ManualClock;
use support::number_from_env;
use support::scribe::{self, Act};
use support::work::{key, tiny};

mod support;

fn open(disk: &SimDisk, sync: Sync) -> LogStore {
    let clock = Arc::new(ManualClock::new());
    Opener::new().settings(tiny(sync)).clock(clock).open_on(Arc::new(disk.clone())).unwrap()
}

/// Grants lease after lease until one is refused; returns what was granted.
fn grant(store: &LogStore, thread: u64, is_over: &AtomicBool) -> Vec<(String, Record)> {
    let mut granted = Vec::new();
    for number in 0.. {
        let name = format!("{thread} {number}");
        let id = LeaseId::from_bytes((u128::from(thread) << 64 | number).to_be_bytes());
        let Ok(now) = store.now().wait() else { break };
        let change = scribe::change(&key(&name), &Seen { record: None, now }, Act::Acquire, id, 0).unwrap();
        match store.swap(&key(&name), &change.borrow()).wait() {
            Ok(Swap::Stored) => granted.push((name, change.borrow().next.clone())),
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
        let sync = if round % 2 == 0 { Sync::Disk } else { Sync::Process };
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
