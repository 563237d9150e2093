//! Pages of records while other records are created and dropped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lessor_core::rules::{Acquire, Command};
use lessor_core::store::{OwnedOperation, Scan};
use lessor_core::{Acquisition, Clock, Engine, Key, LeaseId, Store, Timestamp};
use lessor_memory::MemoryStore;

/// Enough that each shard has several chunks of records.
const STAYING: usize = 30_000;
/// The keys that are created and dropped. Their records move to other nodes.
const GOING: usize = 3_000;
/// The number of keys that are dropped before the first of them is created again.
const GROUP: usize = 40;
const PAGE: usize = 5_000;
const SCANS: usize = 6;

/// A clock on which a microsecond passes with each reading.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::SeqCst) + 1).unwrap()
    }
}

/// With a later time, leases that were extended after their records were read would be shown as
/// lapsed.
#[test]
fn the_time_of_a_page_is_not_later_than_the_reading_of_its_records() {
    let clock = Arc::new(Counting::default());
    let store = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
    for key in ["a", "b", "c"] {
        let key = Key::new(key).unwrap();
        let acquire = Acquire::new(LeaseId::from_bytes([1; 16]), Duration::from_secs(1));
        let operation = OwnedOperation::new(key, Command::Acquire(acquire), Duration::ZERO);
        assert!(operation.send(&*store).wait().unwrap().is_write());
    }
    let before = clock.now();
    let page = store.scan(Scan::new("", None, 10)).wait().unwrap();
    assert_eq!(page.entries.len(), 3);
    assert_eq!(page.now.as_micros(), before.as_micros() + 1);
}

fn complete(engine: &Engine, key: &str) {
    match engine.acquire(key).wait().unwrap() {
        Acquisition::Acquired(lease) => drop(lease.complete_bytes(b"done").wait().unwrap()),
        other => panic!("{key} was not granted: {other:?}"),
    }
}

/// Ends the changes, even if a check fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The permanent records are listed exactly once, and the others at most once, wherever they are
/// stored at the time.
#[test]
fn p9_a_scan_during_changes_lists_each_key_once_and_in_order() {
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let going: Vec<String> = (0..GOING).map(|number| format!("going:{number}")).collect();
    for (number, key) in going.iter().enumerate() {
        complete(&engine, key);
        (0..STAYING / GOING).for_each(|each| complete(&engine, &format!("staying:{number}:{each}")));
    }
    let done = AtomicBool::new(false);
    let (rounds, moved) = std::thread::scope(|threads| {
        let changes = threads.spawn(|| {
            let mut rounds = 0_u64;
            while !done.load(Ordering::Relaxed) {
                // A key gets the node of another one of its shard, often in another chunk.
                for first in 0..GOING / GROUP {
                    let group = going.iter().skip(first).step_by(GOING / GROUP);
                    group.clone().for_each(|key| assert!(engine.forget(key).wait().unwrap()));
                    group.for_each(|key| complete(&engine, key));
                }
                rounds += 1;
            }
            rounds
        });
        let ends = SetOnDrop(&done);
        let mut seen_going = 0;
        for _ in 0..SCANS {
            let (mut last, mut staying): (Option<Key>, usize) = (None, 0);
            loop {
                let page = store.scan(Scan::new("", last.clone(), PAGE)).wait().unwrap();
                for (key, _) in &page.entries {
                    assert!(last.as_ref().is_none_or(|last| last < key), "{key} is listed after {last:?}");
                    if key.starts_with("staying:") {
                        staying += 1;
                    } else {
                        seen_going += 1;
                    }
                    last = Some(key.clone());
                }
                match page.next {
                    Some(next) => last = Some(next),
                    None => break,
                }
            }
            assert_eq!(staying, STAYING);
        }
        drop(ends);
        (changes.join().unwrap(), seen_going)
    });
    println!("{SCANS} scans beside {rounds} rounds of changes, {moved} moving keys were listed");
}
