//! A backup of a log that is in use is an independent log: complete, of one moment, and with tokens
//! above all that were issued.
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lessor_core::store::{CasResult, Scan, Snapshot};
use lessor_core::{Clock, LeaseId, Record, Store};
use lessor_file::{FileStore, SyncMode};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;
use support::Campaign;
use support::changes::{self, Action};
use support::observed::Observed;
use support::work::{KEYS, Op, Work, key, tiny};

mod support;

fn open(disk: &SimDisk, clock: &ManualClock) -> FileStore {
    let builder = FileStore::builder().settings(tiny(SyncMode::Disk)).clock(Arc::new(clock.clone()));
    builder.open_on(Arc::new(disk.clone())).unwrap()
}

fn held() -> SimDisk {
    let disk = SimDisk::new();
    let ops = [Op::On(Action::Acquire, "a"), Op::On(Action::Complete, "a"), Op::On(Action::Acquire, "b")];
    Work::run(&disk, &tiny(SyncMode::Disk), Observed::default(), &ops);
    disk
}

fn records(store: &FileStore) -> Vec<(String, Record)> {
    let page = store.scan(Scan::new("", None, 1_000)).wait().unwrap();
    page.entries.into_iter().map(|(key, record)| (key.to_string(), record)).collect()
}

fn acquire(store: &FileStore, name: &str, id: u128) -> Option<Record> {
    let key = key(name);
    let seen = store.load(&key).wait().unwrap();
    let change = changes::change(&key, &seen, Action::Acquire, LeaseId::from_bytes(id.to_be_bytes()), 0)?;
    match lessor_testkit::swap(store, &key, &change.borrow()).wait().unwrap() {
        CasResult::Written => Some(change.borrow().next.clone()),
        _ => None,
    }
}

#[test]
fn p2_a_copy_holds_each_record_as_of_some_moment_and_issues_tokens_above_all_before() {
    let (disk, copy) = (SimDisk::new(), SimDisk::new());
    let clock = ManualClock::new();
    let store = open(&disk, &clock);
    let before: Vec<Record> = (0..40).map(|n| acquire(&store, &format!("early {n}"), n).unwrap()).collect();
    let (is_over, is_begun) = (AtomicBool::new(false), AtomicBool::new(false));
    let during: Vec<(String, Record)> = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let grant = |n: u128| {
                is_begun.store(true, Ordering::SeqCst);
                let name = format!("late {n}");
                acquire(&store, &name, 1_000 + n).map(|record| (name, record))
            };
            (0..500).take_while(|_| !is_over.load(Ordering::SeqCst)).filter_map(grant).collect()
        });
        while !is_begun.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        store.backup_on(&copy).unwrap();
        is_over.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    let highest = before.iter().chain(during.iter().map(|(_, record)| record)).map(Record::token).max();
    // The copy is opened much later, on a machine whose clock is not behind.
    let restored = open(&copy, &ManualClock::starting_at(clock.now()));
    let there = records(&restored);
    for (number, record) in before.iter().enumerate() {
        assert!(there.contains(&(format!("early {number}"), record.clone())), "early {number} is missing");
    }
    for (name, record) in there.iter().filter(|(name, _)| name.starts_with("late")) {
        let written = during.iter().find(|(other, _)| other == name).map(|(_, record)| record);
        assert!(written.is_none_or(|written| written == record), "{name} is not what was written");
    }
    let granted = acquire(&restored, "new", 77).unwrap();
    assert!(Some(granted.token()) > highest, "{:?} after {highest:?}", granted.token());
    println!("{} records in the copy, {} written meanwhile", there.len(), during.len());
}

/// The original is unharmed, and the copy is complete or refused.
#[test]
fn p5_a_crash_leaves_a_complete_backup_or_none() {
    let original = held();
    let clock = ManualClock::starting_at(ManualClock::new().advance(std::time::Duration::from_secs(1)));
    let expected = records(&open(&original.fork(), &clock));
    assert!(!expected.is_empty());
    let work = |copy: &SimDisk| open(&original.fork(), &clock).backup_on(copy).is_ok();
    let check = |copy: &SimDisk, is_done: &bool| {
        let is_untouched = copy.file_names().is_empty();
        let builder = FileStore::builder().settings(tiny(SyncMode::Disk)).clock(Arc::new(clock.clone()));
        match builder.open_on(Arc::new(copy.clone())) {
            Ok(store) => match records(&store) {
                there if there == expected => Ok(()),
                // Nothing was written to the folder that the caller named.
                there if there.is_empty() && !is_done && is_untouched => Ok(()),
                there => Err(format!("the copy holds {there:?}")),
            },
            Err(error) if *is_done => Err(error.to_string()),
            Err(_) => Ok(()),
        }
    };
    let campaign = Campaign::from_env("crashes of a backup");
    campaign.each_power_loss(SimDisk::in_new_folder, work, check);
    campaign.each_kill(SimDisk::new, work, check);
    campaign.each_failing_call(SimDisk::new, work, check);
}

#[test]
fn a_folder_that_is_not_empty_is_not_written_to() {
    let original = held();
    let other = held();
    let before = other.content_digest();
    assert!(open(&original, &ManualClock::new()).backup_on(&other).is_err());
    assert_eq!(other.content_digest(), before);
    let seen = Snapshot::new(None, ManualClock::new().now());
    assert!(
        changes::change(&key(KEYS[0]), &seen, Action::Complete, LeaseId::from_bytes([1; 16]), 1).is_none()
    );
}
