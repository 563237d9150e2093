//! Calls that fail, and a disk that is full: what was acknowledged stays, what failed is told honestly, and once
//! opened anew the log works again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use lessor_core::{Engine, Store, StoreError};
use lessor_log::vfs::sim::{CallKind, Fault, SimDisk, When};
use lessor_log::{Opener, Sync};
use lessor_testkit::ManualClock;
use support::check::Check;
use support::gate::Gate;
use support::scribe::Act::{self, Acquire, Complete, Extend, Fail, Release};
use support::told::Told;
use support::work::{Op, Work, key, tiny};
use support::{Campaign, number_from_env};

mod support;

const WORKLOADS: [&[Op]; 4] = [
    &[Op::On(Acquire, "a"), Op::On(Complete, "a"), Op::On(Acquire, "b")],
    &[Op::On(Acquire, "a"), Op::Compact, Op::On(Release, "a"), Op::On(Acquire, "a")],
    &[Op::On(Acquire, "a"), Op::Reopen, Op::On(Fail, "a"), Op::On(Acquire, "a")],
    &[Op::On(Acquire, "a"), Op::On(Complete, "a"), Op::Purge, Op::Compact, Op::On(Acquire, "a")],
];

/// How many of the workloads meet each fault at each call: the environment's `LESSOR_FAULT_CASES`, by default 1.
fn workloads() -> impl Iterator<Item = &'static [Op]> {
    let count = number_from_env("LESSOR_FAULT_CASES", 1) as usize;
    WORKLOADS.iter().rev().take(count).copied()
}

fn fail_each_call(sync: Sync) {
    let settings = tiny(sync);
    let (campaign, check) = (Campaign::from_env("failing calls"), Check::from_env(&settings));
    for ops in workloads() {
        campaign.each_failing_call(
            SimDisk::new,
            |disk| Work::run(disk, &settings, Told::default(), ops),
            |image, told| match sync {
                Sync::Disk => check.opens(image, told).map(drop),
                Sync::Process => check.prefix(image, told),
            },
        );
    }
}

#[test]
fn p5_a_failing_call_loses_nothing_that_was_acknowledged() {
    fail_each_call(Sync::Disk);
}

#[test]
fn a_failing_call_loses_the_last_of_what_was_not_synced_and_nothing_else() {
    fail_each_call(Sync::Process);
}

fn begin(disk: &SimDisk) -> Work<'_> {
    Work::open(disk, &tiny(Sync::Disk), Told::default()).unwrap_or_else(|(error, _)| panic!("{error}"))
}

/// Does it, and says how it was refused.
fn refused(work: &mut Work<'_>, act: Act, name: &str) -> Option<StoreError> {
    let key = key(name);
    let seen = work.load(&key).unwrap();
    work.write(act, &key, &seen).err()
}

#[test]
fn after_a_failed_sync_nothing_is_written_until_the_log_is_opened_anew() {
    let disk = SimDisk::new();
    let mut work = begin(&disk);
    assert!(refused(&mut work, Acquire, "a").is_none());
    disk.fail(When::nth(CallKind::Sync, disk.calls_of(CallKind::Sync) + 1).from_then_on(), Fault::SyncLost);
    let error = refused(&mut work, Acquire, "b");
    assert!(matches!(error, Some(StoreError::Indeterminate { .. })), "{error:?}");
    disk.clear_faults();
    let error = refused(&mut work, Complete, "a");
    assert!(matches!(error, Some(StoreError::Unavailable { .. })), "{error:?}");
    work.reopen().unwrap();
    assert!(refused(&mut work, Complete, "a").is_none());
    let check = Check::from_env(&tiny(Sync::Disk));
    check.whole(&disk.crash().image_lost(), &work.told).unwrap();
}

/// Fills the disk up with granted leases until a grant is refused; returns how many there are.
fn fill(disk: &SimDisk, work: &mut Work<'_>) -> usize {
    disk.set_capacity(Some(disk.used() + 3 * 4_096));
    for number in 0..200 {
        match refused(work, Acquire, &format!("lease {number}")) {
            None => {}
            Some(StoreError::Full { .. }) => return number,
            Some(other) => panic!("{other}"),
        }
    }
    panic!("the disk never was full");
}

#[test]
fn on_a_full_disk_grants_are_refused_first_and_holders_can_still_finish() {
    for act in [Complete, Fail, Extend, Release] {
        let disk = SimDisk::new();
        let mut work = begin(&disk);
        work.bytes = 40;
        let held = fill(&disk, &mut work);
        assert!(held > 4, "only {held} leases fitted");
        // Half of a segment is kept for them: each takes a sector.
        for number in 0..3 {
            let error = refused(&mut work, act, &format!("lease {number}"));
            assert!(error.is_none(), "{act:?} of lease {number}: {error:?}");
            let grant = refused(&mut work, Acquire, &format!("another {number}"));
            assert!(matches!(grant, Some(StoreError::Full { .. })), "{act:?}: {grant:?}");
        }
        // Nothing was poisoned: with room, the log goes on by itself.
        disk.set_capacity(None);
        let granted = (0..10_000).any(|_| {
            let is_granted = refused(&mut work, Acquire, "late").is_none();
            if !is_granted {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            is_granted
        });
        assert!(granted, "no lease was granted although there is room again");
        let check = Check::from_env(&tiny(Sync::Disk));
        check.whole(&disk.crash().image_lost(), &work.told).unwrap();
    }
}

#[test]
fn p5_a_log_on_a_full_disk_survives_crashes_and_opens_with_room() {
    let settings = tiny(Sync::Disk);
    let check = Check::from_env(&settings);
    for room in 0..24 {
        let disk = SimDisk::new();
        let mut work = begin(&disk);
        disk.set_capacity(Some(disk.used() + room * 1_024));
        for number in 0..30 {
            let name = support::work::KEYS[number % 3];
            let act = [Acquire, Complete, Act::Forget][number / 3 % 3];
            match refused(&mut work, act, name) {
                None | Some(StoreError::Full { .. }) => {}
                Some(other) => panic!("{other}"),
            }
        }
        let told = work.told.clone();
        for image in disk.crash().images(6, 8, room) {
            image.set_capacity(None);
            check.whole(&image, &told).unwrap();
        }
        assert_eq!(work.store().durability(), lessor_core::Durability::Disk);
    }
}

/// Those who wait for the next segment hear of it when it cannot be made.
#[test]
fn who_waits_for_room_is_told_when_none_can_be_made() {
    let disk = SimDisk::new();
    let gate = Gate::before(&disk, CallKind::Create, "segment-0000000002");
    gate.shut();
    let opener = Opener::new().settings(tiny(Sync::Disk)).clock(Arc::new(ManualClock::new()));
    let engine = Engine::new(Arc::new(opener.open_on(Arc::new(disk.clone())).unwrap())).unwrap();
    gate.wait_for_one();
    // One that is being made already counts.
    disk.fail(When::nth(CallKind::Create, disk.calls_of(CallKind::Create)).from_then_on(), Fault::Io);
    // Of the segment's seven sectors, grants leave four to holders while there is no other.
    let _leases: Vec<_> =
        (0..3).map(|number| engine.acquire(&format!("lease {number}")).wait().unwrap()).collect();
    let mut waits = engine.acquire("one more").send();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut waits).poll(&mut context).is_pending());
    gate.open();
    let error = waits.wait().unwrap_err();
    assert!(error.to_string().contains("making a segment"), "{error}");
}
