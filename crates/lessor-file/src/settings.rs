//! The settings of a store.

use std::time::Duration;

use lessor_core::{Durability, Error};
use serde::{Deserialize, Serialize};

/// The settings of a store. In serialized form, durations are strings such as `"1s"`.
///
/// ```
/// use lessor_file::{FileStore, Settings, SyncMode};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("leases");
/// let settings = Settings::new().sync(SyncMode::Process);
/// let store = FileStore::builder().settings(settings).open(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The durability of an acknowledged write. Default: [`SyncMode::Disk`].
    pub sync: SyncMode,
    /// The interval between syncs with [`SyncMode::Process`]. Must not be zero. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub sync_every: Duration,
    /// The length of the first segment file in bytes: a multiple of 512, from 4 KiB to 1 GiB. Each
    /// next segment is twice as long, up to [`max_segment`](field@Self::max_segment). Default: 64
    /// KiB.
    pub first_segment: u64,
    /// The length of the longest segment file in bytes: a multiple of 512, from
    /// [`first_segment`](field@Self::first_segment) to 1 GiB. Default: 64 MiB.
    pub max_segment: u64,
    /// The log is compacted when it has grown by at least this many bytes and by twice the length
    /// of the last checkpoint. Default: 32 MiB.
    pub compact_at: u64,
    /// The approximate number of bytes of finished records to keep in memory. Other finished
    /// records are read from the disk on demand. Default: 64 MiB.
    pub cache: u64,
    /// The time for which opening waits for another process to release the folder. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub lock_wait: Duration,
}

/// The durability of an acknowledged write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SyncMode {
    /// The write survives a power loss. Every write is synced to the disk before it is
    /// acknowledged.
    #[default]
    Disk,
    /// The write survives the death of the process, including `kill -9`. Every write is handed to
    /// the operating system before it is acknowledged, and synced within
    /// [`field@Settings::sync_every`]. A power loss may lose the latest writes.
    Process,
}

impl From<SyncMode> for Durability {
    fn from(sync: SyncMode) -> Self {
        match sync {
            SyncMode::Disk => Self::Disk,
            SyncMode::Process => Self::Process,
        }
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync: SyncMode::Disk,
            sync_every: Duration::from_secs(1),
            first_segment: 64 * KIB,
            max_segment: 64 * MIB,
            compact_at: 32 * MIB,
            cache: 64 * MIB,
            lock_wait: Duration::from_secs(1),
        }
    }
}

/// Defines the setters.
macro_rules! setters {
    ($($name:ident: $type:ty,)*) => {
        impl Settings {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](field@Self::", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

setters! {
    sync: SyncMode,
    sync_every: Duration,
    first_segment: u64,
    max_segment: u64,
    compact_at: u64,
    cache: u64,
    lock_wait: Duration,
}

impl Settings {
    /// Returns the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the limits of all settings. Opening a store calls this.
    ///
    /// # Errors
    /// Returns [`Error::Invalid`] with the name of the setting and its limits.
    pub fn validate(&self) -> Result<(), Error> {
        let bounds = [
            ("first_segment", self.first_segment, 4 * KIB, GIB),
            ("max_segment", self.max_segment, self.first_segment, GIB),
        ];
        for (what, value, least, most) in bounds {
            if value < least || value > most || value % 512 != 0 {
                let reason = format!("{value} is not a multiple of 512 between {least} and {most}");
                return Err(Error::invalid(what, reason));
            }
        }
        if self.sync_every.is_zero() {
            let reason = "it is zero; to sync before each acknowledgement, set `sync` to `disk`";
            return Err(Error::invalid("sync_every", reason));
        }
        Ok(())
    }
}
