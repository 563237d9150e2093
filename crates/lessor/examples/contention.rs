//! How a store does on this machine, with your mix of keys and callers: `contention --help`.
//!
//! Another guard than lessor's is measured the same way by implementing `lessor_testkit::contention::Guard` for it.

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use lessor::Key;
use lessor_testkit::contention::{Callers, Crowd, Keys, Sample};
use lexopt::prelude::*;

const HELP: &str = "\
Measures how a store does when many callers want its keys.

usage: contention [options]

  --store URL       what `lessor::open` takes; default `memory:`
  --threads N,…     callers, each run by itself, at most 1024; default 1,2,8
  --tasks N,…       the same as tasks of an executor with two threads, instead of threads; at most 1000000
  --keys N          how many different keys are asked for, at most 10000000; default 10000
  --exponent X      how unlike they are asked for: 0 all alike, 1 as popular things are, 2 hardly any but the first; default 1
  --requests FILE   instead: one key per line, asked for in this order, over and over
  --result BYTES    how long a result is, at most 1048576; default 64
  --seconds S       how long each run takes; default 1
  --rounds N        how often each is run; the medians are shown; default 3

Each run begins with keys of its own, so with the same --store it can be run again.
";

struct Args {
    store: String,
    crowds: Vec<Callers>,
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
    for callers in &args.crowds {
        let crowd = Crowd::new(*callers)
            .length(Duration::try_from_secs_f64(args.seconds)?)
            .result(vec![b'r'; args.result]);
        let mut runs = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..args.rounds {
            // Keys that no run before has asked for, so that the work is there to be done.
            let crowd = crowd.clone().within(&behind(engine.now().wait()?.as_micros(), ""));
            // Turn and turn about, so that a slow moment of the machine meets all of them.
            runs[0].push(crowd.fresh(&engine));
            runs[1].push(crowd.on_keys(&engine, &keys));
            runs[2].push(crowd.refused(&engine));
        }
        let [fresh, mixed, refused] = runs.map(median);
        for (workload, sample) in [("fresh keys", fresh), ("your mix", mixed), ("one held key", refused)] {
            println!("{:<12} {workload:<12} {sample}", told(*callers));
        }
    }
    engine.close(Duration::from_secs(10)).wait()?;
    Ok(())
}

fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    samples.swap_remove(samples.len() / 2)
}

fn told(callers: Callers) -> String {
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
            Long("keys") => keys = Some(within("--keys", parser.value()?.parse()?, 1, 10_000_000)?),
            Long("exponent") => exponent = Some(within("--exponent", parser.value()?.parse()?, 0.0, 100.0)?),
            Long("requests") => requests = Some(parser.value()?.string()?),
            Long("result") => result = within("--result", parser.value()?.parse()?, 0, 1 << 20)?,
            Long("seconds") => seconds = within("--seconds", parser.value()?.parse()?, 0.001, 86_400.0)?,
            Long("rounds") => rounds = within("--rounds", parser.value()?.parse()?, 1, 1_000_000)?,
            other => return Err(other.unexpected().into()),
        }
    }
    if requests.is_some() && (keys.is_some() || exponent.is_some()) {
        return Err(
            "--requests says which keys are asked for, so --keys and --exponent have no effect".into()
        );
    }
    let crowds = match (threads, tasks) {
        (Some(_), Some(_)) => return Err("callers are --threads or --tasks, not both".into()),
        (None, None) => [1, 2, 8].map(Callers::Threads).into(),
        (Some(crowds), None) | (None, Some(crowds)) => crowds,
    };
    let (keys, exponent) = (keys.unwrap_or(10_000), exponent.unwrap_or(1.0));
    Ok(Some(Args { store, crowds, keys, exponent, requests, result, seconds, rounds }))
}

/// Also refuses what is not a number.
fn within<N: PartialOrd + Display>(what: &str, number: N, least: N, most: N) -> Result<N, String> {
    if number >= least && number <= most {
        Ok(number)
    } else {
        Err(format!("{what} is {number}, and has to be from {least} to {most}"))
    }
}

fn requests(file: &str) -> Result<Vec<String>, String> {
    let cannot = |error| format!("{file}: {error}");
    if !fs::metadata(file).map_err(cannot)?.is_file() {
        return Err(format!("{file}: it is not a regular file"));
    }
    let text = fs::read_to_string(file).map_err(cannot)?;
    for (line, key) in (1..).zip(text.lines()) {
        // Behind what tells one run's keys from another's.
        let is_key = !key.is_empty() && Key::check(&behind(0, key)).is_ok();
        if !is_key {
            return Err(format!(
                "{file}, line {line}: it is no key; write one per line, without control characters, at most 200 characters long"
            ));
        }
    }
    if text.is_empty() {
        return Err(format!("{file} is empty; write a key per line"));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// The key of one run. As long whatever the time is.
fn behind(micros: u64, key: &str) -> String {
    format!("run {micros:020}:{key}")
}

fn counts(list: &str, most: u64, of: fn(u64) -> Callers) -> Result<Vec<Callers>, String> {
    let count = |word: &str| match word.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(of(count)),
        _ => Err(format!("{word:?} is no number of callers from 1 to {most}")),
    };
    list.split(',').map(count).collect()
}
