//! The timed runs: contenders take turns, each on a fresh folder, round after round.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::args::{Options, Part};
use super::disk::{COMPLETED, GRANTED, LogFile};
use super::{CONTENDERS, Contender, Promise, contender, floor, group, open};
use crate::flight::{fly, two_workers};
use crate::report::{Sample, Table, print_notes};
use crate::rounds::{repeat, rounds};
use crate::{Guard, Lessor, Receipt, Told, key};

/// Finished keys that replays are asked of.
const REPLAYED: u64 = 100_000;
const REPLAYERS: [u64; 3] = [1, 2, 8];

/// Runs all that is asked for and prints a table after each.
pub(super) fn all(options: &Options, folder: &Path) {
    let run = Run { options, folder };
    let chosen = CONTENDERS.iter().filter(|each| options.has_contender(each.name));
    print_notes(chosen.map(|each| (each.name, each.note)));
    if options.has_part(Part::Cycles) {
        run.cycles("durable cycles", Promise::Disk, 0.55);
    }
    if options.has_part(Part::Flight) {
        run.flight(0.1);
    }
    if options.has_part(Part::Replay) {
        run.replay(0.15);
    }
    if options.has_part(Part::NoSync) {
        run.cycles("cycles without sync", Promise::Process, 0.2);
    }
    if options.has_part(Part::Open) {
        open::all(options, folder);
    }
}

struct Run<'a> {
    options: &'a Options,
    folder: &'a Path,
}

impl Run<'_> {
    fn cycles(&self, what: &str, promise: Promise, share: f64) {
        let contenders = self.contenders(|_| true);
        // Tells how quick the disk was meanwhile.
        let raw = (promise == Promise::Disk).then_some("raw");
        let names = contenders.iter().map(|each| each.name).chain(raw);
        let callers = &self.options.callers;
        let title = |callers: &u64| Table::new(format!("{what}, threads: {callers}"), floor::MEASURE);
        self.rounds(share, names, callers.iter().map(title).collect(), |name, table, length, folder| {
            match contender(name) {
                Some(contender) => Ok(cycles(&*(contender.open)(folder, promise)?, callers[table], length)),
                None => Ok(raw_syncs(folder, length)),
            }
        });
        if raw.is_some() {
            println!("  raw: write + fdatasync in a loop; two count as a cycle, p50 and p99 are of one");
        }
    }

    fn flight(&self, share: f64) {
        let contenders = self.contenders(|name| name == "lessor" || name == floor::WRITER);
        let names = contenders.iter().map(|each| each.name);
        let flights = self.options.flights;
        let title = format!("durable cycles, {flights} asynchronous callers in flight on 2 workers");
        self.rounds(share, names, vec![Table::new(title, floor::MEASURE)], |name, _, length, folder| {
            let per_second = if name == floor::WRITER {
                fly(
                    &two_workers(),
                    floor::Floor::<group::Writer>::open(folder, Promise::Disk),
                    flights,
                    length,
                )
            } else {
                fly(&two_workers(), Lessor::file(folder, Promise::Disk)?, flights, length)
            };
            Ok(Sample { per_second, latency: None })
        });
    }

    fn replay(&self, share: f64) {
        let contenders = self.contenders(|name| !["sled", "fjall", floor::WRITER].contains(&name));
        let names = contenders.iter().map(|each| each.name);
        let title = |callers: &u64| {
            Table::new(format!("replays of a finished key, threads: {callers}"), floor::MEASURE)
        };
        let tables = REPLAYERS.iter().map(title).collect();
        let keys: Vec<_> = (0..REPLAYED).map(|n| key(0, n)).collect();
        self.rounds(share, names, tables, |name, table, length, folder| {
            let contender = contender(name).expect("chosen among them");
            let guard = (contender.open)(folder, Promise::Process)?;
            guard.fill(REPLAYED);
            Ok(replays(&*guard, &keys, REPLAYERS[table], length))
        });
    }

    fn contenders(&self, takes_part: impl Fn(&str) -> bool) -> Vec<&'static Contender> {
        let chosen = |each: &&Contender| takes_part(each.name) && self.options.has_contender(each.name);
        CONTENDERS.iter().filter(chosen).collect()
    }

    /// Runs everybody for each of `tables`, each on a fresh folder.
    fn rounds(
        &self,
        share: f64,
        names: impl Iterator<Item = &'static str>,
        tables: Vec<Table>,
        mut run: impl FnMut(&'static str, usize, Duration, &Path) -> Result<Sample, String>,
    ) {
        rounds(
            self.options.rounds,
            self.options.time.mul_f64(share),
            names,
            tables,
            |name, table, length| self.on_fresh_folder(|folder| run(name, table, length, folder)),
        );
    }

    fn on_fresh_folder<T>(&self, run: impl FnOnce(&Path) -> T) -> T {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(self.folder).expect("a folder");
        let done = run(folder.path());
        folder.close().expect("what was made can be removed");
        // Or the next one's syncs would pay for what this one left behind.
        File::open(self.folder).and_then(|folder| folder.sync_all()).expect("sync");
        done
    }
}

/// Fresh keys for as long as `length`.
fn cycles(guard: &dyn Guard, callers: u64, length: Duration) -> Sample {
    // The first one makes files, tables and connections.
    guard.run("warm-up", &Receipt::new(0));
    repeat(callers, length, |caller, n| {
        assert_eq!(guard.run(&key(caller, n), &Receipt::new(n)), Told::Done);
    })
}

/// Many at a time, since one takes little more than reading the clock.
fn replays(guard: &dyn Guard, keys: &[String], callers: u64, length: Duration) -> Sample {
    const AT_ONCE: u64 = 100;
    let receipt = Receipt::new(0);
    let sample = repeat(callers, length, |caller, n| {
        for n in n * AT_ONCE..(n + 1) * AT_ONCE {
            let key = &keys[((n * 7919 + caller * 104_729) % REPLAYED) as usize];
            assert!(matches!(guard.run(key, &receipt), Told::Replayed(_)));
        }
    });
    Sample { per_second: sample.per_second * AT_ONCE as f64, latency: None }
}

fn raw_syncs(folder: &Path, length: Duration) -> Sample {
    let mut file = LogFile::create(&folder.join("raw"), 64 << 20, Promise::Disk);
    let bytes = [1; usize::midpoint(GRANTED, COMPLETED)];
    let stop = Instant::now() + length;
    let mut took = Vec::new();
    while Instant::now() < stop {
        let begun = Instant::now();
        file.append(&bytes);
        took.push(begun.elapsed());
    }
    let mut sample = Sample::of(took, length);
    sample.per_second /= 2.0;
    sample
}
