//! Commits continue while the log is compacted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use lessor_core::{Acquisition, Engine, Error, Pending};
use lessor_file::{FileStore, Settings};
use lessor_simdisk::{Call, CallKind, SimDisk};
use lessor_testkit::ManualClock;
use parking_lot::Mutex;

type Asked = Pending<Result<Acquisition, Error>>;

/// The callers during a compaction.
#[derive(Default)]
struct Callers {
    leases: Vec<Acquisition>,
    /// Callers that wait for the next segment.
    waiting: Vec<Asked>,
    /// The bytes of the segments when the compaction began, and when the superblock named its
    /// checkpoint.
    begun: Option<u64>,
    over: Option<u64>,
}

fn room_made(disk: &SimDisk) -> u64 {
    let names = disk.file_names().into_iter().filter(|name| name.starts_with("segment-"));
    names.map(|name| disk.bytes(&name).len() as u64).sum()
}

impl Callers {
    /// Requests leases until one has to wait for space.
    fn ask(&mut self, disk: &SimDisk, store: &FileStore, engine: &Engine) {
        self.begun.get_or_insert_with(|| room_made(disk));
        let mut context = Context::from_waker(Waker::noop());
        let note = BTreeMap::from([("note", "x".repeat(900))]);
        while self.waiting.is_empty() {
            let keys = store.len();
            let mut asked = engine.acquire(&format!("late {keys}")).metadata(&note).send();
            match Pin::new(&mut asked).poll(&mut context) {
                Poll::Ready(granted) => self.leases.push(granted.unwrap()),
                Poll::Pending if store.len() == keys => self.waiting.push(asked),
                // The request is in a frame. This thread writes it, unless another one does.
                Poll::Pending => self.leases.push(asked.wait().unwrap()),
            }
        }
    }
}

/// The thread that makes segments for commits also compacts. Once it did not make segments until a
/// compaction was done. With a checkpoint of 140 MB, commits stopped for more than a second.
#[test]
fn a_compaction_does_not_keep_commits_from_getting_space() {
    let mut settings = Settings::default();
    settings.first_segment = 4 << 10;
    settings.max_segment = 8 << 10;
    settings.compact_at = 1 << 30;
    let disk = SimDisk::new();
    let builder = FileStore::builder().settings(settings).clock(Arc::new(ManualClock::new()));
    let store = Arc::new(builder.open_on(Arc::new(disk.clone())).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    for number in 0..40 {
        let Acquisition::Acquired(lease) = engine.acquire(&format!("{number}")).wait().unwrap() else {
            panic!()
        };
        lease.complete(&"x".repeat(900)).wait().unwrap();
    }
    let callers = Arc::new(Mutex::new(Callers::default()));
    disk.on_call(Some(Arc::new({
        let (disk, store, engine, callers) = (disk.clone(), store.clone(), engine.clone(), callers.clone());
        move |call: Call| {
            if thread::current().name() != Some("lessor-file-maintenance") {
                return;
            }
            let is_read = call.kind == CallKind::Read && call.file.starts_with("segment-");
            // Files are removed only once the superblock names the checkpoint.
            let is_over = call.kind == CallKind::Remove && call.file.starts_with("segment-");
            // Calls that the callers themselves cause are skipped.
            let Some(mut callers) = callers.try_lock() else { return };
            if is_read {
                callers.ask(&disk, &store, &engine);
            } else if is_over {
                callers.over.get_or_insert_with(|| room_made(&disk));
            }
        }
    })));
    store.compact().unwrap();
    disk.on_call(None);
    let Callers { leases, waiting, begun, over } = std::mem::take(&mut *callers.lock());
    assert!(!leases.is_empty() && !waiting.is_empty(), "no caller had to wait for space");
    assert!(over.unwrap() > begun.unwrap(), "no segment was made during the compaction");
    for asked in waiting {
        assert!(matches!(asked.wait().unwrap(), Acquisition::Acquired(_)));
    }
    drop(leases);
}
