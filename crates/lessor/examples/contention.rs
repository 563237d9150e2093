//! How a store does on this machine, with your mix of keys and callers: `contention --help`.
//!
//! Another guard than lessor's is measured the same way by implementing `lessor_testkit::contention::Guard` for it.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use lessor_testkit::contention::{Callers, Crowd, Keys, Sample};
use lexopt::prelude::*;

const HELP: &str = "\
Measures how a store does when many callers want its keys.

usage: contention [options]

  --store URL       what `lessor::open` takes; default `memory:`
  --threads N,…     callers, each run by itself; default 1,2,8
  --tasks N,…       the same as tasks of an executor with two threads, instead of threads
  --keys N          how many different keys are asked for; default 10000
  --exponent X      how unlike they are asked for: 0 all alike, 1 as popular things are, 2 hardly any but the first; default 1
  --requests FILE   instead: one key per line, asked for in this order, over and over
  --result BYTES    how long a result is; default 64
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
        Some(file) => {
            let requests = fs::read_to_string(file)?;
            if requests.lines().next().is_none() {
                return Err(format!("{file} is empty; write a key per line").into());
            }
            Keys::recorded(requests.lines().map(str::to_owned))
        }
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
            let crowd = crowd.clone().within(&format!("run {}:", engine.now().wait()?.as_micros()));
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
    engine.shutdown(Duration::from_secs(10)).wait();
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
    let mut args = Args {
        store: "memory:".to_owned(),
        crowds: [1, 2, 8].map(Callers::Threads).into(),
        keys: 10_000,
        exponent: 1.0,
        requests: None,
        result: 64,
        seconds: 1.0,
        rounds: 3,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("store") => args.store = parser.value()?.string()?,
            Long("threads") => args.crowds = counts(&parser.value()?.string()?, Callers::Threads)?,
            Long("tasks") => args.crowds = counts(&parser.value()?.string()?, Callers::Tasks)?,
            Long("keys") => args.keys = parser.value()?.parse()?,
            Long("exponent") => args.exponent = parser.value()?.parse()?,
            Long("requests") => args.requests = Some(parser.value()?.string()?),
            Long("result") => args.result = parser.value()?.parse()?,
            Long("seconds") => args.seconds = parser.value()?.parse()?,
            Long("rounds") => args.rounds = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if args.keys == 0 || args.rounds == 0 || args.exponent.is_nan() || args.exponent < 0.0 {
        return Err("keys and rounds begin at 1, the exponent at 0".into());
    }
    Ok(Some(args))
}

fn counts(list: &str, of: fn(u64) -> Callers) -> Result<Vec<Callers>, Box<dyn Error>> {
    let count = |word: &str| match word.parse() {
        Ok(count @ 1..) => Ok(of(count)),
        _ => Err(format!("{word:?} is no number of callers")),
    };
    Ok(list.split(',').map(count).collect::<Result<_, _>>()?)
}
