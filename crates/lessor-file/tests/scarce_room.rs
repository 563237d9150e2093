//! A disk with little room: the log makes the segments that fit, and reports what does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, StoreError};
use lessor_file::{FileStore, Settings};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;

fn open(disk: &SimDisk, settings: &Settings) -> Result<Engine, Error> {
    let opener = FileStore::builder().settings(settings.clone()).clock(Arc::new(ManualClock::new()));
    let limits = lessor_core::Settings::new().max_metadata(1 << 20);
    Engine::with_settings(Arc::new(opener.open_on(Arc::new(disk.clone()))?), limits)
}

/// A new log begins with a segment of 64 KiB, and with a shorter one where there is room for no more.
#[test]
fn p12_a_new_log_makes_do_with_the_room_that_the_disk_has() {
    for kib in [12, 16, 20, 33, 60] {
        let disk = SimDisk::new();
        disk.set_capacity(Some(kib << 10));
        let engine = open(&disk, &Settings::default()).unwrap_or_else(|error| panic!("{kib} KiB: {error}"));
        match engine.acquire("key").wait().unwrap() {
            Acquisition::Acquired(lease) => drop(lease.complete(&kib).wait().unwrap()),
            other => panic!("{kib} KiB: {other:?}"),
        }
    }
}

/// A large lease needs a longer segment than the log would make next. However much room the disk has for it, the caller gets an
/// answer, and the lease is granted where there is room enough.
#[test]
fn p12_a_large_lease_on_a_disk_with_any_amount_of_room_is_granted_or_refused() {
    const LARGE: usize = 60_000;
    let mut settings = Settings::default();
    (settings.first_segment, settings.max_segment) = (4_096, 8_192);
    let mut granted = 0;
    for sectors in (0..8 * LARGE as u64 / 512).step_by(30) {
        let disk = SimDisk::new();
        let engine = open(&disk, &settings).unwrap();
        disk.set_capacity(Some(disk.used() + sectors * 512));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let metadata = serde_json::json!({ "job": "x".repeat(LARGE) });
            let answer = engine.acquire("large").metadata(&metadata).wait();
            sender.send(answer.map(|acquired| matches!(acquired, Acquisition::Acquired(_)))).unwrap();
        });
        match answers.recv_timeout(Duration::from_secs(60)) {
            Ok(Ok(is_granted)) => {
                assert!(is_granted);
                granted += 1;
            }
            Ok(Err(Error::Store(StoreError::Full(_)))) => {
                assert_eq!(granted, 0, "refused with room for {sectors} sectors, granted with less");
            }
            other => panic!("with room for {sectors} sectors: {other:?}"),
        }
    }
    assert!(granted > 0, "the lease was never granted");
}
