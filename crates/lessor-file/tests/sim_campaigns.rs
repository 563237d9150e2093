//! The campaigns find what they are for, shown on a list of bytes in a file: each byte is 512 bytes long, so that no
//! tear goes unnoticed, and is told once it is synced.
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
struct Careless {
    folder: bool,
    sync: bool,
    failed_sync: bool,
}

/// Writes 1, 2 and 3 and says how many of them are there for ever.
fn write(disk: &SimDisk, careless: Careless) -> usize {
    let mut told = 0;
    // Which call failed does not matter; what was told does.
    let _ = try_to_write(disk, careless, &mut told);
    told
}

fn try_to_write(disk: &SimDisk, careless: Careless, told: &mut usize) -> io::Result<()> {
    let file = disk.create("list")?;
    if !careless.folder {
        disk.sync_folder()?;
    }
    for number in 0..3 {
        let bytes = [number + 1; 512];
        let mut done = 0;
        while done < bytes.len() {
            done += file.write_at(&bytes[done..], u64::from(number) * 512 + done as u64)?;
        }
        if !careless.sync && file.sync().is_err() {
            if !careless.failed_sync {
                return Ok(());
            }
            file.sync()?;
        }
        *told = usize::from(number) + 1;
    }
    Ok(())
}

fn has_what_was_told(disk: &SimDisk, told: &usize) -> Result<(), String> {
    let there = match disk.open("list") {
        Ok(_) => disk
            .bytes("list")
            .chunks(512)
            .zip(1..)
            .take_while(|(chunk, number)| *chunk == [*number; 512])
            .count(),
        Err(_) => 0,
    };
    if there < *told { Err(format!("{told} were told, {there} are there")) } else { Ok(()) }
}

fn lose_power(careless: Careless) {
    Campaign::from_env("power losses").each_power_loss(
        SimDisk::new,
        |disk| write(disk, careless),
        has_what_was_told,
    );
}

fn fail(careless: Careless) {
    Campaign::from_env("failing calls").each_failing_call(
        SimDisk::new,
        |disk| write(disk, careless),
        has_what_was_told,
    );
}

fn kill(careless: Careless) {
    Campaign::from_env("kills").each_kill(SimDisk::new, |disk| write(disk, careless), has_what_was_told);
}

#[test]
fn who_syncs_before_telling_loses_nothing() {
    lose_power(Careless::default());
    fail(Careless::default());
    kill(Careless::default());
}

#[test]
fn who_does_not_sync_loses_nothing_when_killed() {
    kill(Careless { sync: true, folder: true, failed_sync: true });
}

#[test]
#[should_panic(expected = "1 were told, 0 are there")]
fn who_does_not_sync_is_found() {
    lose_power(Careless { sync: true, ..Careless::default() });
}

#[test]
#[should_panic(expected = "1 were told, 0 are there")]
fn who_does_not_sync_the_folder_is_found() {
    lose_power(Careless { folder: true, ..Careless::default() });
}

#[test]
#[should_panic(expected = "SyncLost at call")]
fn who_syncs_again_after_a_failed_sync_is_found() {
    fail(Careless { failed_sync: true, ..Careless::default() });
}
