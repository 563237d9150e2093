//! How a log is kept.

use std::time::Duration;

use lessor_core::{Durability, Error};
use serde::{Deserialize, Serialize};

/// How a log is kept. Durations are written like `"1s"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// What an answer survives. Default [`SyncMode::Disk`].
    pub sync: SyncMode,
    /// With [`SyncMode::Process`], how often what was written is synced all the same. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub sync_every: Duration,
    /// The size of the first segment file; each next one is twice as large, up to [`max_segment`](Self::max_segment).
    /// Default 64 KiB.
    pub first_segment: u64,
    /// The size of the largest segment file, in bytes. Default 64 MiB.
    pub max_segment: u64,
    /// The log is compacted when it has grown by twice as much as the last checkpoint is large, and by this many bytes at
    /// least. Default 32 MiB.
    pub compact_at: u64,
    /// About how many bytes of finished records are kept in memory. What does not fit is read back from the log when
    /// it is asked for. Default 64 MiB.
    pub cache: u64,
    /// How long to wait for another opener of the same folder to let go of it. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub lock_wait: Duration,
}

/// What an answer of the log survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// Power loss: every write is synced to the disk before it is answered.
    #[default]
    Disk,
    /// The death of the process, `kill -9` included: every write is handed to the operating system before it is
    /// answered, and synced every so often. A power loss may take the last of them.
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

impl Settings {
    /// Refuses what no log could be kept by.
    pub fn validate(&self) -> Result<(), Error> {
        let bounds = [
            ("first_segment", self.first_segment, 4 * KIB, GIB),
            ("max_segment", self.max_segment, self.first_segment, GIB),
        ];
        for (what, value, least, most) in bounds {
            if value < least || value > most || value % 512 != 0 {
                let reason = format!("{value} is not a multiple of 512 between {least} and {most}");
                return Err(Error::Invalid { what, reason });
            }
        }
        if self.sync_every.is_zero() {
            let reason = "it is zero; to sync before each answer, set `sync` to `disk`".to_owned();
            return Err(Error::Invalid { what: "sync_every", reason });
        }
        Ok(())
    }
}
