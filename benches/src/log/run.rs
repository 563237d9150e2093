//! The timed runs: contenders take turns, each on a fresh folder, round after round.

use std::fs::File;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::args::{Options, Part};
use super::disk::{COMPLETED, GRANTED, LogFile};
use super::report::{Line, Sample, print_notes, print_table};
use super::{CONTENDERS, Contender, Promise, contender, flight, floor, group, open};
use crate::{Guard, Lessor, Receipt, Told, key};

/// Finished keys that replays are asked of.
const REPLAYED: u64 = 100_000;
const REPLAYERS: [u64; 3] = [1, 2, 8];

/// Runs all that is asked for and prints a table after each.
pub(super) fn all(options: &Options, folder: &Path) {
    let run = Run { options, folder };
    print_notes(CONTENDERS.iter().filter(|each| options.has_contender(each.name)));
    if options.has_part(Part::Cycles) {
        run.cycles("durable cycles", Promise::Disk, &options.callers, 0.55);
    }
    if options.has_part(Part::Flight) {
        run.flight(0.1);
    }
    if options.has_part(Part::Replay) {
        run.replay(0.15);
    }
    if options.has_part(Part::NoSync) {
        run.cycles("cycles without sync", Promise::Process, &options.callers, 0.2);
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
    fn cycles(&self, what: &str, promise: Promise, callers: &[u64], share: f64) {
        let contenders = self.contenders(|_| true);
        // Tells how quick the disk was meanwhile: some slow down when they have been busy for minutes.
        let raw = (promise == Promise::Disk).then_some("raw");
        let length = self.slice(share, (contenders.len() + raw.iter().len()) * callers.len());
        for &callers in callers {
            let names = contenders.iter().map(|each| each.name).chain(raw);
            let lines = self.rounds(names, |name, folder| match contender(name) {
                Some(contender) => Ok(cycles(&*(contender.open)(folder, promise)?, callers, length)),
                None => Ok(raw_syncs(folder, length)),
            });
            let title = format!("{what} per second, threads: {callers}; acquire and complete a fresh key");
            print_table(&title, &lines);
            if raw.is_some() {
                println!(
                    "  raw: a loop of write + fdatasync on a preallocated file; two count as a cycle, p50 and p99 are of one"
                );
            }
        }
    }

    fn flight(&self, share: f64) {
        let contenders = self.contenders(|name| name == "lessor" || name == floor::WRITER);
        let length = self.slice(share, contenders.len());
        let flights = self.options.flights;
        let lines = self.rounds(contenders.iter().map(|each| each.name), |name, folder| {
            let per_second = if name == floor::WRITER {
                flight::fly(floor::Floor::<group::Writer>::open(folder, Promise::Disk), flights, length)
            } else {
                flight::fly(Lessor::file(folder, Promise::Disk)?, flights, length)
            };
            Ok(Sample { per_second, latency: None })
        });
        let title =
            format!("durable cycles per second, {flights} asynchronous callers in flight on 2 workers");
        print_table(&title, &lines);
    }

    fn replay(&self, share: f64) {
        let contenders = self.contenders(|name| !["sled", "fjall", floor::WRITER].contains(&name));
        let length = self.slice(share, contenders.len() * REPLAYERS.len());
        let mut lines: [Vec<Line>; REPLAYERS.len()] = Default::default();
        let names = contenders.iter().map(|each| each.name);
        let keys: Vec<_> = (0..REPLAYED).map(|n| key(0, n)).collect();
        // One store serves all counts of threads: filling it takes longer than asking it.
        self.rounds(names, |name, folder| {
            let contender = contender(name).expect("chosen among them");
            let guard = (contender.open)(folder, Promise::Process)?;
            guard.fill(REPLAYED);
            for (callers, lines) in REPLAYERS.iter().zip(&mut lines) {
                Line::of(lines, name).samples.push(replays(&*guard, &keys, *callers, length));
            }
            Ok(Sample { per_second: 0.0, latency: None })
        });
        for (callers, lines) in REPLAYERS.iter().zip(&lines) {
            let title = format!("replays per second, threads: {callers}; get the result of a finished key");
            print_table(&title, lines);
        }
    }

    fn contenders(&self, takes_part: impl Fn(&str) -> bool) -> Vec<&'static Contender> {
        let chosen = |each: &&Contender| takes_part(each.name) && self.options.has_contender(each.name);
        CONTENDERS.iter().filter(chosen).collect()
    }

    fn slice(&self, share: f64, runs: usize) -> Duration {
        self.options.time.mul_f64(share / (runs.max(1) * self.options.rounds) as f64)
    }

    /// The rounds of one table. Who cannot be opened is told of, once, and left out.
    fn rounds(
        &self,
        names: impl Iterator<Item = &'static str>,
        mut run: impl FnMut(&'static str, &Path) -> Result<Sample, String>,
    ) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut names: Vec<_> = names.collect();
        for _ in 0..self.options.rounds {
            names.retain(|name| match self.on_fresh_folder(|folder| run(name, folder)) {
                Ok(sample) => {
                    Line::of(&mut lines, name).samples.push(sample);
                    true
                }
                Err(error) => {
                    println!("\n{name} is left out: {error}");
                    false
                }
            });
        }
        lines
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
    timed(callers, length, |caller, n| {
        assert_eq!(guard.run(&key(caller, n), &Receipt::new(n)), Told::Done);
    })
}

/// Many at a time, since one takes little more than reading the clock.
fn replays(guard: &dyn Guard, keys: &[String], callers: u64, length: Duration) -> Sample {
    const AT_ONCE: u64 = 100;
    let receipt = Receipt::new(0);
    let sample = timed(callers, length, |caller, n| {
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

/// Has `callers` threads repeat `work(caller, n)` for as long as `length`.
fn timed(callers: u64, length: Duration, work: impl Fn(u64, u64) + Sync) -> Sample {
    let (start, stop) = (Barrier::new(callers as usize + 1), AtomicBool::new(false));
    let repeat = |caller| {
        let mut took = Vec::new();
        start.wait();
        let first = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            work(caller, took.len() as u64);
            took.push(begun.elapsed());
        }
        (first, took)
    };
    std::thread::scope(|scope| {
        let repeat = &repeat;
        let threads: Vec<_> = (0..callers).map(|caller| scope.spawn(move || repeat(caller))).collect();
        start.wait();
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        let done: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        // Where threads outnumber cores, this one may have come to its turn long after the first of them.
        let begun = done.iter().map(|(first, _)| *first).min().expect("a caller");
        let elapsed = begun.elapsed();
        Sample::of(done.into_iter().flat_map(|(_, took)| took).collect(), elapsed)
    })
}
