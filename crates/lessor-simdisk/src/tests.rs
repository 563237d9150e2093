#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use lessor_vfs::{File, Vfs};

use super::*;

mod crash;
mod failed_sync;
mod faults;
mod folder;
mod images;
mod model;
mod tools;

/// Returns a disk with a durable file.
fn with_file(name: &str) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new();
    let file = disk.create(name).unwrap();
    disk.sync_folder().unwrap();
    (disk, file)
}

/// Returns one sector for each letter, filled with it.
fn sectors(letters: &str) -> Vec<u8> {
    letters.bytes().flat_map(|letter| [letter; 512]).collect()
}

/// Returns the results of `look` on each disk after a power loss without tears.
fn after_each_crash<T: Ord>(disk: &SimDisk, look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    disk.crash().images_exhaustive(12).unwrap().map(|image| look(&image)).collect()
}

/// Returns the letters of a file of whole sectors, `.` for one of zeros.
fn letters(disk: &SimDisk, file: &str) -> String {
    let bytes = disk.bytes(file);
    let letter = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector of {file} is torn");
        if sector[0] == 0 { '.' } else { char::from(sector[0]) }
    };
    bytes.chunks(512).map(letter).collect()
}

fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn assert_errno<T: fmt::Debug>(result: io::Result<T>, errno: i32) {
    assert_eq!(result.unwrap_err().raw_os_error(), Some(errno));
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
