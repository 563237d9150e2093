//! The file log beside its rivals and beside its physical floor.

mod args;
mod disk;
mod fjall;
mod floor;
mod group;
mod kv;
mod lmdb;
mod open;
mod redb;
mod run;
mod sled;
mod sqlite;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::{Guard, Lessor};

/// What an answer survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Power loss: synced before it is given.
    Disk,
    /// The death of the process, where the contender can promise that without a sync; its line in the report says if not.
    Process,
}

/// Something to be measured.
struct Contender {
    name: &'static str,
    /// What has to be known to read its figures.
    note: &'static str,
    open: fn(&Path, Promise) -> Opened,
}

/// A guard, or why there is none.
type Opened = Result<Box<dyn Guard>, String>;

/// The floors first: what the others are compared with.
const CONTENDERS: [Contender; 8] = [
    Contender {
        name: floor::LEADER,
        note: "floor: a map and a log, whoever comes first commits for all that gathered",
        open: |folder, promise| Ok(Box::new(floor::Floor::<group::Leader>::open(folder, promise))),
    },
    Contender {
        name: floor::WRITER,
        note: "floor: a map and a log, a thread of its own commits for all that gathered",
        open: |folder, promise| Ok(Box::new(floor::Floor::<group::Writer>::open(folder, promise))),
    },
    Contender {
        name: "lessor",
        note: "file:<folder>; without sync: ?sync=process",
        open: |folder, promise| Ok(Box::new(Lessor::file(folder, promise)?)),
    },
    Contender {
        name: "sqlite",
        note: "WAL, synchronous=FULL, one connection writes; without sync: synchronous=OFF, a connection per thread",
        open: |folder, promise| Ok(Box::new(sqlite::Sqlite::open(folder, promise))),
    },
    Contender {
        name: "redb",
        note: "Durability::Immediate; without sync: Durability::None, which the death of the process undoes",
        open: |folder, promise| Ok(Box::new(kv::ByHand(redb::Redb::open(folder, promise)))),
    },
    Contender {
        name: "fjall",
        note: "persist(SyncData) per write; without sync: handed to the operating system",
        open: |folder, promise| Ok(Box::new(kv::ByHand(fjall::Fjall::open(folder, promise)))),
    },
    Contender {
        name: "lmdb",
        note: "its defaults, which sync each commit; without sync: NO_SYNC",
        open: |folder, promise| Ok(Box::new(kv::ByHand(lmdb::Lmdb::open(folder, promise)))),
    },
    Contender {
        name: "sled",
        note: "0.34, flush per write, which on Linux is sync_file_range: the drive's cache is not flushed, so \
               power loss is not survived; without sync: no flush, which the death of the process undoes",
        open: |folder, promise| Ok(Box::new(kv::ByHand(sled::Sled::open(folder, promise)))),
    },
];

fn contender(name: &str) -> Option<&'static Contender> {
    CONTENDERS.iter().find(|contender| contender.name == name)
}

/// Runs what the command line asks for, with its files under `folder`.
pub fn main(folder: &Path) -> Result<(), String> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(child) = open::Child::from_args(&arguments) {
        return child.run();
    }
    if let Some(options) = args::Options::parse(arguments)? {
        run::all(&options, folder);
    }
    Ok(())
}
