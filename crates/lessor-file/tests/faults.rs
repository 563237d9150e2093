//! Failing calls and a full disk: acknowledged writes stay, errors are truthful, and a log that is
//! opened again works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, LeaseId, Store, StoreError};
use lessor_file::{FileStore, Settings, SyncMode};
use lessor_simdisk::{Call, CallKind, Fault, SimDisk, When};
use lessor_testkit::ManualClock;
use support::changes::Action::{self, Acquire, Complete, Extend, Fail, Release};
use support::check::Check;
use support::gate::Gate;
use support::observed::Observed;
use support::work::{Op, Work, key, tiny};
use support::{Campaign, number_from_env};

mod support;

const WORKLOADS: [&[Op]; 4] = [
    &[Op::On(Acquire, "a"), Op::On(Complete, "a"), Op::On(Acquire, "b")],
    &[Op::On(Acquire, "a"), Op::Compact, Op::On(Release, "a"), Op::On(Acquire, "a")],
    &[Op::On(Acquire, "a"), Op::Reopen, Op::On(Fail, "a"), Op::On(Acquire, "a")],
    &[Op::On(Acquire, "a"), Op::On(Complete, "a"), Op::Purge, Op::Compact, Op::On(Acquire, "a")],
];

/// Returns the workloads that meet each fault at each call. `LESSOR_FAULT_CASES` sets their number,
/// default 1.
fn workloads() -> impl Iterator<Item = &'static [Op]> {
    let count = number_from_env("LESSOR_FAULT_CASES", 1) as usize;
    WORKLOADS.iter().rev().take(count).copied()
}

fn fail_each_call(sync: SyncMode) {
    let settings = tiny(sync);
    let (campaign, check) = (Campaign::from_env("failing calls"), Check::from_env(&settings));
    for ops in workloads() {
        campaign.each_failing_call(
            SimDisk::new,
            |disk| Work::run(disk, &settings, Observed::default(), ops),
            |image, observed| match sync {
                SyncMode::Disk => check.opens(image, observed).map(drop),
                _ => check.prefix(image, observed),
            },
        );
    }
}

#[test]
fn p5_a_failing_call_loses_no_acknowledged_write() {
    fail_each_call(SyncMode::Disk);
}

#[test]
fn a_failing_call_loses_only_the_latest_unsynced_writes() {
    fail_each_call(SyncMode::Process);
}

fn begin(disk: &SimDisk) -> Work<'_> {
    Work::open(disk, &tiny(SyncMode::Disk), Observed::default())
        .unwrap_or_else(|(error, _)| panic!("{error}"))
}

/// Performs an action and returns the error.
fn refused(work: &mut Work<'_>, act: Action, name: &str) -> Option<StoreError> {
    let key = key(name);
    let seen = work.load(&key).unwrap();
    work.write(act, &key, &seen).err()
}

#[test]
fn after_a_failed_sync_nothing_is_written_until_the_log_is_opened_again() {
    let disk = SimDisk::new();
    let mut work = begin(&disk);
    // The next segment exists, so that the failing sync is one of the log itself.
    while disk.file_names().iter().all(|name| name != "segment-0000000002")
        || disk.durable_bytes("segment-0000000002").len() < 8 << 10
    {
        std::thread::yield_now();
    }
    assert!(refused(&mut work, Acquire, "a").is_none());
    disk.fail(When::nth(CallKind::Sync, disk.calls_of(CallKind::Sync) + 1).from_then_on(), Fault::SyncLost);
    let error = refused(&mut work, Acquire, "b");
    let Some(StoreError::Indeterminate(cause)) = &error else { panic!("{error:?}") };
    assert!(cause.source().is_some_and(|source| source.is::<std::io::Error>()), "{cause:?}");
    disk.clear_faults();
    let error = refused(&mut work, Complete, "a");
    let Some(StoreError::Unavailable(cause)) = &error else { panic!("{error:?}") };
    assert!(cause.source().is_some_and(|source| source.is::<std::io::Error>()), "{cause:?}");
    work.reopen().unwrap();
    assert!(refused(&mut work, Complete, "a").is_none());
    let check = Check::from_env(&tiny(SyncMode::Disk));
    check.whole(&disk.crash().image_lost(), &work.observed).unwrap();
}

/// Fills the disk with granted leases until a grant is refused. Returns their number.
fn fill(disk: &SimDisk, work: &mut Work<'_>) -> usize {
    disk.set_capacity(Some(disk.used() + 3 * 4_096));
    for number in 0..200 {
        match refused(work, Acquire, &format!("lease {number}")) {
            None => {}
            Some(StoreError::Full(_)) => return number,
            Some(other) => panic!("{other}"),
        }
    }
    panic!("the disk never was full");
}

#[test]
fn on_a_full_disk_grants_are_refused_and_holders_can_still_finish() {
    for act in [Complete, Fail, Extend, Release] {
        let disk = SimDisk::new();
        let mut work = begin(&disk);
        work.bytes = 40;
        let held = fill(&disk, &mut work);
        assert!(held > 4, "only {held} leases fitted");
        // Half of a segment is reserved for outcomes of one sector each. A lease that ends frees
        // its space.
        let mut granted = 0;
        for number in 0..3 {
            let error = refused(&mut work, act, &format!("lease {number}"));
            assert!(error.is_none(), "{act:?} of lease {number}: {error:?}");
            match refused(&mut work, Acquire, &format!("another {number}")) {
                Some(StoreError::Full(_)) => {}
                None => granted += 1,
                Some(other) => panic!("{act:?}: {other}"),
            }
        }
        let most = if act == Extend { 0 } else { 3 };
        assert!(granted <= most, "{granted} leases were granted on a full disk after {act:?} of three");
        if act != Extend {
            for number in 3..held {
                let error = refused(&mut work, act, &format!("lease {number}"));
                assert!(error.is_none(), "{act:?} of lease {number} of {held}: {error:?}");
            }
        }
        // The log is not poisoned: with space on the disk it continues.
        disk.set_capacity(None);
        let granted = (0..10_000).any(|_| {
            let is_granted = refused(&mut work, Acquire, "late").is_none();
            if !is_granted {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            is_granted
        });
        assert!(granted, "no lease was granted although the disk has space again");
        let check = Check::from_env(&tiny(SyncMode::Disk));
        check.whole(&disk.crash().image_lost(), &work.observed).unwrap();
    }
}

#[test]
fn p5_a_log_on_a_full_disk_survives_crashes_and_opens_with_space() {
    let settings = tiny(SyncMode::Disk);
    let check = Check::from_env(&settings);
    for extra in 0..24 {
        let disk = SimDisk::new();
        let mut work = begin(&disk);
        disk.set_capacity(Some(disk.used() + extra * 1_024));
        for number in 0..30 {
            let name = support::work::KEYS[number % 3];
            let act = [Acquire, Complete, Action::Forget][number / 3 % 3];
            match refused(&mut work, act, name) {
                None | Some(StoreError::Full(_)) => {}
                Some(other) => panic!("{other}"),
            }
        }
        let observed = work.observed.clone();
        for image in disk.crash().images(6, 8, extra) {
            image.set_capacity(None);
            check.whole(&image, &observed).unwrap();
        }
        assert_eq!(work.store().durability(), lessor_core::Durability::Disk);
    }
}

/// Waits until the lease is granted. The log retries what it needs for that.
fn granted(engine: &Engine, key: &str) {
    for _ in 0..60_000 {
        match engine.acquire(key).wait() {
            Ok(Acquisition::Acquired(lease)) => return lease.complete(&1).wait().map(drop).unwrap(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(
                matches!(error, Error::Store(StoreError::Unavailable(_) | StoreError::Full(_))),
                "{error}"
            ),
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("{key} was never granted although nothing fails any more");
}

/// While the next segment was made, a lack of file descriptors or a limit of the file size stopped
/// all writes for good, although no write or sync of the log itself had failed.
#[test]
fn p5_a_segment_that_cannot_be_made_ahead_does_not_stop_writes() {
    for (kind, fault) in [
        (CallKind::Create, Fault::TooManyFiles),
        (CallKind::Create, Fault::Io),
        (CallKind::Create, Fault::Full),
        (CallKind::Write, Fault::TooLarge),
        (CallKind::Remove, Fault::Io),
        (CallKind::SyncFolder, Fault::SyncLost),
    ] {
        let disk = SimDisk::new();
        let gate = Gate::before(&disk, CallKind::Create, "segment-0000000002");
        gate.shut();
        let builder = FileStore::builder().settings(tiny(SyncMode::Disk)).clock(Arc::new(ManualClock::new()));
        let engine = Engine::new(Arc::new(builder.open_on(Arc::new(disk.clone())).unwrap())).unwrap();
        let Acquisition::Acquired(lease) = engine.acquire("held").wait().unwrap() else { panic!() };
        gate.wait_for_one();
        let next = disk.calls_of(kind) + u64::from(kind != CallKind::Create);
        if kind == CallKind::Remove {
            disk.fail(When::nth(CallKind::Write, disk.calls_of(CallKind::Write) + 1), Fault::Full);
        }
        disk.fail(When::nth(kind, next), fault);
        gate.open();
        // The first call is that of the maintenance thread.
        while disk.calls_of(kind) < next {
            std::thread::yield_now();
        }
        // The holder is not affected, and other callers only during the fault.
        lease.complete(&1).wait().unwrap_or_else(|error| panic!("{kind:?} {fault:?}: {error}"));
        (0..20).for_each(|number| granted(&engine, &format!("{number}")));
        assert!(engine.close(Duration::MAX).wait().unwrap().is_complete(), "{kind:?} {fault:?}");
    }
}

fn open(disk: &SimDisk, settings: &Settings) -> (Arc<FileStore>, Engine) {
    let builder = FileStore::builder().settings(settings.clone()).clock(Arc::new(ManualClock::new()));
    let store = Arc::new(builder.open_on(Arc::new(disk.clone())).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    (store, engine)
}

/// Grants leases, and keeps them from being dropped.
fn hold(engine: &Engine, leases: usize) -> Vec<(String, LeaseId)> {
    let hold = |number| {
        let key = format!("job {number}");
        let Acquisition::Acquired(lease) = engine.acquire(&key).ttl(HOUR).wait().unwrap() else { panic!() };
        let lease_id = *lease.lease_id();
        std::mem::forget(lease);
        (key, lease_id)
    };
    (0..leases).map(hold).collect()
}

fn is_full(engine: &Engine, key: &str) -> bool {
    matches!(engine.acquire(key).wait(), Err(Error::Store(StoreError::Full(_))))
}

const HOUR: Duration = Duration::from_secs(3600);

/// Half of a segment was reserved for outcomes, whatever their number. The next opening needed
/// space for its own segment. On a full disk it failed, and the log could not even be read.
#[test]
fn p5_all_holders_finish_on_a_full_disk_even_after_a_restart() {
    const LEASES: usize = 2_000;
    for is_closed in [false, true] {
        for restarts in [0, 1, 3] {
            let mut disk = SimDisk::new();
            let (mut store, mut engine) = open(&disk, &Settings::default());
            let held = hold(&engine, LEASES);
            let mut full = None;
            for _ in 0..restarts {
                if is_closed {
                    store.close().unwrap();
                } else {
                    disk = disk.fork();
                }
                // From the first time on, no other user takes the space that an opening frees.
                disk.set_capacity(Some(*full.get_or_insert(disk.used())));
                (store, engine) = open(&disk, &Settings::default());
                assert!(is_full(&engine, "another"), "closed: {is_closed}, restarts: {restarts}");
            }
            disk.set_capacity(Some(full.unwrap_or(disk.used())));
            let result = "x".repeat(250);
            for (key, lease_id) in &held {
                let held = engine.lease_handle(key, *lease_id).unwrap();
                held.complete_bytes(result.as_bytes()).wait().unwrap_or_else(|error| {
                    panic!("closed: {is_closed}, restarts: {restarts}, {key}: {error}")
                });
            }
            assert!(engine.result("job 1").wait().unwrap().is_some());
            // With space on the disk the log continues.
            disk.set_capacity(None);
            granted(&engine, "another");
            drop(store);
        }
    }
}

/// The reserved space is allocated and synced, so that it survives a power loss.
#[test]
fn p5_holders_finish_on_a_full_disk_after_a_power_loss() {
    let disk = SimDisk::new();
    let (_store, engine) = open(&disk, &Settings::default());
    let held = hold(&engine, 300);
    for image in disk.crash().images(4, 4, 7) {
        image.set_capacity(Some(image.used()));
        let (_store, engine) = open(&image, &Settings::default());
        for (key, lease_id) in &held {
            engine.lease_handle(key, *lease_id).unwrap().complete(&1).wait().unwrap();
        }
    }
}

/// As above, without any space and without leases: the log can at least be read, and nothing is
/// lost.
#[test]
fn p5_a_log_opens_on_a_disk_without_any_space() {
    for is_closed in [true, false] {
        let mut disk = SimDisk::new();
        let (store, engine) = open(&disk, &tiny(SyncMode::Disk));
        (0..30).for_each(|number| granted(&engine, &format!("{number}")));
        if is_closed {
            store.close().unwrap();
        } else {
            disk = disk.fork();
            // Not even the next segment is left.
            let last =
                disk.file_names().into_iter().filter(|name| name.starts_with("segment-")).max().unwrap();
            if !disk.bytes(&last).starts_with(b"LESSORsg") {
                disk.delete(&last);
            }
        }
        for _ in 0..3 {
            disk.set_capacity(Some(disk.used()));
            let (store, engine) = open(&disk, &tiny(SyncMode::Disk));
            for number in 0..30 {
                assert!(engine.result(&format!("{number}")).wait().unwrap().is_some(), "{number}");
            }
            if is_closed {
                assert!(is_full(&engine, "another"));
            }
            store.close().unwrap();
        }
        disk.set_capacity(None);
        let (store, engine) = open(&disk, &tiny(SyncMode::Disk));
        granted(&engine, "another");
        store.close().unwrap();
        let (_store, engine) = open(&disk.crash().image_lost(), &tiny(SyncMode::Disk));
        assert!(engine.result("another").wait().unwrap().is_some());
    }
}

/// Once the disk has space, a log that was opened without any continues.
#[test]
fn a_log_that_was_opened_without_space_continues_once_there_is_some() {
    let disk = SimDisk::new();
    let (store, engine) = open(&disk, &tiny(SyncMode::Disk));
    granted(&engine, "first");
    store.close().unwrap();
    disk.set_capacity(Some(disk.used()));
    let (_store, engine) = open(&disk, &tiny(SyncMode::Disk));
    assert!(is_full(&engine, "another"));
    disk.set_capacity(None);
    (0..40).for_each(|number| granted(&engine, &format!("another {number}")));
    let image = disk.crash().image_lost();
    let (_store, engine) = open(&image, &tiny(SyncMode::Disk));
    for number in 0..40 {
        assert!(engine.result(&format!("another {number}")).wait().unwrap().is_some());
    }
    assert!(engine.result("first").wait().unwrap().is_some());
}

/// Sends a message when it is woken.
struct Sends(mpsc::Sender<()>);

impl Wake for Sends {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap();
    }
}

/// A grant that waits for the next segment is woken, and returns an error, when the segment cannot
/// be made.
#[test]
fn p5_a_grant_that_waits_for_space_is_woken_when_no_segment_can_be_made() {
    let disk = SimDisk::new();
    let gate = Gate::before(&disk, CallKind::Create, "segment-0000000002");
    gate.shut();
    let builder = FileStore::builder().settings(tiny(SyncMode::Disk)).clock(Arc::new(ManualClock::new()));
    let engine = Engine::new(Arc::new(builder.open_on(Arc::new(disk.clone())).unwrap())).unwrap();
    gate.wait_for_one();
    // A segment that is being made already counts.
    disk.fail(When::nth(CallKind::Create, disk.calls_of(CallKind::Create)).from_then_on(), Fault::Io);
    // Of the seven sectors of the segment, grants leave four while there is no other segment, and
    // two for the lease.
    let _lease = engine.acquire("lease").wait().unwrap();
    let mut waits = engine.acquire("one more").send();
    let (sender, woken) = mpsc::channel();
    let waker = Waker::from(Arc::new(Sends(sender)));
    let mut context = Context::from_waker(&waker);
    assert!(Pin::new(&mut waits).poll(&mut context).is_pending());
    gate.open();
    // The future is not polled meanwhile: a poll would notice the error without a wake-up.
    woken.recv_timeout(Duration::from_secs(60)).expect("the grant is woken");
    let error = waits.wait().unwrap_err();
    assert!(error.to_string().contains("until a segment of the log can be made"), "{error}");
    disk.clear_faults();
    granted(&engine, "in the end");
}

/// A compaction continues in the next segment while the one after it is made. When that failed, for
/// example on a full disk, the compaction was given up, although it would have freed space.
#[test]
fn p5_a_log_is_compacted_although_no_next_segment_can_be_made() {
    let disk = SimDisk::new();
    let mut work = begin(&disk);
    for number in 0..6 {
        assert!(refused(&mut work, Acquire, &format!("lease {number}")).is_none());
    }
    while disk.durable_bytes("segment-0000000002").len() < 8 << 10 {
        std::thread::yield_now();
    }
    let on = disk.clone();
    disk.on_call(Some(Arc::new(move |call: Call| {
        if call.kind == CallKind::Create && call.file.starts_with("segment-") {
            on.fail(When::call(call.number), Fault::Full);
        }
    })));
    work.store().compact().unwrap();
    assert!(!disk.file_names().iter().any(|name| name == "segment-0000000001"), "it is still there");
    let check = Check::from_env(&tiny(SyncMode::Disk));
    check.whole(&disk.crash().image_lost(), &work.observed).unwrap();
}
