//! Contenders take turns, round after round. A shared disk or core is slow for half a minute now
//! and then. Therefore the cases take turns as well, and each round has another order of
//! contenders.

use std::fmt::Write;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use lessor_contention::{Callers, Workload};

use super::args::Options;
use super::cases::{Plan, Store};
#[cfg(feature = "all-stores")]
use crate::log::open::Full;
use crate::memory;
use crate::results::{self, Case, Contender, LESSOR, Results, Sample, Unit};
use crate::work::{Work, runtime};
#[cfg(feature = "all-stores")]
use crate::{log, redis};

/// Runs all cases. Returns the results, and the duration in seconds.
pub(super) fn all(options: &Options, folder: &Path) -> (Vec<Case>, u64) {
    let began = Instant::now();
    let mut plans = options.plans();
    #[cfg(feature = "all-stores")]
    if plans.iter().any(|plan| plan.store == Store::Redis) && redis::server::version().is_none() {
        plans.retain(|plan| plan.store != Store::Redis);
        eprintln!("SKIPPED: there is no redis-server on the PATH, so the Redis store is not measured");
    }
    let mut cases: Vec<Case> = plans.iter().map(|plan| begin(plan, options)).collect();
    for round in 0..options.rounds {
        for (at, (plan, case)) in plans.iter().zip(&mut cases).enumerate() {
            if !matches!(plan.work, Work::Open { .. }) {
                eprint!("\rround {} of {}, case {} of {}  ", round + 1, options.rounds, at + 1, plans.len());
                turn(plan, case, options, folder, round);
            }
        }
    }
    for (plan, case) in plans.iter().zip(&mut cases) {
        if let Work::Open { records } = plan.work {
            eprint!("\ropening {records} records {}  ", case.setting.as_deref().unwrap_or_default());
            #[cfg(feature = "all-stores")]
            openings(plan, case, records, options, folder);
        }
    }
    eprintln!();
    (cases, began.elapsed().as_secs())
}

fn begin(plan: &Plan, options: &Options) -> Case {
    let (workload, title, note) = plan.work.words();
    let chosen: Vec<_> =
        plan.contenders().filter(|contender| options.has_contender(contender.name)).collect();
    let is_rival = |name: &&str| *name != LESSOR;
    Case {
        workload: workload.to_owned(),
        title: title.to_owned(),
        note: note.to_owned(),
        store: plan.store.name().to_owned(),
        setting: plan.setting(),
        callers: match plan.callers {
            Callers::Threads(count) => results::Callers::Threads(count),
            Callers::Tasks(count) => results::Callers::Tasks(count),
        },
        unit: match plan.work {
            Work::Waiters | Work::Open { .. } => Unit::Seconds,
            _ => Unit::PerSecond,
        },
        against: chosen
            .iter()
            .filter(|each| !each.is_reference)
            .map(|each| each.name)
            .filter(is_rival)
            .map(str::to_owned)
            .collect(),
        contenders: chosen
            .iter()
            .map(|each| Contender {
                name: each.name.to_owned(),
                is_reference: each.is_reference,
                note: Some(each.note.to_owned()),
                rounds: Vec::new(),
            })
            .collect(),
    }
}

/// Runs one round of one case. A contender that fails is reported, and omitted from then on.
fn turn(plan: &Plan, case: &mut Case, options: &Options, folder: &Path, round: usize) {
    for contender in in_turn(&mut case.contenders, round) {
        if contender.rounds.len() < round {
            continue;
        }
        let name = contender.name.clone();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            on_fresh_folder(folder, |folder| run(&name, plan, options, folder))
        }));
        match ran.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(sample) => contender.rounds.push(sample),
            Err(error) => {
                eprintln!("\n{name} is left out of {}: {error}", case.title);
                contender.note = Some(format!("left out: {error}"));
            }
        }
    }
}

fn run(name: &str, plan: &Plan, options: &Options, folder: &Path) -> Result<Sample, String> {
    let length = plan.length(options.length);
    let handle = runtime().handle();
    let workload = Workload::new(plan.callers).duration(length).spawn_with(|task| drop(handle.spawn(task)));
    let sample = |sample| super::sample(plan.work, &sample);
    match plan.store {
        Store::Memory => memory::run(name, &plan.work, &workload).map(sample),
        #[cfg(feature = "all-stores")]
        Store::File => log::run(name, &plan.work, &workload, plan.callers, folder).map(sample),
        #[cfg(feature = "all-stores")]
        Store::Redis => redis::run(name, &plan.work, &workload, plan.callers, (plan.mode, length), folder),
        #[cfg(not(feature = "all-stores"))]
        Store::File | Store::Redis => Err("this store is not compiled in".to_owned()),
    }
}

/// Fills the stores of all contenders first, and then opens them in turns.
#[cfg(feature = "all-stores")]
fn openings(plan: &Plan, case: &mut Case, records: u64, options: &Options, folder: &Path) {
    let setting = case.setting.clone().unwrap_or_default();
    on_fresh_folder(folder, |folder| {
        let mut full = Vec::new();
        for contender in &mut case.contenders {
            let folder = folder.join(contender.name.as_str());
            let made = std::fs::create_dir(&folder).map_err(|error| error.to_string());
            match made.and_then(|()| Full::make(&contender.name, &folder, records, plan.end)) {
                Ok(made) => full.push((contender, made, 0.0)),
                Err(error) => contender.note = Some(format!("left out: {error}")),
            }
        }
        for round in 0..options.rounds {
            for (contender, full, resident) in in_turn(&mut full, round) {
                match full.open() {
                    Ok((seconds, bytes)) => {
                        contender.rounds.push(Sample { value: seconds, latency: None });
                        *resident = bytes;
                    }
                    Err(error) => eprintln!("\n{} could not be opened: {error}", contender.name),
                }
            }
        }
        for (contender, full, resident) in full {
            contender.note = Some(format!(
                "{} bytes on the disk and {:.0} in memory for each of {records} records, {setting}",
                full.allocated / records,
                resident / records as f64,
            ));
        }
    });
}

/// Returns the contenders in another order for each round, since a run is faster after one with a
/// low load.
fn in_turn<T>(all: &mut [T], round: usize) -> Vec<&mut T> {
    let mut order: Vec<_> = all.iter_mut().collect();
    fastrand::Rng::with_seed(round as u64).shuffle(&mut order);
    order
}

fn on_fresh_folder<T>(parent: &Path, run: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(parent).expect("a folder");
    let done = run(folder.path());
    folder.close().expect("what was made can be removed");
    // Otherwise the syncs of the next contender would write this one's remaining data.
    File::open(parent).and_then(|folder| folder.sync_all()).expect("sync");
    done
}

/// Returns one line per case for the terminal.
pub(super) fn summary(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "lessor against the best of its rivals, round by round; above 1 it is better\n");
    for case in &results.cases {
        let callers = match case.callers {
            results::Callers::Threads(count) => format!("{count} threads"),
            results::Callers::Tasks(count) => format!("{count} tasks"),
        };
        let setting = case.setting.as_deref().unwrap_or_default();
        let ratio = |ratio: Option<results::Spread>| {
            ratio.map_or("-".to_owned(), |ratio| format!("{:.2}", ratio.median))
        };
        let _ = writeln!(
            out,
            "{:<7} {:<9} {callers:<13} {setting:<36} {:>6} of the reference {:>6}",
            case.store,
            case.workload,
            ratio(case.ratio()),
            ratio(case.ratio_to_reference()),
        );
        for contender in &case.contenders {
            let spread = contender.spread().map_or("-".to_owned(), |spread| match case.unit {
                Unit::PerSecond => {
                    format!("{:.0} /s ({:.0} – {:.0})", spread.median, spread.least, spread.most)
                }
                Unit::Seconds => format!("{:.5} s ({:.5} – {:.5})", spread.median, spread.least, spread.most),
            });
            let latency = contender
                .latency()
                .map_or(String::new(), |latency| format!("p50 {:.1?} p99 {:.1?}", latency.p50, latency.p99));
            let _ = writeln!(out, "        {:<24} {spread:<44} {latency}", contender.name);
        }
    }
    out
}
