//! A log that a newer release has written to: a record with a required field that this release does
//! not know. The log opens, the key is refused by name, and the record stays as it is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/small.rs"]
mod small;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind, Key, LeaseId, OnceError, Store};
use lessor_file::FileStore;
use lessor_file::check::{self, TruncateFrom, Verdict};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;
use small::{Story, dump, open, try_open};

const NEWER: &str = "newer";
const FIELD: u32 = 14;

/// A killed log with a record under [`NEWER`] that has field 14, and one before and behind it; and
/// the record.
fn log() -> (SimDisk, ManualClock, LeaseId, Vec<u8>) {
    let mut story = Story::begin();
    story.done("before", "a receipt");
    story.acquire(NEWER).release().wait().unwrap();
    // The second grant has fields that are high enough for the bits to take two bytes.
    let lease = story.acquire(NEWER);
    let lease_id = *lease.lease_id();
    std::mem::forget(lease);
    let record = story.store.load(&key()).wait().unwrap().record.unwrap().encode();
    story.done("behind", "a receipt");
    let (disk, clock, _) = story.kill();
    let newer = with_field(&disk, &record);
    (disk, clock, lease_id, newer)
}

fn key() -> Key {
    Key::new(NEWER).unwrap()
}

/// Sets the bit of field 14 in the record, wherever the log has it, and makes all checksums fit. The
/// third byte of the bits replaces the first one of the fields, which nobody can read any more.
fn with_field(disk: &SimDisk, record: &[u8]) -> Vec<u8> {
    let mut at = 18;
    for _ in 0..7 {
        at += 1 + record[at..].iter().position(|byte| *byte < 0x80).unwrap();
    }
    assert!(record[at] >= 0x80 && record[at + 1] < 0x40, "two bytes, without the bit");
    let mut newer = record.to_vec();
    newer[at + 1] |= 0x80;
    newer[at + 2] = 1 << (FIELD - 14);
    let mut planted = 0;
    for (name, offset, _) in small::frames(disk) {
        let mut bytes = disk.bytes(&name);
        let frame = usize::try_from(offset).unwrap();
        let sector = &mut bytes[frame..frame + 512];
        let Some(begin) = sector.windows(record.len()).position(|window| window == record) else { continue };
        sector[begin..begin + record.len()].copy_from_slice(&newer);
        let sum = crc32c::crc32c(&[NEWER.as_bytes(), &newer].concat());
        sector[begin - 4..begin].copy_from_slice(&sum.to_le_bytes());
        seal(disk, sector);
        disk.put(&name, &bytes);
        planted += 1;
    }
    assert_eq!(planted, 1, "the record is in one frame");
    newer
}

/// Makes the checksums of a frame of one sector fit.
fn seal(disk: &SimDisk, sector: &mut [u8]) {
    let sum = crc32c::crc32c(&sector[52..]);
    sector[44..48].copy_from_slice(&sum.to_le_bytes());
    let id = &disk.bytes("superblock")[16..32];
    let sum = crc32c::crc32c(&[id, &sector[..48]].concat());
    sector[48..52].copy_from_slice(&sum.to_le_bytes());
}

/// Returns whether any file of the log contains these bytes in one sector.
fn holds(disk: &SimDisk, record: &[u8]) -> bool {
    let mut files = disk.file_names().into_iter().filter(|name| !name.contains("torn"));
    files.any(|name| disk.bytes(&name).windows(record.len()).any(|window| window == record))
}

fn assert_named<T: Debug>(what: &str, answer: Result<T, impl Into<Error>>) {
    let error: Error = answer.map_err(Into::into).expect_err(what);
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Broken, "{what}: {text}");
    for part in ["incompatible", "\"newer\"", "field 14,", "upgrade"] {
        assert!(text.contains(part), "{what}: {part:?} is missing in {text:?}");
    }
}

/// Every operation on the key is refused by name.
fn assert_refused(store: &Arc<FileStore>, lease_id: LeaseId) {
    let engine = Engine::new(store.clone()).unwrap();
    assert_named("load", store.load(&key()).wait());
    assert_named("acquire", engine.acquire(NEWER).wait());
    assert_named("acquire with its own lease id", engine.acquire(NEWER).lease_id(lease_id).wait());
    assert_named("once", engine.once(NEWER).run(|_| Ok::<i32, String>(1)).map_err(refusal_of));
    assert_named("status", engine.status(NEWER).wait());
    assert_named("forget", engine.forget_forced(NEWER).wait());
    assert_named("resolve", engine.resolve(NEWER).released().wait());
    let held = engine.lease_handle(NEWER, lease_id).unwrap();
    assert_named("extend", held.extend(Duration::from_secs(60)).wait());
    assert_named("checkpoint", held.checkpoint("page 7").wait());
    assert_named("complete", held.complete("paid").wait());
    assert_named("fail", held.fail("declined").wait());
    assert_named("release", held.release().wait());
    assert_named("abandon", held.abandon().wait());
    assert_named("list", engine.list().limit(10).wait());
}

fn refusal_of(error: OnceError<i32, String>) -> Error {
    match error {
        OnceError::Engine(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn p4_a_record_with_an_unknown_field_is_refused_by_name_and_stays_as_it_is() {
    let (disk, clock, lease_id, newer) = log();
    let store = open(&disk, &clock);
    assert_refused(&store, lease_id);
    let engine = Engine::new(store.clone()).unwrap();
    for other in ["before", "behind"] {
        let Acquisition::Completed(_) = engine.acquire(other).wait().unwrap() else { panic!("{other}") };
    }
    let page = engine.list().prefix("be").limit(10).wait().unwrap();
    assert_eq!(page.entries.len(), 2, "a listing without the key");

    // Not even the end of its retention has it dropped: what that means, only the newer release
    // knows.
    clock.advance(Duration::from_secs(30 * 86_400));
    engine.purge(1_000).wait().unwrap();
    assert!(store.load(&Key::new("before").unwrap()).wait().unwrap().record.is_none(), "it was due");
    assert_refused(&store, lease_id);
    store.compact().unwrap();
    assert_refused(&store, lease_id);
    store.close().unwrap();
    assert!(holds(&disk, &newer), "it is in the checkpoint");
    let store = open(&disk, &clock);
    assert_refused(&store, lease_id);
    store.close().unwrap();
    assert!(holds(&disk, &newer));
}

#[test]
fn the_check_tool_shows_the_head_of_a_record_with_an_unknown_field_and_cuts_around_it() {
    let (disk, clock, lease_id, newer) = log();
    let (lines, report) = dump(&disk);
    assert!(report.is_sound() && report.newer == 1, "{report}");
    assert!(report.to_string().contains("1 of them were written by a newer lessor"), "{report}");
    let of = |name: &str| lines.iter().find(|line| line.key.as_str() == name).unwrap();
    let line = of(NEWER);
    assert_eq!((line.stage, line.version, line.attempt), ("in_progress", 3, 2));
    assert_eq!((line.unknown_field, of("before").unknown_field), (Some(FIELD), None));

    let cut = check::truncate_on(&disk, TruncateFrom::Lsn(line.lsn + 1)).unwrap().unwrap();
    assert_eq!(cut.keys.iter().map(|lost| lost.key.as_str()).collect::<Vec<_>>(), ["behind"]);
    assert!(holds(&disk, &newer), "a cut keeps it");
    let Verdict::Sound { .. } = check::verify_on(&disk).unwrap().verdict else { panic!() };
    let store = open(&disk, &clock);
    assert_refused(&store, lease_id);
    store.close().unwrap();
}

/// The tokens of a cut count as purged. Those of a newer format cannot be read, so the cut is
/// refused.
#[test]
fn p2_records_of_a_newer_format_are_not_cut() {
    let mut story = Story::begin();
    story.done("first", "a receipt");
    story.done("second", "a receipt");
    let (disk, clock, _) = story.kill();
    let frames = small::frames(&disk);
    let (name, offset, _) = frames.iter().max_by_key(|(_, _, lsn)| *lsn).unwrap();
    let frame = usize::try_from(*offset).unwrap();
    let mut bytes = disk.bytes(name);
    let sector = &mut bytes[frame..frame + 512];
    // Key, length of the record in one byte, checksum, record.
    let at = sector.windows(6).position(|window| window == b"second").unwrap() + 6;
    let (record, length) = (at + 5, usize::from(sector[at]));
    assert!(length < 128 && sector[record] == 1);
    sector[record] = 2;
    let sum = crc32c::crc32c(&[b"second", &sector[record..record + length]].concat());
    sector[record - 4..record].copy_from_slice(&sum.to_le_bytes());
    seal(&disk, sector);
    disk.put(name, &bytes);
    let assert_named = |error: Error| {
        let text = error.to_string();
        for part in ["incompatible", "\"second\"", name, "format 2", "upgrade"] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
    };
    assert_named(try_open(&disk, &clock).err().unwrap());
    assert_named(check::verify_on(&disk).unwrap_err());
    assert_named(check::truncate_on(&disk, TruncateFrom::Damage).unwrap_err());

    // Behind damage as well.
    let (name, offset, _) = frames.iter().min_by_key(|(_, _, lsn)| *lsn).unwrap();
    disk.flip_bit(name, (offset + 60) * 8);
    let Verdict::Damaged(_) = check::verify_on(&disk).unwrap().verdict else { panic!() };
    let before = disk.content_digest();
    assert_named(check::truncate_on(&disk, TruncateFrom::Damage).unwrap_err());
    assert_eq!(disk.content_digest(), before);
}
