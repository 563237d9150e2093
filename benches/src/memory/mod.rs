//! Guards in memory: lessor, maps with a guard written by hand, a cache, and the floor.

mod cache;
mod floor;
mod maps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lessor::{Engine, MemoryStore};
use lessor_contention::{Sample, Workload};
use lessor_counted::Rest;

use crate::lessor::{engine, settle};
use crate::work::{Contender, PURGE_EVERY, Work, measure};

pub(crate) const CONTENDERS: [Contender; 5] = [
    Contender { name: "lessor", is_floor: false, note: "the in-memory store" },
    Contender {
        name: "dashmap by hand",
        is_floor: false,
        note: "a dashmap of who holds a key until when, or its result; no token, no failure; ids are not secret",
    },
    Contender { name: "Mutex<HashMap> by hand", is_floor: false, note: "the same behind one lock" },
    Contender {
        name: "moka",
        is_floor: false,
        note: "the same in a moka cache, which evicts what is too old by itself: counted from the acquire, even if the work is not done",
    },
    Contender {
        name: "floor",
        is_floor: true,
        note: "a dashmap alone: it is told apart only whether a key has a result",
    },
];

pub(crate) fn run(name: &str, work: &Work, workload: &Workload) -> Result<Sample, String> {
    let retention = work.retention();
    Ok(match name {
        "lessor" => {
            let store = Arc::new(MemoryStore::new());
            let _rest = Rest(store.clone());
            let engine = lessor_over(store, retention)?;
            let sample = measure(engine.clone(), work, workload);
            settle(&engine);
            sample
        }
        "dashmap by hand" => measure(maps::ByHand::<maps::Dash>::new(retention), work, workload),
        "Mutex<HashMap> by hand" => measure(maps::ByHand::<maps::Locked>::new(retention), work, workload),
        "moka" => measure(cache::Moka::new(retention), work, workload),
        _ => measure(floor::Floor::default(), work, workload),
    })
}

#[cfg(test)]
fn lessor(retention: Option<Duration>) -> Result<Engine, String> {
    lessor_over(Arc::new(MemoryStore::new()), retention)
}

fn lessor_over(store: Arc<MemoryStore>, retention: Option<Duration>) -> Result<Engine, String> {
    engine(store, |settings| {
        if let Some(retention) = retention {
            settings.retention = retention;
            settings.purge_every = PURGE_EVERY;
        }
    })
}
