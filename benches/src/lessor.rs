//! lessor through its public API.

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

/// The time limit for remaining background work, which is not measured.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn engine(store: Arc<dyn Store>, edit: impl FnOnce(&mut Settings)) -> Result<Engine, String> {
    let mut settings = Settings::default();
    edit(&mut settings);
    Engine::with_settings(store, settings).map_err(|error| error.to_string())
}

/// Waits for the engine to finish its work for dropped leases, so that it does not disturb the next
/// measurement.
pub(crate) fn settle(engine: &Engine) {
    // A store with an error reports it when it is opened again.
    let _ = engine.close(PATIENCE).wait();
}

/// Opens the file log in `folder`. Close it, or its remaining work disturbs the next measurement.
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

/// Opens the store on the Redis server of `url`, for callers on threads, or for tasks on the given
/// runtime.
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
