//! A process is killed while most of its last segment is unused, or holds what was not written whole. The log opens, whatever the size
//! of that rest.
//!
//! The story: the rest of the last segment is read in pieces of 1 MiB. The search for frames in it moved the piece on, and the look
//! for anything but zeros then began before the piece. A debug build panicked while it opened a sound log; a release build did not
//! notice a tail that was not written whole. The cut of a damaged log had the same fault.
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
use lessor_file::check::{self, Start, Verdict};
use lessor_file::{Settings, SyncMode};
use lessor_simdisk::SimDisk;
use support::check::Check;
use support::scribe::Act::{Acquire, Complete, Extend};
use support::told::Told;
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

/// A log that was killed after three writes, all of which reached the disk. Nothing there says so of the last one.
fn killed(first_segment: u64) -> (SimDisk, Told) {
    let disk = SimDisk::new();
    let mut work = Work::open(&disk, &settings(SyncMode::Process, first_segment), Told::default())
        .unwrap_or_else(|(error, _)| panic!("{error}"));
    for op in [Op::On(Acquire, "a"), Op::On(Complete, "a"), Op::On(Acquire, "b")] {
        work.perform(op).unwrap();
    }
    (disk.crash().image_kept(), work.told.clone())
}

/// Where each frame of the first segment begins, and where the last one ends.
fn frames(disk: &SimDisk) -> (Vec<u64>, u64) {
    let bytes = disk.bytes(SEGMENT);
    let begins = |at: &u64| bytes[*at as usize..].starts_with(b"LSRf");
    let frames: Vec<u64> = (512..bytes.len() as u64).step_by(512).filter(begins).collect();
    let last = *frames.last().unwrap() as usize;
    let length = u64::from_le_bytes(bytes[last + 8..last + 16].try_into().unwrap());
    (frames, last as u64 + length.div_ceil(511) * 512)
}

/// Rests of up to so many MiB are tried: the environment's `LESSOR_TAILS`, by default 2.
fn mebibytes() -> u64 {
    number_from_env("LESSOR_TAILS", 2).max(1)
}

/// Sizes around those at which the reader moves on.
fn sizes() -> Vec<u64> {
    let around = |size: u64| [size - 512, size, size + 512];
    let mut sizes = vec![4096];
    sizes.extend((1..=mebibytes()).flat_map(|n| around(n * MIB)));
    sizes
}

/// A killed log whose last segment has so many bytes behind its last frame, and where these begin.
fn with_rest(rest: u64) -> (SimDisk, Told, u64) {
    let (disk, _) = killed(MIB);
    let (_, end) = frames(&disk);
    let (disk, told) = killed(end + rest);
    assert_eq!(disk.bytes(SEGMENT).len() as u64, end + rest);
    (disk, told, end)
}

fn torn(disk: &SimDisk) -> Option<u64> {
    match check::verify_on(disk).unwrap().verdict {
        Verdict::Sound { torn, .. } => torn.map(|spot| spot.offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p5_a_killed_log_opens_however_much_of_its_last_segment_is_unused() {
    let check = Check::from_env(&settings(SyncMode::Disk, MIB));
    for rest in sizes() {
        let (disk, told, _) = with_rest(rest);
        assert_eq!(torn(&disk), None, "{rest} unused bytes");
        check.whole(&disk, &told).unwrap_or_else(|why| panic!("{rest} unused bytes: {why}"));
    }
}

/// One sector of a frame is on the disk, and whatever was between it and the last whole frame is not.
#[test]
fn p5_a_tail_that_was_not_written_whole_is_found_wherever_it_is() {
    let check = Check::from_env(&settings(SyncMode::Disk, MIB));
    let (disk, told, end) = with_rest(mebibytes() * MIB + 4096);
    for place in sizes() {
        let left = disk.fork();
        let mut bytes = left.bytes(SEGMENT);
        bytes[(end + place) as usize..][..512].copy_from_slice(&[0xD7; 512]);
        left.put(SEGMENT, &bytes);
        assert_eq!(torn(&left), Some(end), "a sector {place} bytes behind the last frame");
        check.whole(&left, &told).unwrap_or_else(|why| panic!("a sector at {place}: {why}"));
        let kept = left.bytes(&format!("torn-0000000001-{end}"));
        assert_eq!(kept.len() as u64, place + 512, "what was cut is kept aside");
        assert!(kept[place as usize..] == [0xD7; 512], "what was cut is kept aside");
    }
}

/// A frame that is further on says that one which is missing had been synced.
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
        // With the number of the frame after the missing one, which it says was synced.
        let missing = begins.len() as u64 + 1;
        sector[20..28].copy_from_slice(&(missing + 1).to_le_bytes());
        sector[28..36].copy_from_slice(&missing.to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&log), &sector[..48]);
        sector[48..52].copy_from_slice(&sum.to_le_bytes());
        bytes[(end + place) as usize..][..512].copy_from_slice(&sector);
        left.put(SEGMENT, &bytes);
        let opened = Work::open(&left, &settings(SyncMode::Disk, MIB), Told::default());
        match opened.map(drop) {
            Err((lessor_core::Error::Store(StoreError::Corrupt { reason, .. }), _)) => {
                assert!(reason.contains("a frame is missing that was synced"), "{reason}");
            }
            other => panic!("a proof {place} bytes behind the last frame: {other:?}"),
        }
    }
}

/// Large frames that were not synced: a power loss may leave any sectors of them.
#[test]
fn a_power_loss_amid_large_frames_takes_the_last_of_what_was_not_synced_and_nothing_else() {
    let settings = settings(SyncMode::Process, 4 * MIB);
    let (campaign, check) = (Campaign::from_env("large tails"), Check::from_env(&settings));
    let disk = SimDisk::new();
    let mut work =
        Work::open(&disk, &settings, Told::default()).unwrap_or_else(|(error, _)| panic!("{error}"));
    work.bytes = 700 << 10;
    for name in ["a", "b"] {
        for act in [Acquire, Complete] {
            work.perform(Op::On(act, name)).unwrap();
        }
    }
    let (told, crash) = (work.told.clone(), disk.crash());
    campaign.check_crash(&crash, 1, "after large frames", |image| check.prefix(image, &told));
}

/// Of a log that is damaged in its first frame, all others are said to be lost.
#[test]
fn a_cut_finds_every_frame_behind_the_damage_however_far_it_is() {
    let disk = SimDisk::new();
    let mut work = Work::open(&disk, &settings(SyncMode::Disk, 8 * MIB), Told::default())
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
    let cut = check::plan_on(&left, Start::Damage).unwrap().unwrap();
    assert_eq!(cut.unreadable, [(1, 1)], "{cut}");
    let lost: Vec<u64> = cut.frames.iter().map(|frame| frame.at.offset).collect();
    assert_eq!(lost, begins[1..], "{cut}");
    assert!(cut.frames.iter().all(|frame| frame.keys.is_some()), "{cut}");
    check::truncate_on(&left, Start::Damage).unwrap().unwrap();
    assert!(check::verify_on(&left).unwrap().is_sound());
}
