//! Lease services in memory: lessor, services written by hand over maps and caches, and a bare map.

mod bare_map;
mod cache;
mod maps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lessor::{Engine, MemoryStore};
use lessor_contention::{Sample, Workload};
use lessor_counted::LastOwner;

use self::maps::ByHand;
use crate::lessor::{engine, settle};
use crate::work::{Contender, PURGE_EVERY, Work, measure};

pub(crate) const CONTENDERS: [Contender; 7] = [
    Contender { name: "lessor", is_reference: false, note: "the in-memory store" },
    Contender {
        name: "dashmap by hand",
        is_reference: false,
        note: "a dashmap from keys to a holder with an expiry, or to a result; no token, no failure; lease ids are not secret",
    },
    Contender { name: "scc by hand", is_reference: false, note: "the same with scc's hash map" },
    Contender {
        name: "Mutex<HashMap> by hand",
        is_reference: false,
        note: "the same with the standard library's map behind one lock",
    },
    Contender {
        name: "quick_cache by hand",
        is_reference: false,
        note: "the same with a quick_cache whose capacity is never reached",
    },
    Contender {
        name: "moka",
        is_reference: false,
        note: "the same with a moka cache, which evicts old entries by itself: a fixed time after the acquire, even if the work is not done",
    },
    Contender {
        name: "bare dashmap",
        is_reference: true,
        note: "a dashmap from keys to results: no holder, no expiry",
    },
];

pub(crate) fn run(name: &str, work: &Work, workload: &Workload) -> Result<Sample, String> {
    let retention = work.retention();
    Ok(match name {
        "lessor" => {
            let store = Arc::new(MemoryStore::new());
            let _rest = LastOwner(store.clone());
            let engine = lessor_over(store, retention)?;
            let sample = measure(engine.clone(), work, workload);
            settle(&engine);
            sample
        }
        "dashmap by hand" => measure(ByHand::<maps::Dash>::new(retention), work, workload),
        "scc by hand" => measure(ByHand::<maps::Scc>::new(retention), work, workload),
        "Mutex<HashMap> by hand" => measure(ByHand::<maps::Locked>::new(retention), work, workload),
        "quick_cache by hand" => measure(ByHand::<maps::Quick>::new(retention), work, workload),
        "moka" => measure(cache::Moka::new(retention), work, workload),
        _ => measure(bare_map::BareMap::default(), work, workload),
    })
}

#[cfg(test)]
fn lessor(retention: Option<Duration>) -> Result<Engine, String> {
    lessor_over(Arc::new(MemoryStore::new()), retention)
}

fn lessor_over(store: Arc<MemoryStore>, retention: Option<Duration>) -> Result<Engine, String> {
    engine(store, |settings| {
        if let Some(retention) = retention {
            settings.limits.retention = retention;
            settings.schedule.purge_every = PURGE_EVERY;
        }
    })
}
