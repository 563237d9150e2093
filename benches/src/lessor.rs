//! lessor, through its public face.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "all-stores")]
use lessor::FileStore;
#[cfg(feature = "all-stores")]
use lessor::file::SyncMode;
use lessor::{Engine, Settings, Store};

use tokio::runtime::Runtime;

#[cfg(feature = "all-stores")]
use crate::log::Promise;

/// How long what was left to do in the background may take. Not measured.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn engine(store: Arc<dyn Store>, edit: impl FnOnce(&mut Settings)) -> Result<Engine, String> {
    let mut settings = Settings::default();
    edit(&mut settings);
    Engine::with_settings(store, settings).map_err(|error| error.to_string())
}

/// Waits for what dropped leases still have the engine do, so that the next one to be measured does not meet it.
pub(crate) fn settle(engine: &Engine) {
    // A store that could not be left in order says so when it is opened again.
    let _ = engine.close(PATIENCE).wait();
}

/// The file log in `folder`. Close it, or the next one to be measured meets the rest of it.
#[cfg(feature = "all-stores")]
pub(crate) fn log(folder: &Path, promise: Promise) -> Result<Arc<FileStore>, String> {
    let mut settings = lessor::file::Settings::default();
    settings.sync = match promise {
        Promise::Disk => SyncMode::Disk,
        Promise::Process => SyncMode::Process,
    };
    let open = FileStore::builder().settings(settings).open(folder);
    Ok(Arc::new(open.map_err(|error| error.to_string())?))
}

/// The store on the Redis server of `url`, for callers on threads, or for tasks on that runtime.
#[cfg(feature = "all-stores")]
pub(crate) fn redis(url: &str, runtime: Option<&Runtime>) -> Result<Engine, String> {
    let mut settings = lessor::redis::Settings::default();
    settings.persistence = lessor::redis::Check::Ignore;
    let mut builder = lessor::RedisStore::builder().settings(settings);
    if let Some(runtime) = runtime {
        builder = builder.runtime(runtime.handle().clone());
    }
    let open = builder.open(url);
    engine(Arc::new(open.map_err(|error| error.to_string())?), |_| {})
}
