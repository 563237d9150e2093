//! Contenders take turns, round after round.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::report::{Sample, Table};

/// Runs everybody for each of `tables`, for `time` together, and prints them. A disk or a core that others share is slow for half a
/// minute now and then: so the tables take turns as well, and each round begins with another contender. Who cannot be
/// run is told of, once, and left out.
pub(crate) fn rounds(
    count: usize,
    time: Duration,
    names: impl Iterator<Item = &'static str>,
    mut tables: Vec<Table>,
    mut run: impl FnMut(&'static str, usize, Duration) -> Result<Sample, String>,
) {
    let mut names: Vec<_> = names.collect();
    for table in &mut tables {
        table.expect(&names);
    }
    let runs = names.len() * tables.len() * count;
    let length = time.div_f64(runs.max(1) as f64);
    for _ in 0..count {
        for (at, table) in tables.iter_mut().enumerate() {
            names.retain(|name| match run(name, at, length) {
                Ok(sample) => {
                    table.add(name, sample);
                    true
                }
                Err(error) => {
                    println!("\n{name} is left out: {error}");
                    false
                }
            });
        }
        if !names.is_empty() {
            names.rotate_left(1);
        }
    }
    tables.iter().for_each(Table::print);
}

/// Has `callers` threads repeat `work(caller, n)` for as long as `length`.
pub(crate) fn repeat(callers: u64, length: Duration, work: impl Fn(u64, u64) + Sync) -> Sample {
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
