//! Invented results of all workloads, with cases that are hard to draw: a contender a thousand
//! times slower, lines that cross and end together, a single number of callers, contenders without
//! rounds, names that need escaping.

use std::time::Duration;

use crate::results::{Callers, Case, Contender, LESSOR, Latency, Machine, Results, Sample, Unit};

const ROUNDS: u64 = 5;

/// The contenders of a store: the speed with one caller, and the exponent of the number of callers
/// for the speed with more.
const MEMORY: &[(&str, f64, f64)] = &[
    (LESSOR, 0.9, 0.25),
    ("dashmap", 1.7, 0.2),
    ("Mutex<HashMap>", 1.75, -0.22),
    ("moka", 0.31, 0.18),
    (REFERENCE, 4.1, 0.35),
];
const FILE: &[(&str, f64, f64)] = &[
    (LESSOR, 0.0058, 0.69),
    ("SQLite", 0.0046, -0.04),
    ("redb", 0.003, -0.01),
    ("fjall", 0.0057, -0.03),
    ("sled", 0.0052, 0.2),
    ("LMDB", 0.0027, -0.02),
    (REFERENCE, 0.0057, 0.73),
];
const REDIS: &[(&str, f64, f64)] =
    &[(LESSOR, 0.011, 0.45), ("by hand", 0.012, 0.46), ("rslock", 0.000_012, 0.1), (REFERENCE, 0.02, 0.42)];
const REFERENCE: &str = "bare map";

struct Workload {
    name: &'static str,
    title: &'static str,
    note: &'static str,
    unit: Unit,
    /// A factor relative to fresh keys.
    speed: f64,
    /// A further factor for lessor.
    lessor: f64,
    /// Replaces the store's numbers of callers.
    callers: Option<Callers>,
    /// The contenders that can run the workload, if not all.
    able: Option<&'static [&'static str]>,
}

const WORKLOADS: [Workload; 8] = [
    Workload {
        name: "fresh",
        title: "Fresh keys",
        note: "A new key is acquired and completed with 64 bytes.",
        unit: Unit::PerSecond,
        speed: 1.0,
        lessor: 1.0,
        callers: None,
        able: None,
    },
    Workload {
        name: "refused",
        title: "One hot key, refused",
        note: "An acquire of the one key, which is held, is refused.",
        unit: Unit::PerSecond,
        speed: 7.0,
        lessor: 1.6,
        callers: None,
        able: None,
    },
    Workload {
        name: "zipf",
        title: "Hot set, duplicates replayed",
        note: "A key drawn from a Zipf distribution: the first caller completes it, and the others receive the result.",
        unit: Unit::PerSecond,
        speed: 3.0,
        lessor: 1.05,
        callers: None,
        able: None,
    },
    Workload {
        name: "takeover",
        title: "Hand-over of lapsed leases",
        note: "A key whose lease has lapsed is acquired and completed.",
        unit: Unit::PerSecond,
        speed: 0.6,
        lessor: 1.4,
        callers: None,
        able: Some(&[LESSOR, "dashmap", "SQLite", "by hand"]),
    },
    Workload {
        name: "waiters",
        title: "A thousand waiters",
        note: "From the completion until the last of a thousand waiting callers has the result.",
        unit: Unit::Seconds,
        speed: 0.003,
        lessor: 0.1,
        callers: Some(Callers::Tasks(1000)),
        able: None,
    },
    Workload {
        name: "renewals",
        title: "Renewals of 10,000 live leases",
        note: "One lease of 10,000 is extended.",
        unit: Unit::PerSecond,
        speed: 1.3,
        lessor: 1.1,
        callers: Some(Callers::Threads(2)),
        able: Some(&[LESSOR, "dashmap", "SQLite", "by hand", REFERENCE]),
    },
    Workload {
        name: "open",
        title: "Open with a million records",
        note: "A store of a million completed records is opened.",
        unit: Unit::Seconds,
        speed: 0.004,
        lessor: 700.0,
        callers: Some(Callers::Threads(1)),
        able: None,
    },
    Workload {
        name: "purge",
        title: "Purge under load",
        note: "Fresh keys, while short-lived records are purged.",
        unit: Unit::PerSecond,
        speed: 0.8,
        lessor: 1.2,
        callers: None,
        able: None,
    },
];

pub(super) fn results() -> Results {
    let mut cases = Vec::new();
    for (store, settings, contenders) in [
        ("memory", &[None][..], MEMORY),
        ("file", &[None][..], FILE),
        ("redis", &[Some("appendonly no"), Some("appendfsync always")][..], REDIS),
    ] {
        for (at, setting) in settings.iter().enumerate() {
            for workload in WORKLOADS.iter().filter(|each| each.name != "open" || store == "file") {
                let callers = workload.callers.map_or_else(|| callers(store), |callers| vec![callers]);
                let slower = if at > 0 { 0.3 } else { 1.0 };
                cases.extend(
                    callers
                        .iter()
                        .map(|callers| case(store, *setting, workload, *callers, contenders, slower)),
                );
            }
        }
    }
    let machine = Machine {
        processor: "Xeon (invented) <2.1 GHz>".to_owned(),
        cores: 2,
        system: "Linux 6.1".to_owned(),
        version: "0.1.0".to_owned(),
        date: "2026-11-24".to_owned(),
    };
    Results { machine, seconds: 612, cases }
}

fn callers(store: &str) -> Vec<Callers> {
    match store {
        "memory" => [1, 2, 8].map(Callers::Threads).into(),
        "file" => [1, 8, 64].map(Callers::Threads).into(),
        _ => [1, 64, 512].map(Callers::Tasks).into_iter().chain([1, 8, 64].map(Callers::Threads)).collect(),
    }
}

fn case(
    store: &str,
    setting: Option<&str>,
    workload: &Workload,
    callers: Callers,
    contenders: &[(&str, f64, f64)],
    slower: f64,
) -> Case {
    let contender = |&(name, millions, power): &(&str, f64, f64)| {
        let can = workload.able.is_none_or(|able| able.contains(&name));
        let lessor = if name == LESSOR { workload.lessor } else { 1.0 };
        let seed = name.len() as u64 * 31 + workload.name.len() as u64 * 17 + callers.count();
        let rounds = (0..if can { ROUNDS } else { 0 }).map(|round| {
            // Lines that cross.
            let turn = if workload.name == "zipf" { (name.len() % 5) as f64 * 0.2 - 0.4 } else { 0.0 };
            let noise = 1.0 + ((seed * 7919 + round * 104_729) % 23) as f64 / 140.0;
            let count = callers.count() as f64;
            match workload.unit {
                Unit::PerSecond => {
                    let value =
                        millions * 1e6 * workload.speed * lessor * count.powf(power + turn) * noise * slower;
                    Sample { value, latency: Some(latency(count / value, seed + round)) }
                }
                Unit::Seconds => {
                    Sample { value: workload.speed * lessor * noise * (name.len() as f64), latency: None }
                }
            }
        });
        let note = match (can, name) {
            (false, _) => Some("it cannot distinguish holders."),
            (_, "sled") => Some("It does not flush the drive's cache."),
            (_, "rslock") => Some("It keeps no result & waits 200 ms <after> a refusal."),
            _ => None,
        };
        Contender {
            name: name.to_owned(),
            is_reference: name == REFERENCE,
            note: note.map(str::to_owned),
            rounds: rounds.collect(),
        }
    };
    let is_rival = |name: &&str| ![LESSOR, REFERENCE].contains(name);
    Case {
        workload: workload.name.to_owned(),
        title: workload.title.to_owned(),
        note: workload.note.to_owned(),
        store: store.to_owned(),
        setting: setting.map(str::to_owned),
        callers,
        unit: workload.unit,
        against: contenders.iter().map(|(name, ..)| *name).filter(is_rival).map(str::to_owned).collect(),
        contenders: contenders.iter().map(contender).collect(),
    }
}

fn latency(mean: f64, seed: u64) -> Latency {
    let times = |factor: f64| Duration::from_secs_f64(mean * factor * (1.0 + (seed % 5) as f64 / 20.0));
    Latency {
        p50: times(0.8),
        p90: times(1.6),
        p99: times(4.0 + (seed % 7) as f64 * 2.0),
        p999: times(30.0 + (seed % 11) as f64 * 9.0),
        most: times(600.0 + (seed % 13) as f64 * 200.0),
    }
}
