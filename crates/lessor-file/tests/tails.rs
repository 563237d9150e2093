//! A process is killed while most of its last segment is unused, or ends in an incomplete frame.
//! The log opens, whatever the size of the rest.
//!
//! History: the rest of the last segment is read in pieces of 1 MiB. The search for frames moved
//! the piece on, and the search for non-zero bytes then started before the piece. A debug build
//! panicked while it opened a sound log. A release build did not notice a torn tail. The truncation
//! of a damaged log had the same fault.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use lessor_core::StoreError;
use lessor_file::check::{self, TruncateFrom, Verdict};
use lessor_file::{Settings, SyncMode};
use lessor_simdisk::SimDisk;
use support::changes::Action::{Acquire, Complete, Extend};
use support::check::Check;
use support::observed::Observed;
use support::work::{Op, Work, tiny};
use support::{Campaign, number_from_env};

mod support;

const MIB: u64 = 1 << 20;
const SEGMENT: &str = "segment-0000000001";

fn settings(sync: SyncMode, first_segment: u64) -> Settings {
    let mut settings = tiny(sync);
    settings.first_segment = first_segment;
    settings.max_segment = first_segment.max(settings.max_segment);
    settings.sync_every = Duration::from_secs(3600);
    settings
}

/// Returns a log that was killed after three writes, which all reached the disk. The last one is
/// not proven.
fn killed(first_segment: u64) -> (SimDisk, Observed) {
    let disk = SimDisk::new();
    let mut work = Work::open(&disk, &settings(SyncMode::Process, first_segment), Observed::default())
        .unwrap_or_else(|(error, _)| panic!("{error}"));
    for op in [Op::On(Acquire, "a"), Op::On(Complete, "a"), Op::On(Acquire, "b")] {
        work.perform(op).unwrap();
    }
    (disk.crash().image_kept(), work.observed.clone())
}

/// Returns the offsets of the frames of the first segment, and the end of the last one.
fn frames(disk: &SimDisk) -> (Vec<u64>, u64) {
    let bytes = disk.bytes(SEGMENT);
    let begins = |at: &u64| bytes[*at as usize..].starts_with(b"LSRf");
    let frames: Vec<u64> = (512..bytes.len() as u64).step_by(512).filter(begins).collect();
    let last = *frames.last().unwrap() as usize;
    let length = u64::from_le_bytes(bytes[last + 8..last + 16].try_into().unwrap());
    (frames, last as u64 + length.div_ceil(511) * 512)
}

/// Returns the size of the rest in MiB, at most: `LESSOR_TAILS`, default 2.
fn mebibytes() -> u64 {
    number_from_env("LESSOR_TAILS", 2).max(1)
}

/// Returns sizes around those at which the reader moves on.
fn sizes() -> Vec<u64> {
    let around = |size: u64| [size - 512, size, size + 512];
    let mut sizes = vec![4096];
    sizes.extend((1..=mebibytes()).flat_map(|n| around(n * MIB)));
    sizes
}

/// Returns a killed log with `rest` bytes after the last frame of its last segment, and their
/// offset.
fn with_rest(rest: u64) -> (SimDisk, Observed, u64) {
    let (disk, _) = killed(MIB);
    let (_, end) = frames(&disk);
    let (disk, observed) = killed(end + rest);
    assert_eq!(disk.bytes(SEGMENT).len() as u64, end + rest);
    (disk, observed, end)
}

fn torn(disk: &SimDisk) -> Option<u64> {
    match check::verify_on(disk).unwrap().verdict {
        Verdict::Sound { torn, .. } => torn.map(|spot| spot.offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p5_a_killed_log_opens_whatever_part_of_its_last_segment_is_unused() {
    let check = Check::from_env(&settings(SyncMode::Disk, MIB));
    for rest in sizes() {
        let (disk, observed, _) = with_rest(rest);
        assert_eq!(torn(&disk), None, "{rest} unused bytes");
        check.whole(&disk, &observed).unwrap_or_else(|why| panic!("{rest} unused bytes: {why}"));
    }
}

/// One sector of a frame is on the disk, and nothing between it and the last whole frame is.
#[test]
fn p5_a_torn_tail_is_found_wherever_it_is() {
    let check = Check::from_env(&settings(SyncMode::Disk, MIB));
    let (disk, observed, end) = with_rest(mebibytes() * MIB + 4096);
    for place in sizes() {
        let left = disk.fork();
        let mut bytes = left.bytes(SEGMENT);
        bytes[(end + place) as usize..][..512].copy_from_slice(&[0xD7; 512]);
        left.put(SEGMENT, &bytes);
        assert_eq!(torn(&left), Some(end), "a sector {place} bytes behind the last frame");
        check.whole(&left, &observed).unwrap_or_else(|why| panic!("a sector at {place}: {why}"));
        let kept = left.bytes(&format!("torn-0000000001-{end}"));
        assert_eq!(kept.len() as u64, place + 512, "what was cut is kept aside");
        assert!(kept[place as usize..] == [0xD7; 512], "what was cut is kept aside");
    }
}

/// A later frame states that a missing frame had been synced.
#[test]
fn p5_a_frame_that_proves_a_loss_is_found_wherever_it_is() {
    let (disk, _, end) = with_rest(mebibytes() * MIB + 4096);
    let (begins, _) = frames(&disk);
    let log = disk.bytes("superblock")[16..32].to_vec();
    let last = *begins.last().unwrap() as usize;
    for place in sizes() {
        let left = disk.fork();
        let mut bytes = left.bytes(SEGMENT);
        let mut sector = bytes[last..][..512].to_vec();
        // The frame after the missing one, which it states to be synced.
        let missing = begins.len() as u64 + 1;
        sector[20..28].copy_from_slice(&(missing + 1).to_le_bytes());
        sector[28..36].copy_from_slice(&missing.to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&log), &sector[..48]);
        sector[48..52].copy_from_slice(&sum.to_le_bytes());
        bytes[(end + place) as usize..][..512].copy_from_slice(&sector);
        left.put(SEGMENT, &bytes);
        let opened = Work::open(&left, &settings(SyncMode::Disk, MIB), Observed::default());
        match opened.map(drop) {
            Err((lessor_core::Error::Store(StoreError::Corrupt { cause, .. }), _)) => {
                assert!(cause.reason().contains("a frame is missing that was synced"), "{cause}");
            }
            other => panic!("a proof {place} bytes behind the last frame: {other:?}"),
        }
    }
}

/// Large frames that were not synced: a power loss may leave any of their sectors.
#[test]
fn a_power_loss_during_large_frames_loses_only_the_latest_unsynced_writes() {
    let settings = settings(SyncMode::Process, 4 * MIB);
    let (campaign, check) = (Campaign::from_env("large tails"), Check::from_env(&settings));
    let disk = SimDisk::new();
    let mut work =
        Work::open(&disk, &settings, Observed::default()).unwrap_or_else(|(error, _)| panic!("{error}"));
    work.bytes = 700 << 10;
    for name in ["a", "b"] {
        for act in [Acquire, Complete] {
            work.perform(Op::On(act, name)).unwrap();
        }
    }
    let (observed, crash) = (work.observed.clone(), disk.crash());
    campaign.check_crash(&crash, 1, "after large frames", |image| check.prefix(image, &observed));
}

/// In a log that is damaged in its first frame, all others are reported as lost.
#[test]
fn a_truncation_finds_every_frame_after_the_damage_however_far_it_is() {
    let disk = SimDisk::new();
    let mut work = Work::open(&disk, &settings(SyncMode::Disk, 8 * MIB), Observed::default())
        .unwrap_or_else(|(error, _)| panic!("{error}"));
    work.bytes = 700 << 10;
    for name in ["a", "b", "c"] {
        for act in [Acquire, Extend, Complete] {
            work.perform(Op::On(act, name)).unwrap();
        }
    }
    let left = disk.fork();
    let (begins, end) = frames(&left);
    assert!(end > 2 * MIB, "{end}");
    left.flip_bit(SEGMENT, (begins[0] + 60) * 8);
    let cut = check::plan_on(&left, TruncateFrom::Damage).unwrap().unwrap();
    assert_eq!(cut.unreadable, [(1, 1)], "{cut}");
    let lost: Vec<u64> = cut.frames.iter().map(|frame| frame.at.offset).collect();
    assert_eq!(lost, begins[1..], "{cut}");
    assert!(cut.frames.iter().all(|frame| frame.keys.is_some()), "{cut}");
    check::truncate_on(&left, TruncateFrom::Damage).unwrap().unwrap();
    assert!(check::verify_on(&left).unwrap().is_sound());
}
