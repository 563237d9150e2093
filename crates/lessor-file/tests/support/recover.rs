//! Opens a log whose files were changed arbitrarily. It is refused, or its records can be read and
//! stay.

use std::sync::{Arc, OnceLock};

use lessor_core::{Store, StoreError};
use lessor_file::check::{self, TruncateFrom};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;

use crate::small::{self, Story};

/// The result of opening a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Recovered {
    Opened,
    Refused,
}

/// The bytes that determine the changes.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn below(&mut self, most: usize) -> Option<usize> {
        let number = usize::from(self.byte()?) << 8 | usize::from(self.byte()?);
        Some(if most == 0 { 0 } else { number % most })
    }

    fn some(&mut self, count: usize) -> &'b [u8] {
        let (now, later) = self.0.split_at(count.min(self.0.len()));
        self.0 = later;
        now
    }
}

/// Returns a closed log and a killed one.
fn logs() -> &'static [(SimDisk, ManualClock); 2] {
    static LOGS: OnceLock<[(SimDisk, ManualClock); 2]> = OnceLock::new();
    LOGS.get_or_init(|| {
        let make = || {
            let mut story = Story::begin();
            story.some("1");
            story.compact();
            story.some("2");
            story
        };
        let (closed, clock, _) = make().close();
        let (killed, other, _) = make().kill();
        [(closed, clock), (killed, other)]
    })
}

pub(crate) fn recover(bytes: &[u8]) -> Recovered {
    let mut input = Input(bytes);
    let [closed, killed] = logs();
    let (disk, clock) = if input.byte().unwrap_or(0) & 1 == 0 { closed } else { killed };
    let (disk, clock) = (disk.fork(), clock.clone());
    while edit(&disk, &mut input).is_some() {}

    let (lines, report) = match check_all(&disk) {
        Some(read) => read,
        None => return open_result(&disk, &clock),
    };
    if report.is_sound() {
        let store = small::try_open(&disk, &clock).unwrap();
        for line in &lines {
            if line.unknown_field.is_some() {
                let refused = store.load(&line.key).wait();
                assert!(matches!(refused, Err(StoreError::Incompatible(_))), "{refused:?}");
                continue;
            }
            let seen = store.load(&line.key).wait().unwrap();
            let record = seen.record.unwrap();
            assert_eq!((record.version().as_u64(), record.token().as_u64()), (line.version, line.token));
        }
        store.close().unwrap();
        drop(store);
        let (again, report) = small::dump(&disk);
        assert!(report.is_sound(), "{report}");
        let known = |lines: &[check::RecordSummary]| -> Vec<_> {
            lines.iter().map(|line| (line.key.clone(), line.version, line.token, line.lsn)).collect()
        };
        assert_eq!(known(&again), known(&lines));
    }
    open_result(&disk, &clock)
}

/// Verifies, lists and truncates the log. Returns `None` if it could not be read at all.
fn check_all(disk: &SimDisk) -> Option<(Vec<check::RecordSummary>, check::Report)> {
    let mut lines = Vec::new();
    let report = check::dump_on(disk, |line| lines.push(line.clone())).ok()?;
    let cutting = disk.fork();
    if let Ok(Some(_)) = check::truncate_on(&cutting, TruncateFrom::Damage) {
        let report = check::verify_on(&cutting).unwrap();
        assert!(report.is_sound(), "after a cut: {report}");
    }
    Some((lines, report))
}

fn open_result(disk: &SimDisk, clock: &ManualClock) -> Recovered {
    match small::try_open(disk, clock) {
        Ok(store) => {
            let store: Arc<_> = store;
            store.close().unwrap();
            Recovered::Opened
        }
        Err(lessor_core::Error::Store(
            StoreError::Corrupt { .. }
            | StoreError::Incompatible(_)
            | StoreError::Unavailable(_)
            | StoreError::Misconfigured(_),
        )) => Recovered::Refused,
        Err(other) => panic!("{other}"),
    }
}

/// Changes a file as the input determines. Returns `None` at the end of the input.
fn edit(disk: &SimDisk, input: &mut Input<'_>) -> Option<()> {
    let kind = input.byte()?;
    let names = disk.file_names();
    let name = names.get(usize::from(input.byte()?) % names.len().max(1))?;
    let mut bytes = disk.bytes(name);
    let at = input.below(bytes.len())?;
    match kind % 8 {
        0 => overwrite(&mut bytes, at, input),
        1 => bytes.truncate(at),
        2 => {
            let number = input.byte()? % 16;
            let to = if kind & 8 == 0 {
                format!("segment-{number:010}")
            } else {
                format!("checkpoint-{number:010}")
            };
            disk.put(&to, &bytes);
            return Some(());
        }
        3 => {
            disk.delete(name);
            return Some(());
        }
        4 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= kind | 1),
        5 => {
            // Changes a mark or the padding only.
            let end = (at | 511).min(bytes.len().saturating_sub(1));
            bytes.iter_mut().skip(end).take(1).for_each(|byte| *byte = kind);
        }
        6 => {
            overwrite(&mut bytes, at, input);
            seal(disk, &mut bytes, at);
        }
        _ => {
            // Changes a number in a header.
            let at = at / 512 * 512 + usize::from(input.byte()?) % 64;
            overwrite(&mut bytes, at, input);
            seal(disk, &mut bytes, at);
        }
    }
    disk.put(name, &bytes);
    Some(())
}

fn overwrite(bytes: &mut [u8], at: usize, input: &mut Input<'_>) {
    let count = usize::from(input.byte().unwrap_or(0)) % 24 + 1;
    let new = input.some(count);
    bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = *new);
}

/// Corrects the checksums around an offset, so that the fields that they protect are checked.
fn seal(disk: &SimDisk, bytes: &mut [u8], at: usize) {
    let log: Vec<u8> = match disk.file_names().iter().any(|name| name == "superblock") {
        true => disk.bytes("superblock").get(16..32).unwrap_or_default().to_vec(),
        false => Vec::new(),
    };
    for sector in (0..=at / 512).rev() {
        let begin = sector * 512;
        let Some(first) = bytes.get(begin..begin + 512) else { return };
        if first.starts_with(b"LESSORsb") {
            let sum = crc32c::crc32c(&first[..508]);
            bytes[begin + 508..begin + 512].copy_from_slice(&sum.to_le_bytes());
            return;
        }
        if first.starts_with(b"LESSORsg") {
            let sum = crc32c::crc32c(&first[..507]);
            bytes[begin + 507..begin + 511].copy_from_slice(&sum.to_le_bytes());
            return;
        }
        if first.starts_with(b"LSRf") {
            let length = u64::from_le_bytes(first[8..16].try_into().unwrap_or_default());
            let end = usize::try_from(length.div_ceil(511).saturating_mul(512)).unwrap_or(usize::MAX);
            if let Some(body) = bytes.get(begin + 52..begin.saturating_add(end)) {
                let sum = crc32c::crc32c(body);
                bytes[begin + 44..begin + 48].copy_from_slice(&sum.to_le_bytes());
            }
            let sum = crc32c::crc32c_append(crc32c::crc32c(&log), &bytes[begin..begin + 48]);
            bytes[begin + 48..begin + 52].copy_from_slice(&sum.to_le_bytes());
            return;
        }
    }
}
