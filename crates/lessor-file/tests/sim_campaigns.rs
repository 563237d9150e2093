//! The campaigns find the faults that they exist for. The example is a list of numbers in a file.
//! Each number is 512 bytes long, so that every tear shows, and is acknowledged once it is synced.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::io;

use lessor_file::vfs::Vfs;
use lessor_simdisk::SimDisk;
use support::Campaign;

mod support;

#[derive(Clone, Copy, Default)]
struct Omissions {
    folder: bool,
    sync: bool,
    failed_sync: bool,
}

/// Writes 1, 2 and 3. Returns the number of acknowledged numbers.
fn write(disk: &SimDisk, omissions: Omissions) -> usize {
    let mut observed = 0;
    // The failing call does not matter, only the acknowledged numbers do.
    let _ = try_to_write(disk, omissions, &mut observed);
    observed
}

fn try_to_write(disk: &SimDisk, omissions: Omissions, observed: &mut usize) -> io::Result<()> {
    let file = disk.create("list")?;
    if !omissions.folder {
        disk.sync_folder()?;
    }
    for number in 0..3 {
        let bytes = [number + 1; 512];
        let mut done = 0;
        while done < bytes.len() {
            done += file.write_at(&bytes[done..], u64::from(number) * 512 + done as u64)?;
        }
        if !omissions.sync && file.sync().is_err() {
            if !omissions.failed_sync {
                return Ok(());
            }
            file.sync()?;
        }
        *observed = usize::from(number) + 1;
    }
    Ok(())
}

fn has_what_was_told(disk: &SimDisk, observed: &usize) -> Result<(), String> {
    let there = match disk.open("list") {
        Ok(_) => disk
            .bytes("list")
            .chunks(512)
            .zip(1..)
            .take_while(|(chunk, number)| *chunk == [*number; 512])
            .count(),
        Err(_) => 0,
    };
    if there < *observed { Err(format!("{observed} were acknowledged, {there} are there")) } else { Ok(()) }
}

fn lose_power(omissions: Omissions) {
    Campaign::from_env("power losses").each_power_loss(
        SimDisk::new,
        |disk| write(disk, omissions),
        has_what_was_told,
    );
}

fn fail(omissions: Omissions) {
    Campaign::from_env("failing calls").each_failing_call(
        SimDisk::new,
        |disk| write(disk, omissions),
        has_what_was_told,
    );
}

fn kill(omissions: Omissions) {
    Campaign::from_env("kills").each_kill(SimDisk::new, |disk| write(disk, omissions), has_what_was_told);
}

#[test]
fn syncing_before_acknowledging_loses_nothing() {
    lose_power(Omissions::default());
    fail(Omissions::default());
    kill(Omissions::default());
}

#[test]
fn a_kill_loses_nothing_without_syncs() {
    kill(Omissions { sync: true, folder: true, failed_sync: true });
}

#[test]
#[should_panic(expected = "1 were acknowledged, 0 are there")]
fn a_missing_sync_is_found() {
    lose_power(Omissions { sync: true, ..Omissions::default() });
}

#[test]
#[should_panic(expected = "1 were acknowledged, 0 are there")]
fn a_missing_sync_of_the_folder_is_found() {
    lose_power(Omissions { folder: true, ..Omissions::default() });
}

#[test]
#[should_panic(expected = "SyncLost at call")]
fn a_repeated_sync_after_a_failed_one_is_found() {
    fail(Omissions { failed_sync: true, ..Omissions::default() });
}
