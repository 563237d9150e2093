//! The log on a file system that is really full. The test needs the right to mount one, and reports
//! if it is missing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, LeaseId, StoreError};
use lessor_file::FileStore;

const HOUR: Duration = Duration::from_secs(3600);

/// A small file system in memory, which is unmounted on drop.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn try_new(size: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(place.path());
        let is_mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        is_mounted.then_some(Self(place))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.path()).status();
    }
}

/// Fills all of the free space. Returns the file.
fn fill(place: &Path, name: &str) -> PathBuf {
    let name = place.join(name);
    let mut file = fs::File::create(&name).unwrap();
    for size in [1 << 16, 4096, 512, 1] {
        while file.write(&vec![1; size]).is_ok_and(|count| count > 0) {}
    }
    name
}

fn is_full<T>(answer: Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Store(StoreError::Full(_))))
}

fn open(folder: &Path) -> (Arc<FileStore>, Engine) {
    let store = Arc::new(FileStore::open(folder).unwrap());
    let engine = Engine::new(store.clone()).unwrap();
    (store, engine)
}

fn granted(engine: &Engine, key: &str) -> LeaseId {
    for _ in 0..60_000 {
        match engine.acquire(key).ttl(HOUR).wait() {
            Ok(Acquisition::Acquired(lease)) => {
                let lease_id = *lease.lease_id();
                std::mem::forget(lease);
                return lease_id;
            }
            Err(Error::Store(StoreError::Full(_))) => std::thread::park_timeout(Duration::from_millis(1)),
            other => panic!("{other:?}"),
        }
    }
    panic!("{key} was not granted although the disk has space");
}

/// A log on a full disk could not even be opened, so it could not be read, and no holder could
/// finish.
#[test]
fn p5_a_log_on_a_full_file_system_opens_and_lets_holders_finish() {
    let Some(mounted) = Mounted::try_new("16m") else {
        println!("SKIPPED: this needs the right to mount a file system in memory (root on Linux)");
        return;
    };
    let folder = mounted.path().join("log");
    let (store, engine) = open(&folder);
    engine.lease_handle("done", granted(&engine, "done")).unwrap().complete(&1).wait().unwrap();
    let held: Vec<_> = (0..500).map(|number| format!("job {number}")).collect();
    let held: Vec<_> = held.into_iter().map(|key| (granted(&engine, &key), key)).collect();
    let fillers = [fill(mounted.path(), "filler"), {
        // The log is closed with live leases. Other files take the space that it frees.
        store.close().unwrap();
        drop((store, engine));
        fill(mounted.path(), "another filler")
    }];

    let (store, engine) = open(&folder);
    assert!(engine.result("done").wait().unwrap().is_some());
    assert!(is_full(engine.acquire("another").wait()));
    for (lease_id, key) in &held {
        engine
            .lease_handle(key, *lease_id)
            .unwrap()
            .complete(key)
            .wait()
            .unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    fillers.iter().for_each(|filler| fs::remove_file(filler).unwrap());
    granted(&engine, "another");
    fill(mounted.path(), "filler");
    store.close().unwrap();
    drop((store, engine));
    let (_store, engine) = open(&folder);
    for (_, key) in &held {
        assert!(engine.result(key).wait().unwrap().is_some(), "{key}");
    }
}
