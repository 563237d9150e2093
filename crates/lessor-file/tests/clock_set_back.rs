//! Leases do not expire early, and time does not run backwards, over any number of crashes with the
//! wall clock set back.
//!
//! History: the clock is reserved 200 ms ahead of what is written, and an opening starts at the end
//! of the reservation. With the wall clock set back, it started there at once. Each crash shortened
//! every lease by up to 200 ms, and ten crashes by 1.6 s.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::store::CasResult;
use lessor_core::{Clock, LeaseId, Store, SystemClock, Timestamp};
use lessor_file::{FileStore, SyncMode};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;
use support::changes::{self, Action};
use support::number_from_env;
use support::work::{key, tiny};

mod support;

/// Several openings of a log on a machine whose wall clock is set back between them.
struct Lives {
    disk: SimDisk,
    sync: SyncMode,
    wall: ManualClock,
    /// The real time since the lease was granted.
    passed: Duration,
    /// The time of the grant by the clock of the log, and the latest time that was returned.
    granted_at: Timestamp,
    latest: Timestamp,
    random: u64,
}

impl Lives {
    fn new(sync: SyncMode, seed: u64) -> Self {
        let wall = ManualClock::new();
        let disk = SimDisk::new();
        let mut lives = Self {
            disk,
            sync,
            granted_at: wall.now(),
            latest: wall.now(),
            wall,
            passed: Duration::ZERO,
            random: seed,
        };
        let store = lives.open();
        write(&store, "lease", 1);
        let seen = store.load(&key("lease")).wait().unwrap();
        lives.granted_at = seen.record.unwrap().acquired_at();
        lives.killed(&store);
        lives
    }

    fn below(&mut self, most: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % most
    }

    /// The opening may wait, which advances the wall clock.
    fn open(&mut self) -> FileStore {
        let before = self.wall.now();
        let builder = FileStore::builder().settings(tiny(self.sync)).clock(Arc::new(self.wall.clone()));
        let store = builder.open_on(Arc::new(self.disk.clone())).unwrap();
        let waited = self.wall.now().saturating_since(before);
        assert!(waited <= Duration::from_millis(200), "the opening took {waited:?}");
        self.passed += waited;
        store
    }

    /// The process is killed; or the power fails, where no acknowledged write can be lost.
    fn killed(&mut self, store: &FileStore) {
        let left = match (self.sync, self.below(3)) {
            (SyncMode::Disk, 0) => self.disk.crash().image_lost(),
            (SyncMode::Disk, 1) => self.disk.crash().image_random(self.random),
            _ => self.disk.fork(),
        };
        let _ = store.close();
        self.disk = left;
    }

    fn pass(&mut self, time: Duration) {
        self.passed += time;
        self.wall.advance(time);
    }

    /// A relevant amount of time passes.
    fn pass_some(&mut self) {
        let micros = match self.below(4) {
            0 => 0,
            1 => self.below(2_000),
            2 => self.below(180_000),
            _ => self.below(420_000),
        };
        self.pass(Duration::from_micros(micros));
    }

    /// Checks that the clock of the log advanced by no more than the real time, and not backwards.
    fn look(&mut self, store: &FileStore) {
        let seen = store.load(&key("lease")).wait().unwrap();
        assert!(seen.now >= self.latest, "the clock ran back from {:?} to {:?}", self.latest, seen.now);
        let by_the_log = Duration::from_micros(seen.now.as_micros() - self.granted_at.as_micros());
        let passed = self.passed;
        assert!(by_the_log <= passed, "{passed:?} have passed, by the log's clock {by_the_log:?}");
        self.latest = seen.now;
    }

    fn live(&mut self, number: u64) {
        if self.below(3) == 0 {
            let back = Duration::from_millis(1 + self.below(7_200_000));
            self.wall = ManualClock::starting_at(self.wall.now().saturating_sub(back));
        }
        let store = self.open();
        for turn in 0..self.below(4) {
            self.look(&store);
            self.pass_some();
            write(&store, &format!("other {number} {turn}"), number);
        }
        self.look(&store);
        if self.below(8) == 0 {
            store.close().unwrap();
        } else {
            self.killed(&store);
        }
        self.pass_some();
    }
}

fn write(store: &FileStore, name: &str, id: u64) {
    let key = key(name);
    let seen = store.load(&key).wait().unwrap();
    let id = LeaseId::from_bytes(u128::from(id).to_be_bytes());
    let change = changes::change(&key, &seen, Action::Acquire, id, 0).unwrap();
    assert!(matches!(
        lessor_testkit::swap(store, &key, &change.borrow()).wait().unwrap(),
        CasResult::Written
    ));
}

/// The number of crashes is set by `LESSOR_CRASHES_IN_A_ROW`, default 40, and the number of logs by
/// `LESSOR_CRASH_CASES`, default 24.
#[test]
fn p7_no_lease_expires_early_over_any_number_of_crashes_with_the_wall_clock_set_back() {
    let (logs, each) =
        (number_from_env("LESSOR_CRASH_CASES", 24), number_from_env("LESSOR_CRASHES_IN_A_ROW", 40));
    let mut observed = Duration::ZERO;
    for seed in 0..logs {
        let sync = if seed % 2 == 0 { SyncMode::Disk } else { SyncMode::Process };
        let mut lives = Lives::new(sync, seed);
        (0..each).for_each(|number| lives.live(number));
        observed += lives.passed;
    }
    println!("{logs} logs, {each} lives of each, {observed:?} have passed in them");
}

/// The simplest case of the test above.
#[test]
fn p7_a_hundred_quick_crashes_do_not_shorten_a_lease() {
    let mut lives = Lives::new(SyncMode::Disk, 1);
    lives.wall = ManualClock::starting_at(lives.wall.now().saturating_sub(Duration::from_hours(1)));
    for number in 0..100 {
        let store = lives.open();
        write(&store, &format!("other {number}"), number);
        lives.pass(Duration::from_millis(40));
        lives.look(&store);
        lives.killed(&store);
    }
}

/// A closed log knows the time, so an opening does not wait. The clock continues from there.
#[test]
fn p7_the_clock_of_a_closed_log_continues_without_a_wait() {
    let mut lives = Lives::new(SyncMode::Disk, 2);
    lives.open().close().unwrap();
    let passed = lives.passed;
    for _ in 0..3 {
        lives.wall = ManualClock::starting_at(lives.wall.now().saturating_sub(Duration::from_hours(1)));
        let store = lives.open();
        let before = store.load(&key("lease")).wait().unwrap().now;
        lives.pass(Duration::from_millis(700));
        lives.look(&store);
        assert_eq!(lives.latest.saturating_since(before), Duration::from_millis(700));
        store.close().unwrap();
    }
    assert_eq!(lives.passed - passed, Duration::from_millis(3 * 700));
}

/// With a real clock that was set back, an opening waits until the reservation has passed.
#[test]
fn p7_an_opening_waits_on_a_real_clock_until_the_reservation_has_passed() {
    #[derive(Debug)]
    struct Behind(SystemClock);
    impl Clock for Behind {
        fn now(&self) -> Timestamp {
            self.0.now().saturating_sub(Duration::from_hours(1))
        }
    }
    let system = Arc::new(SystemClock::new());
    let disk = SimDisk::new();
    let builder = || FileStore::builder().settings(tiny(SyncMode::Disk));
    let store = builder().clock(system.clone()).open_on(Arc::new(disk.clone())).unwrap();
    write(&store, "lease", 1);
    let granted = store.load(&key("lease")).wait().unwrap();
    let (granted_at, begin) = (granted.record.unwrap().acquired_at(), system.now());
    let left = disk.fork();
    store.close().unwrap();
    let store = builder().clock(Arc::new(Behind(*system))).open_on(Arc::new(left)).unwrap();
    let now = store.load(&key("lease")).wait().unwrap().now;
    // The time between the grant and the first reading is not counted.
    let passed = system.now().saturating_since(begin) + begin.saturating_since(granted_at);
    assert!(now.saturating_since(granted_at) <= passed, "{passed:?} have passed");
    store.close().unwrap();
}
