//! Guards in files: lessor, embedded databases with a hand-written guard, and a bare log.

mod bare_log;
mod disk;
mod fjall;
mod group;
mod kv;
mod lmdb;
pub(crate) mod open;
mod redb;
mod sled;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::Path;

use lessor_contention::{Callers, Sample, Workload};

use self::kv::ByHand;
use crate::lessor::{engine, log, settle};
use crate::work::{Contender, PURGE_EVERY, Work, measure_warm};

/// The events that acknowledged writes survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Power loss: writes are synced before they are acknowledged.
    Disk,
    /// The end of the process. For filling stores that are opened later.
    Process,
}

/// Returns the key of a completed record.
fn key(n: u64) -> String {
    format!("invoice:0000:{n:011}")
}

/// Returns the result of that key.
fn result(n: u64) -> Vec<u8> {
    format!("{n:064}").into_bytes()
}

pub(crate) const CONTENDERS: [Contender; 7] = [
    Contender { name: "lessor", is_reference: false, note: "the file log" },
    Contender {
        name: "SQLite",
        is_reference: false,
        note: "WAL, synchronous=FULL with fdatasync, an upsert to acquire and an update to complete, each a transaction: callers do not \
               share one; one connection writes",
    },
    Contender {
        name: "redb",
        is_reference: false,
        note: "a transaction per write, not shared between callers, Durability::Immediate",
    },
    Contender {
        name: "fjall",
        is_reference: false,
        note: "insert and persist(SyncData) per write, under a lock per key",
    },
    Contender {
        name: "sled",
        is_reference: false,
        note: "0.34, compare_and_swap and flush per write, which on Linux does not flush the drive's cache: power loss is not \
               survived; what is not flushed yet can be seen",
    },
    Contender {
        name: "LMDB",
        is_reference: false,
        note: "a synced transaction per write, not shared between callers",
    },
    Contender {
        name: "bare log",
        is_reference: true,
        note: "a map and a preallocated file, written and synced once for all waiting callers; no retention, no compaction",
    },
];

pub(crate) fn run(
    name: &str,
    work: &Work,
    workload: &Workload,
    callers: Callers,
    folder: &Path,
) -> Result<Sample, String> {
    let promise = Promise::Disk;
    Ok(match name {
        "lessor" => {
            let store = log(folder, promise)?;
            let engine = engine(store.clone(), |settings| {
                if let Some(retention) = work.retention() {
                    settings.limits.retention = retention;
                    settings.schedule.purge_every = PURGE_EVERY;
                }
            })?;
            let sample = measure_warm(engine.clone(), work, workload);
            settle(&engine);
            store.close().map_err(|error| error.to_string())?;
            sample
        }
        "SQLite" => measure_warm(sqlite::Sqlite::open(folder, promise, work.retention()), work, workload),
        "redb" => measure_warm(ByHand::new(redb::Redb::open(folder, promise)), work, workload),
        "fjall" => measure_warm(ByHand::new(fjall::Fjall::open(folder, promise)), work, workload),
        "sled" => measure_warm(ByHand::new(sled::Sled::open(folder, promise)), work, workload),
        "LMDB" => measure_warm(ByHand::new(lmdb::Lmdb::open(folder, promise)), work, workload),
        _ => match callers {
            Callers::Threads(_) => {
                measure_warm(bare_log::BareLog::<group::Leader>::open(folder, promise), work, workload)
            }
            Callers::Tasks(_) => {
                measure_warm(bare_log::BareLog::<group::Writer>::open(folder, promise), work, workload)
            }
        },
    })
}

/// A guard that can be filled with completed records.
trait Filled {
    /// Completes the first `count` keys in the fastest way.
    fn fill(&self, count: u64);

    /// Returns the result of a key.
    fn shown(&self, key: &str) -> Option<Vec<u8>>;
}

fn open(name: &str, folder: &Path, promise: Promise) -> Result<Box<dyn Filled>, String> {
    Ok(match name {
        "lessor" => Box::new(open::Lessor::open(folder, promise)?),
        "SQLite" => Box::new(sqlite::Sqlite::open(folder, promise, None)),
        "redb" => Box::new(ByHand::new(redb::Redb::open(folder, promise))),
        "fjall" => Box::new(ByHand::new(fjall::Fjall::open(folder, promise))),
        "sled" => Box::new(ByHand::new(sled::Sled::open(folder, promise))),
        "LMDB" => Box::new(ByHand::new(lmdb::Lmdb::open(folder, promise))),
        "bare log" => Box::new(bare_log::BareLog::<group::Leader>::open(folder, promise)),
        unknown => return Err(format!("there is no contender {unknown:?}")),
    })
}
