//! Small logs in real folders.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error};
use lessor_file::{FileStore, Settings};
use tempfile::TempDir;

pub(crate) fn open(folder: &Path) -> Result<Arc<FileStore>, Error> {
    let mut settings = Settings::default();
    settings.first_segment = 4 << 10;
    settings.max_segment = 8 << 10;
    settings.lock_wait = Duration::from_millis(20);
    FileStore::builder().settings(settings).open(folder).map(Arc::new)
}

pub(crate) fn complete(store: &Arc<FileStore>, number: u32) {
    let engine = Engine::new(Arc::clone(store) as _).unwrap();
    for number in 0..number {
        let key = format!("key {number}");
        let Acquisition::Acquired(lease) = engine.acquire(&key).wait().unwrap() else { panic!("{key}") };
        lease.complete(&"x".repeat(200)).wait().unwrap();
    }
}

/// Returns the folders of a closed log and of one whose process was killed.
pub(crate) fn logs() -> (TempDir, [PathBuf; 2]) {
    let base = tempfile::tempdir().unwrap();
    let [closed, killed] = ["closed", "killed"].map(|name| base.path().join(name));
    let store = open(&closed).unwrap();
    complete(&store, 20);
    store.compact().unwrap();
    complete(&store, 0);
    fs::create_dir(&killed).unwrap();
    for entry in fs::read_dir(&closed).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), killed.join(entry.file_name())).unwrap();
    }
    store.close().unwrap();
    (base, [closed, killed])
}
