//! The file store keeps every promise of the conformance suite on a real disk.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use lessor_file::{FileStore, Settings, SyncMode};
use lessor_testkit::{ManualClock, Subject, conformance};

/// Settings with small segments, so that the log continues in many segments and is compacted many
/// times in each test.
fn small() -> Settings {
    let mut settings = Settings::default();
    settings.first_segment = 8 << 10;
    settings.max_segment = 64 << 10;
    settings.compact_at = 32 << 10;
    settings
}

mod on_a_manual_clock {
    use super::*;

    fn log() -> Subject {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let builder = FileStore::builder().settings(small()).clock(Arc::new(clock.clone()));
        let store = builder.open(folder.path().join("log")).unwrap();
        Subject::on_manual_clock(Arc::new(store), clock).keeping(folder)
    }

    conformance!(log);
}

mod on_the_real_clock {
    use super::*;

    fn log() -> Subject {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path().join("log")).unwrap();
        Subject::on_real_clock(Arc::new(store)).keeping(folder)
    }

    conformance!(log);
}

/// No finished record is cached, and no write is synced before it is acknowledged.
mod without_a_cache_and_durable_by_process {
    use super::*;

    fn log() -> Subject {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let mut settings = small();
        settings.cache = 0;
        settings.sync = SyncMode::Process;
        let builder = FileStore::builder().settings(settings).clock(Arc::new(clock.clone()));
        let store = builder.open(folder.path().join("log")).unwrap();
        Subject::on_manual_clock(Arc::new(store), clock).keeping(folder)
    }

    conformance!(log);
}
