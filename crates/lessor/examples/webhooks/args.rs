//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

use crate::chaos::Chaos;

/// The default member that is compared.
pub(crate) const PAYLOAD: &str = "payload";
/// Each worker is a thread.
const MAX_WORKERS: usize = 1024;

pub(crate) const HELP: &str = "\
Processes each webhook delivery exactly once, even if it arrives several times.

usage: webhooks [options]

  --input FILE        the deliveries, one JSON object per line; default: a built-in sample
  --id FIELD          the member that identifies a delivery; default `delivery`
  --payload FIELD     the member that must be present, and equal in all copies of a delivery; default `payload`,
                      if a delivery has it
  --workers N         the number of threads, at most 1024; default 8
  --store URL         the store of the leases: `file:FOLDER`, `memory:` or, built with the feature `redis`,
                      `redis://HOST?prefix=NAME`, which several processes can share; default `file:./leases`
  --ledger FILE       gets one line per piece of work; default FOLDER.ledger.ndjson beside the store's folder,
                      or a new temporary file with `memory:`. Processes that share a server must share the ledger
  --overwrite         with `memory:`, empty the ledger first
  --check             only check the existing ledger, and list all repeated work
  --ttl DURATION      the ttl of a lease, such as 200ms, 5s or 1m. The work of a killed process is taken over
                      after this time; default 5s, or 200ms with --stall-rate
  --attempts N        the number of attempts before a failure is final; default 5

chaos, each as a share of all attempts, from 0 to 1; default 0:
  --panic-rate P      the worker panics after the effect and before it is recorded
  --error-rate P      the work returns an error
  --stall-rate P      the worker stalls past its lease after the effect, then continues and tries to record it
  --seed N            selects the attempts; default 1

A second run repeats no work, because the store has the results. After a kill, the next run continues. Work that was
interrupted between its effect and the record of it is repeated, and the check at the end reports it. To start over,
remove the store's folder and the ledger.

With `memory:`, which keeps nothing, the ledger must be empty unless --overwrite is given.

exit code: 0 if all is well, 1 if the check found a problem, 2 if the run could not start or continue
";

pub(crate) enum Parsed {
    Run(Box<Args>),
    Help,
}

pub(crate) struct Args {
    pub(crate) input: Option<PathBuf>,
    pub(crate) id: String,
    /// If `None`, [`PAYLOAD`] is compared in deliveries that have it.
    pub(crate) payload: Option<String>,
    pub(crate) workers: usize,
    pub(crate) store: String,
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) overwrite: bool,
    pub(crate) check: bool,
    pub(crate) ttl: Duration,
    pub(crate) attempts: u32,
    pub(crate) chaos: Chaos,
}

pub(crate) fn parse() -> Result<Parsed, lexopt::Error> {
    let mut args = Args {
        input: None,
        id: "delivery".to_owned(),
        payload: None,
        workers: 8,
        store: "file:./leases".to_owned(),
        ledger: None,
        overwrite: false,
        check: false,
        ttl: Duration::ZERO,
        attempts: 5,
        chaos: Chaos::default(),
    };
    let mut ttl = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("input") => args.input = Some(parser.value()?.into()),
            Long("id") => args.id = parser.value()?.string()?,
            Long("payload") => args.payload = Some(parser.value()?.string()?),
            Long("workers") => args.workers = parser.value()?.parse_with(workers)?,
            Long("store") => args.store = parser.value()?.string()?,
            Long("ledger") => args.ledger = Some(parser.value()?.into()),
            Long("overwrite") => args.overwrite = true,
            Long("check") => args.check = true,
            Long("ttl") => ttl = Some(parser.value()?.parse_with(duration)?),
            Long("attempts") => args.attempts = at_least_one("--attempts", parser.value()?.parse()?)?,
            Long("panic-rate") => args.chaos.panics = parser.value()?.parse_with(rate)?,
            Long("error-rate") => args.chaos.errors = parser.value()?.parse_with(rate)?,
            Long("stall-rate") => args.chaos.stalls = parser.value()?.parse_with(rate)?,
            Long("seed") => args.chaos.seed = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(Parsed::Help),
            _ => return Err(arg.unexpected()),
        }
    }
    if args.chaos.panics + args.chaos.errors + args.chaos.stalls > 1.0 {
        return Err("the three rates add up to more than 1".into());
    }
    if args.ledger.is_none() {
        args.ledger = ledger_beside(&args.store);
    }
    if args.ledger.is_none() && args.store.starts_with("redis") {
        return Err("a store on a server needs --ledger, the same for all processes that share it".into());
    }
    if args.ledger.is_none() && args.store.contains('%') {
        return Err("a store whose URL has escapes needs --ledger".into());
    }
    if args.check && args.ledger.is_none() {
        return Err("--check needs --ledger".into());
    }
    let default = if args.chaos.stalls > 0.0 { Duration::from_millis(200) } else { Duration::from_secs(5) };
    args.ttl = ttl.unwrap_or(default);
    Ok(Parsed::Run(Box::new(args)))
}

/// Returns the default ledger of a store in a folder.
fn ledger_beside(store: &str) -> Option<PathBuf> {
    let folder = store.strip_prefix("file:")?.split('?').next()?.trim_end_matches('/');
    let folder = folder.strip_prefix("//").unwrap_or(folder);
    (!folder.is_empty() && !folder.contains('%')).then(|| format!("{folder}.ledger.ndjson").into())
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(workers) if (1..=MAX_WORKERS).contains(&workers) => Ok(workers),
        _ => Err(format!("--workers must be from 1 to {MAX_WORKERS}")),
    }
}

fn at_least_one<N: FromStr + Default + PartialEq>(what: &str, number: N) -> Result<N, lexopt::Error> {
    if number == N::default() { Err(format!("{what} must be at least 1").into()) } else { Ok(number) }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("give a share from 0 to 1, such as 0.1".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let usage = || "give a number with its unit, such as 200ms, 5s or 1m".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| usage())?;
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        _ => return Err(usage()),
    };
    number.checked_mul(micros).map(Duration::from_micros).ok_or_else(usage)
}
