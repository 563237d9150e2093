//! Damage to the files of a log is reported with its position, or is harmless. No acknowledged
//! write is lost silently, and no wrong data is read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use lessor_core::{Error, StoreError};
use lessor_file::{Settings, SyncMode};
use lessor_simdisk::SimDisk;
use support::changes::Action::{Acquire, Complete, Extend, Fail, Release};
use support::number_from_env;
use support::observed::Observed;
use support::work::{KEYS, Op, Work, key, tiny};

mod support;

struct Left {
    how: &'static str,
    disk: SimDisk,
    observed: Observed,
}

#[derive(Default)]
struct Tally {
    refused: u64,
    harmless: u64,
}

/// Returns logs in different states: closed, killed, with a checkpoint and without.
fn logs() -> Vec<Left> {
    let few = [Op::On(Acquire, "a"), Op::On(Complete, "a"), Op::On(Acquire, "b"), Op::On(Fail, "b")];
    let more = [Op::Compact, Op::On(Acquire, "c"), Op::On(Extend, "c"), Op::On(Release, "c")];
    let reopened = [Op::Reopen, Op::On(Acquire, "c")];
    let kinds: [(&'static str, Vec<Op>, bool); 5] = [
        ("closed", few.to_vec(), true),
        ("killed", few.to_vec(), false),
        ("closed, with a checkpoint", [few, more].concat(), true),
        ("killed, with a checkpoint", [few, more].concat(), false),
        ("killed, opened twice", [few.as_slice(), &reopened].concat(), false),
    ];
    kinds.into_iter().map(|(how, ops, closes)| left(how, &ops, closes)).collect()
}

fn left(how: &'static str, ops: &[Op], closes: bool) -> Left {
    let disk = SimDisk::new();
    let mut work = open(&disk, &Observed::default()).unwrap_or_else(|error| panic!("{error}"));
    // Each result takes more than a sector.
    work.bytes = 700;
    for op in ops {
        work.perform(*op).unwrap();
    }
    if closes {
        work.store().close().unwrap();
    }
    let left = disk.crash().image_kept();
    Left { how, disk: left, observed: work.observed.clone() }
}

fn settings() -> Settings {
    tiny(SyncMode::Disk)
}

fn open<'d>(disk: &'d SimDisk, observed: &Observed) -> Result<Work<'d>, Error> {
    Work::open(disk, &settings(), observed.clone()).map_err(|(error, _)| error)
}

impl Tally {
    /// Checks that everything is there, or that the opening or the reading fails with a position.
    fn check(&mut self, disk: &SimDisk, observed: &Observed, what: &str) {
        let outcome = open(disk, observed).and_then(|mut work| {
            for name in KEYS {
                let seen = lessor_core::Store::load(work.store(), &key(name)).wait()?;
                work.observed.saw(&key(name), &seen).unwrap_or_else(|why| panic!("{what}: {why}"));
            }
            Ok(())
        });
        match outcome {
            Ok(()) => self.harmless += 1,
            Err(Error::Store(StoreError::Corrupt { place, .. })) => {
                assert!(place.contains("a simulated disk/") && place.contains("byte "), "{what}: {place}");
                self.refused += 1;
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }

    fn print(&self, what: &str) {
        println!("{what}: {} were refused, {} did no harm", self.refused, self.harmless);
    }
}

/// Returns the interval of the bits to flip: `LESSOR_FLIP_EVERY`, default 97; 1 for every bit.
fn flip_every() -> u64 {
    number_from_env("LESSOR_FLIP_EVERY", 97).max(1)
}

/// Returns the interval of the lengths to truncate to: `LESSOR_CUT_EVERY`, default 61; 1 for every
/// length.
fn cut_every() -> u64 {
    number_from_env("LESSOR_CUT_EVERY", 61).max(1)
}

fn each_flip(logs: &[Left], every: u64) {
    let mut tally = Tally::default();
    for (Left { how, disk, observed }, nth) in logs.iter().zip(0..) {
        for file in disk.file_names() {
            let bytes = disk.bytes(&file);
            // In sectors of zeros one flip is enough.
            let is_blank = |sector: u64| {
                let begin = sector as usize * 512;
                bytes[begin..bytes.len().min(begin + 512)].iter().all(|byte| *byte == 0)
            };
            let bits = (nth % every..bytes.len() as u64 * 8).step_by(every as usize);
            for bit in bits.filter(|bit| !is_blank(bit / 4096) || bit % 4096 < every) {
                let damaged = disk.fork();
                damaged.flip_bit(&file, bit);
                tally.check(&damaged, observed, &format!("a log, {how}, bit {bit} of {file} flipped"));
            }
        }
    }
    tally.print("single-bit flips");
}

#[test]
fn p5_no_flipped_bit_is_read_or_loses_anything_silently() {
    each_flip(&logs(), flip_every());
}

#[test]
fn p5_no_flipped_bit_in_a_frames_body_is_read() {
    each_flip(&logs()[1..2], 29);
}

#[test]
fn p5_no_truncated_file_loses_anything_silently() {
    let mut tally = Tally::default();
    for Left { how, disk, observed } in logs() {
        for file in disk.file_names() {
            let length = disk.bytes(&file).len() as u64;
            let lengths = (0..length).filter(|length| length % cut_every() == 0 || length % 512 < 2);
            for length in lengths {
                let damaged = disk.fork();
                damaged.truncate(&file, length);
                tally.check(&damaged, &observed, &format!("a log, {how}, {file} cut to {length} bytes"));
            }
        }
    }
    tally.print("cut files");
}

#[test]
fn p5_no_missing_file_loses_anything_silently() {
    let mut tally = Tally::default();
    for Left { how, disk, observed } in logs() {
        for file in disk.file_names() {
            let damaged = disk.fork();
            damaged.delete(&file);
            tally.check(&damaged, &observed, &format!("a log, {how}, without {file}"));
        }
    }
    tally.print("files taken away");
}

#[test]
fn p5_a_file_of_another_log_is_refused() {
    let mut tally = Tally::default();
    for (Left { how, disk, observed }, other) in logs().iter().zip(logs()) {
        for file in disk.file_names().iter().filter(|file| other.disk.file_names().contains(file)) {
            let damaged = disk.fork();
            damaged.put(file, &other.disk.bytes(file));
            tally.check(&damaged, observed, &format!("a log, {how}, with another's {file}"));
        }
    }
    tally.print("files of another log");
}

#[test]
fn p5_a_file_under_the_name_of_another_is_refused() {
    let mut tally = Tally::default();
    for Left { how, disk, observed } in logs() {
        let names = disk.file_names();
        for (one, other) in names.iter().flat_map(|one| names.iter().map(move |other| (one, other))) {
            let damaged = disk.fork();
            damaged.put(one, &disk.bytes(other));
            damaged.put(other, &disk.bytes(one));
            tally.check(&damaged, &observed, &format!("a log, {how}, {one} and {other} swapped"));
        }
    }
    tally.print("files swapped");
}

/// An old checkpoint of the same log is well-formed. Records that were written since would be missing from it.
#[test]
fn p5_a_checkpoint_in_the_place_of_a_later_one_is_refused() {
    let disk = SimDisk::new();
    let mut work = open(&disk, &Observed::default()).unwrap();
    let checkpoint =
        || disk.file_names().into_iter().filter(|name| name.starts_with("checkpoint-")).max().unwrap();
    let mut compact = |name| {
        for op in [Op::On(Acquire, name), Op::On(Complete, name), Op::Compact] {
            work.perform(op).unwrap();
        }
        let name = checkpoint();
        (disk.bytes(&name), name)
    };
    let (former, former_name) = compact("a");
    let (_, name) = compact("b");
    assert_ne!(former_name, name);
    work.store().close().unwrap();
    let damaged = disk.fork();
    damaged.put(&name, &former);
    match open(&damaged, &work.observed) {
        Err(Error::Store(StoreError::Corrupt { place, .. })) => assert!(place.contains(&name), "{place}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the log was opened with an old checkpoint"),
    }
}

/// Whole sectors are replaced by zeros, by noise and by other sectors.
#[test]
fn p5_no_overwritten_sector_loses_anything_silently() {
    let mut tally = Tally::default();
    for Left { how, disk, observed } in logs() {
        for file in disk.file_names() {
            let bytes = disk.bytes(&file);
            let used =
                (0..bytes.len() / 512).filter(|at| bytes[at * 512..][..512].iter().any(|byte| *byte != 0));
            for at in used {
                let noise: Vec<u8> =
                    (0..512_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
                for (what, sector) in [("noise", noise), ("its header", bytes[..512].to_vec())] {
                    let mut changed = bytes.clone();
                    changed[at * 512..][..512].copy_from_slice(&sector);
                    let damaged = disk.fork();
                    damaged.put(&file, &changed);
                    tally.check(
                        &damaged,
                        &observed,
                        &format!("a log, {how}, {what} in sector {at} of {file}"),
                    );
                }
            }
        }
    }
    tally.print("sectors overwritten");
}

#[test]
fn p12_files_of_noise_are_refused() {
    let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let mut tally = Tally::default();
    for Left { how, disk, observed } in logs() {
        for file in disk.file_names() {
            for length in [0, 1, 511, 512, 513, 4_096, 20_000] {
                let damaged = disk.fork();
                damaged.put(&file, &noise[..length]);
                tally.check(
                    &damaged,
                    &observed,
                    &format!("a log, {how}, {length} bytes of noise for {file}"),
                );
            }
        }
        for name in [
            "segment-0000000000",
            "segment-9999999999",
            "segment-0000000099",
            "checkpoint-0000000077",
            "torn-1",
            "note",
        ] {
            let damaged = disk.fork();
            damaged.put(name, &noise);
            tally.check(&damaged, &observed, &format!("a log, {how}, noise in {name} beside it"));
        }
    }
    tally.print("files of noise");
}
