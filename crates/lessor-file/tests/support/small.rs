//! A small log with records of all kinds, and its state after each write.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Lease};
use lessor_file::check::{self, RecordSummary, Report};
use lessor_file::{FileStore, Settings};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;

/// Version, token and stage by key.
pub(crate) type State = BTreeMap<String, (u64, u64, &'static str)>;

/// Settings with segments of a few frames.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.first_segment = 4 << 10;
    settings.max_segment = 4 << 10;
    settings
}

pub(crate) fn open(disk: &SimDisk, clock: &ManualClock) -> Arc<FileStore> {
    try_open(disk, clock).unwrap()
}

pub(crate) fn try_open(disk: &SimDisk, clock: &ManualClock) -> Result<Arc<FileStore>, lessor_core::Error> {
    let builder = FileStore::builder().settings(settings()).clock(Arc::new(clock.clone()));
    builder.open_on(Arc::new(disk.clone())).map(Arc::new)
}

pub(crate) fn dump(disk: &SimDisk) -> (Vec<RecordSummary>, Report) {
    let mut lines = Vec::new();
    let report = check::dump_on(disk, |line| lines.push(line.clone())).unwrap();
    (lines, report)
}

/// Returns the offsets of all frames, which are found by their headers.
#[allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
pub(crate) fn frames(disk: &SimDisk) -> Vec<(String, u64, u64)> {
    let mut frames = Vec::new();
    for name in disk.file_names().into_iter().filter(|name| name.starts_with("segment-")) {
        let bytes = disk.bytes(&name);
        for (sector, bytes) in bytes.chunks(512).enumerate() {
            if bytes.starts_with(b"LSRf") {
                let lsn = u64::from_le_bytes(bytes[20..28].try_into().unwrap());
                frames.push((name.clone(), sector as u64 * 512, lsn));
            }
        }
    }
    frames
}

pub(crate) fn state(disk: &SimDisk) -> (State, Report) {
    let (lines, report) = dump(disk);
    let state = lines.into_iter().map(|line| (line.key.to_string(), (line.version, line.token, line.stage)));
    (state.collect(), report)
}

/// A log that is being written, and its state after each frame.
pub(crate) struct Story {
    pub(crate) disk: SimDisk,
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<FileStore>,
    engine: Engine,
    pub(crate) states: BTreeMap<u64, State>,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self::on(SimDisk::new(), ManualClock::new())
    }

    pub(crate) fn on(disk: SimDisk, clock: ManualClock) -> Self {
        let store = open(&disk, &clock);
        let engine = Engine::new(store.clone()).unwrap();
        let mut story = Self { disk, clock, store, engine, states: BTreeMap::new() };
        story.note();
        story
    }

    fn note(&mut self) {
        let (state, report) = state(&self.disk.fork());
        assert!(report.is_sound(), "{report}");
        self.states.insert(report.last_lsn, state);
    }

    pub(crate) fn acquire(&mut self, key: &str) -> Lease {
        self.clock.advance(Duration::from_micros(10));
        let request = self.engine.acquire(key);
        let Acquisition::Acquired(lease) = request.holder("worker-1").wait().unwrap() else {
            panic!("{key}")
        };
        self.note();
        lease
    }

    pub(crate) fn done(&mut self, key: &str, result: &str) {
        self.acquire(key).complete(result).wait().unwrap();
        self.note();
    }

    /// Makes leases of all kinds, without a compaction.
    pub(crate) fn some(&mut self, round: &str) {
        let name = |name: &str| format!("{name}:{round}");
        self.done(&name("order"), "a receipt");
        self.acquire(&name("mail")).fail_with("declined", "by the other side").wait().unwrap();
        self.note();
        let job = self.acquire(&name("job"));
        job.checkpoint("half-way").wait().unwrap();
        self.note();
        std::mem::forget(job);
        self.acquire("again").release().wait().unwrap();
        self.note();
        self.done(&name("large"), &"x".repeat(1200));
    }

    /// Compacts once the next segment exists, so that the compacted part always ends at the same
    /// frame.
    pub(crate) fn compact(&mut self) {
        let is_there = || {
            let disk = self.disk.fork();
            let last = disk.file_names().into_iter().filter(|name| name.starts_with("segment-")).max();
            last.is_some_and(|last| frames(&disk).iter().all(|(file, ..)| *file != last))
        };
        let mut looks = 0;
        while !is_there() {
            looks += 1;
            assert!(looks < 4_000, "there is no next segment");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.store.compact().unwrap();
        self.note();
    }

    pub(crate) fn close(self) -> (SimDisk, ManualClock, BTreeMap<u64, State>) {
        self.store.close().unwrap();
        (self.disk, self.clock, self.states)
    }

    /// Kills the process.
    pub(crate) fn kill(self) -> (SimDisk, ManualClock, BTreeMap<u64, State>) {
        let left = self.disk.fork();
        // The store continues on a disk that is not used any more.
        let (clock, states) = (self.clock.clone(), self.states.clone());
        let _ = self.store.close();
        (left, clock, states)
    }
}
