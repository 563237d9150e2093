#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lessor_core::Timestamp;

use super::*;
use crate::index::location::{FileRef, Location};
use crate::index::schedule::SLACK;

const NOW: u64 = 1_700_000_000_000_000;
const DAY: u64 = 24 * 3600 * 1_000_000;

fn slot(purge_at: u64, lsn: u64) -> Slot {
    let location = Location { file_ref: FileRef::Log, position: 0, length: 1, checksum: 0 };
    let purge_at = Timestamp::from_micros(purge_at).unwrap();
    Slot { lsn, location, token: lsn, purge_at, record: None, bucket: 0 }
}

fn put(index: &Index, key: &str, slot: Slot) {
    let key = Key::new(key).unwrap();
    index.write(&key).put(&key, slot);
}

fn purge(index: &Index, now: u64, limit: usize) -> (Purged, Vec<u64>) {
    let mut tokens = Vec::new();
    let purge = Purge { limit, now, visible: 1_000 };
    (index.purge(&purge, &mut |slot| tokens.push(slot.token)), tokens)
}

fn entries(index: &Index) -> usize {
    let count = |shard: &RwLock<Shard>| shard.read().entries();
    index.shards().map(count).sum()
}

/// A purge checked all records of a shard from the first one on. With three million records, a
/// million of them schedule, it kept the engine's only thread busy for seconds.
#[test]
fn a_purge_checks_due_records_and_hardly_any_others() {
    let index = Index::new(0, NOW);
    for number in 0..100_000 {
        put(&index, &format!("kept {number}"), slot(NOW + 7 * DAY + number, 1));
    }
    for number in 0..100 {
        put(&index, &format!("over {number}"), slot(NOW + 1_000_000 * (1 + number % 60), 2));
    }
    let (purged, tokens) = purge(&index, NOW + 61_000_000, 512);
    assert_eq!((purged, tokens.len()), (Purged::new(100, false), 100));
    assert_eq!(index.len(), 100_000);
    // Until the week is over, each record is checked a few times.
    let (mut looks, mut gone) = (0, 0);
    for now in (0..8 * 24 * 60).map(|minutes| NOW + minutes * 60_000_000) {
        loop {
            let (purged, _) = purge(&index, now, 512);
            gone += purged.dropped;
            if !purged.more {
                break;
            }
            looks += 512;
        }
    }
    assert_eq!((gone, index.len(), entries(&index)), (100_000, 0, 0));
    assert!(looks < 8 * 100_000, "{looks} looks at 100000 records");
}

#[test]
fn a_purge_drops_each_record_at_its_latest_purge_time() {
    let index = Index::new(0, NOW);
    for (key, times) in [
        ("later", [3, 9]),
        ("earlier", [9, 3]),
        ("same", [3, 3]),
        ("much later", [3, 900_000]),
        ("now", [900_000, 0]),
    ] {
        times.iter().for_each(|at| put(&index, key, slot(NOW + at * 1_000_000, 1)));
    }
    let dropped = |now| purge(&index, now, 512).0.dropped;
    assert_eq!(dropped(NOW), 1);
    assert_eq!(dropped(NOW + 2_999_999), 0);
    assert_eq!(dropped(NOW + 3_000_000), 2);
    assert_eq!(dropped(NOW + 8_999_999), 0);
    assert_eq!(dropped(NOW + 9_000_000), 1);
    assert_eq!(dropped(NOW + 900_000_000_000 - 1), 0);
    assert_eq!(dropped(NOW + 900_000_000_000), 1);
    assert_eq!(entries(&index), 0);
}

#[test]
fn a_record_is_not_purged_before_it_is_visible() {
    let index = Index::new(0, NOW);
    put(&index, "k", slot(NOW, 1_001));
    assert_eq!(purge(&index, NOW + 1, 512).0, Purged::new(0, false));
    put(&index, "k", slot(NOW, 1_000));
    assert_eq!(purge(&index, NOW + 1, 512).0.dropped, 1);
}

/// A record has one entry, however often it is forgotten and acquired again.
#[test]
fn a_key_that_is_acquired_and_forgotten_does_not_fill_the_index() {
    let index = Index::new(0, NOW);
    for round in 0..10_000 {
        let now = NOW + round * 3_000_000;
        put(&index, "k", slot(now + 7 * DAY, 1));
        put(&index, "k", slot(now, 1));
        if round % 100 == 0 {
            put(&index, "k", slot(now + 7 * DAY, 1));
            purge(&index, now, 512);
        }
    }
    assert!(entries(&index) <= 110, "{} entries of one record", entries(&index));
}

/// A purge between the end of a key and its next acquisition left a surplus entry each time, for
/// the whole retention.
#[test]
fn p9_keys_that_are_forgotten_and_purged_each_time_do_not_fill_the_index() {
    let index = Index::new(0, NOW);
    for round in 0..20_000 {
        let now = NOW + round * 3_000_000;
        put(&index, "k", slot(now + 7 * DAY, 1));
        put(&index, "k", slot(now, 1));
        purge(&index, now, 512);
    }
    assert!(entries(&index) <= 2 * SLACK, "{} entries of one record", entries(&index));
    // Records are still purged at their time.
    put(&index, "k", slot(NOW + 30 * DAY, 1));
    for number in 0..1_000 {
        put(&index, &format!("k {number}"), slot(NOW + 30 * DAY + number * 60_000_000, 1));
    }
    for minutes in 0..31 * 24 * 60 {
        purge(&index, NOW + minutes * 60_000_000, 512);
        assert!(index.len() > 1_000 || minutes >= 30 * 24 * 60, "purged too early");
    }
    assert_eq!((index.len(), entries(&index)), (0, 0));
}
