//! Measures a store on this machine with the caller's own keys and callers: `contention --help`.

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use lessor::Key;
use lessor_contention::{Callers, Keys, Sample, Workload};
use lexopt::prelude::*;

const HELP: &str = "\
Measures throughput and latency of a store while many callers compete for its keys.

usage: contention [options]

  --store URL       the store, as for `lessor::open`; default `memory:`
  --threads N,…     numbers of threads, each measured by itself, at most 1024; default 1,2,8
  --tasks N,…       numbers of tasks on an executor with two threads, instead of threads; at most 1000000
  --keys N          number of different keys, at most 10000000; default 10000
  --exponent X      exponent of the keys' Zipf distribution: 0 is uniform, 1 is typical, 2 is mostly one key; default 1
  --requests FILE   a file with a key per line, requested in this order over and over, instead of --keys
  --result BYTES    length of a result, at most 1048576; default 64
  --seconds S       length of a run; default 1
  --rounds N        number of runs; the medians are printed; default 3

Each run uses new keys, so the same --store can be measured again.
";

struct Args {
    store: String,
    callers: Vec<Callers>,
    keys: u32,
    exponent: f64,
    requests: Option<String>,
    result: usize,
    seconds: f64,
    rounds: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(args) = parse()? else {
        print!("{HELP}");
        return Ok(());
    };
    let keys = match &args.requests {
        None => Keys::zipf(args.keys, args.exponent),
        Some(file) => Keys::recorded(requests(file)?),
    };
    let engine = Arc::new(lessor::open(&args.store)?);
    println!("{:<12} {:<12} median of {}", "callers", "workload", args.rounds);
    for callers in &args.callers {
        let workload = Workload::new(*callers)
            .duration(Duration::try_from_secs_f64(args.seconds)?)
            .result(vec![b'r'; args.result]);
        let mut runs = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..args.rounds {
            // No earlier run has used this prefix, so all keys are free.
            let workload = workload.clone().key_prefix(&with_prefix(engine.now().wait()?.as_micros(), ""));
            // The workloads alternate, so that a slow moment of the machine affects all of them.
            runs[0].push(workload.fresh_keys(&engine));
            runs[1].push(workload.requests(&engine, &keys));
            runs[2].push(workload.refusals(&engine));
        }
        let [fresh_keys, requests, refusals] = runs.map(median);
        for (workload, sample) in [("fresh keys", fresh_keys), ("requests", requests), ("refusals", refusals)]
        {
            println!("{:<12} {workload:<12} {sample}", describe(*callers));
        }
    }
    engine.close(Duration::from_secs(10)).wait()?;
    Ok(())
}

fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    samples.swap_remove(samples.len() / 2)
}

fn describe(callers: Callers) -> String {
    match callers {
        Callers::Threads(count) => format!("{count} threads"),
        Callers::Tasks(count) => format!("{count} tasks"),
    }
}

fn parse() -> Result<Option<Args>, Box<dyn Error>> {
    let (mut threads, mut tasks, mut keys, mut exponent, mut requests) = (None, None, None, None, None);
    let (mut store, mut result, mut seconds, mut rounds) = ("memory:".to_owned(), 64, 1.0, 3);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("store") => store = parser.value()?.string()?,
            Long("threads") => threads = Some(counts(&parser.value()?.string()?, 1024, Callers::Threads)?),
            Long("tasks") => tasks = Some(counts(&parser.value()?.string()?, 1_000_000, Callers::Tasks)?),
            Long("keys") => keys = Some(in_range("--keys", parser.value()?.parse()?, 1, 10_000_000)?),
            Long("exponent") => {
                exponent = Some(in_range("--exponent", parser.value()?.parse()?, 0.0, 100.0)?);
            }
            Long("requests") => requests = Some(parser.value()?.string()?),
            Long("result") => result = in_range("--result", parser.value()?.parse()?, 0, 1 << 20)?,
            Long("seconds") => seconds = in_range("--seconds", parser.value()?.parse()?, 0.001, 86_400.0)?,
            Long("rounds") => rounds = in_range("--rounds", parser.value()?.parse()?, 1, 1_000_000)?,
            other => return Err(other.unexpected().into()),
        }
    }
    if requests.is_some() && (keys.is_some() || exponent.is_some()) {
        return Err("--keys and --exponent have no effect with --requests; remove one of them".into());
    }
    let callers = match (threads, tasks) {
        (Some(_), Some(_)) => {
            return Err("--threads and --tasks exclude each other; use one of them, not both".into());
        }
        (None, None) => [1, 2, 8].map(Callers::Threads).into(),
        (Some(callers), None) | (None, Some(callers)) => callers,
    };
    let (keys, exponent) = (keys.unwrap_or(10_000), exponent.unwrap_or(1.0));
    Ok(Some(Args { store, callers, keys, exponent, requests, result, seconds, rounds }))
}

/// Returns `number` if it is in the range. NaN is not.
fn in_range<N: PartialOrd + Display>(option: &str, number: N, min: N, max: N) -> Result<N, String> {
    if number >= min && number <= max {
        Ok(number)
    } else {
        Err(format!("{option} is {number}, and has to be from {min} to {max}"))
    }
}

fn requests(file: &str) -> Result<Vec<String>, String> {
    let cannot = |error| format!("{file}: {error}");
    if !fs::metadata(file).map_err(cannot)?.is_file() {
        return Err(format!("{file}: this is not a regular file"));
    }
    let text = fs::read_to_string(file).map_err(cannot)?;
    for (line, key) in (1..).zip(text.lines()) {
        // As it is requested, with the prefix of a run.
        let is_key = !key.is_empty() && Key::check(&with_prefix(0, key)).is_ok();
        if !is_key {
            return Err(format!(
                "{file}, line {line}: this is not a valid key; write one key per line, without control characters, at most 200 characters long"
            ));
        }
    }
    if text.is_empty() {
        return Err(format!("{file} is empty; write a key per line"));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// Returns the key of the run that began at `micros`. The length does not depend on the time.
fn with_prefix(micros: u64, key: &str) -> String {
    format!("run {micros:020}:{key}")
}

fn counts(list: &str, max: u64, of: fn(u64) -> Callers) -> Result<Vec<Callers>, String> {
    let count = |word: &str| match word.parse() {
        Ok(count) if (1..=max).contains(&count) => Ok(of(count)),
        _ => Err(format!("{word:?} is not a number of callers from 1 to {max}")),
    };
    list.split(',').map(count).collect()
}
