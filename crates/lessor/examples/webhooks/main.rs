//! The core of a webhook receiver. Deliveries arrive more than once and concurrently. Each is
//! processed exactly once, and every duplicate gets the result.
//!
//! ```text
//!  file ──► queue ──► N workers ──► engine.once(id) ──┬─► the work, whose effect is one line in the ledger
//!                                                     └─► the result of another call
//! ```
//!
//! `cargo run --release -p lessor --example webhooks` runs a built-in sample, and `-- --help` lists
//! the options. The leases are in a folder: a second run replays everything, and a run after a kill
//! continues. Chaos options make workers panic, stall past their lease, and return errors. At the
//! end the ledger is checked: all repeated work must have a reason.

mod args;
mod chaos;
mod input;
mod ledger;
mod report;
mod worker;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lessor::{Engine, Settings};

use args::{Args, Parsed};
use input::Input;
use ledger::{Audit, Ledger};
use report::{Frame, Tally};
use worker::Worker;

/// The exit code if the check found problems, or if the program could not run.
const CHECK_FAILED: u8 = 1;
const REFUSED: u8 = 2;

/// The maximum number of repetitions that a run lists.
const SHOWN: usize = 10;
/// The retention of records, which must be as long as the ledger is kept.
const RETENTION: Duration = Duration::from_hours(10 * 365 * 24);

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(Parsed::Run(args)) => *args,
        Ok(Parsed::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&format!("{error}; see --help")),
    };
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(CHECK_FAILED),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &str) -> ExitCode {
    eprintln!("webhooks: {error}");
    ExitCode::from(REFUSED)
}

/// Returns whether all deliveries were handled and the ledger has no problems.
fn run(args: &Args) -> Result<bool, String> {
    if let (true, Some(path)) = (args.check, &args.ledger) {
        let audit = ledger::audit(&ledger::read(path)?, &Tally::default(), &HashSet::new());
        return Ok(conclude(path, &Tally::default(), &audit, usize::MAX));
    }
    // The whole input is checked before the work begins, so that an invalid line at the end does
    // not leave half of it done.
    let input = Input::new(args);
    let (deliveries, ids) = input.survey()?;

    let engine = open_engine(args)?;
    let began = now(&engine)?;
    let path = args.ledger.clone().unwrap_or_else(|| fresh_ledger(began));
    let ledger = Ledger::open(path, engine.durability(), args.overwrite, began)?;

    let tally = work(args, &engine, &ledger, &input, deliveries)?;
    let took = Duration::from_micros(now(&engine)?.saturating_sub(began));
    engine.close(Duration::from_secs(10)).wait().map_err(|error| format!("closing the store: {error}"))?;
    if tally.troubles.is_empty() {
        let _ = ledger.end();
    }
    if let Some(failure) = ledger.failure() {
        return Err(failure.to_owned());
    }

    let audit = ledger::audit(&ledger::read(ledger.path())?, &tally, &ids);
    let frame = Frame { deliveries, distinct: ids.len(), took, has_chaos: args.chaos.is_on() };
    report::print(&tally, &audit, &frame);
    Ok(conclude(ledger.path(), &tally, &audit, SHOWN))
}

/// Prints the result of the check, including lines of earlier runs.
fn conclude(path: &Path, tally: &Tally, audit: &Audit, shown: usize) -> bool {
    println!("\nledger {}: {}", path.display(), audit.summary());
    for again in audit.again.iter().take(shown) {
        println!("AGAIN {again}");
    }
    if audit.again.len() > shown {
        let more = audit.again.len() - shown;
        println!("… and {more} more: --check --ledger {} lists them", path.display());
    }
    for problem in tally.troubles.iter().chain(&audit.problems) {
        println!("PROBLEM {problem}");
    }
    tally.troubles.is_empty() && audit.problems.is_empty()
}

fn open_engine(args: &Args) -> Result<Engine, String> {
    // The lease of a stalled worker is renewed, because only the worker stalls and not the process.
    // This limit ends the renewals, so that work which hangs is taken over.
    let settings = Settings::new().default_ttl(args.ttl).max_hold(args.ttl * 2).retention(RETENTION);
    lessor::open_with(&args.store, settings).map_err(|error| error.to_string())
}

fn now(engine: &Engine) -> Result<u64, String> {
    engine.now().wait().map(lessor::Timestamp::as_micros).map_err(|error| error.to_string())
}

fn fresh_ledger(began: u64) -> PathBuf {
    std::env::temp_dir().join(format!("webhooks-ledger-{began}-{}.ndjson", std::process::id()))
}

/// Passes the deliveries to the workers in the order of the file.
fn work(
    args: &Args,
    engine: &Engine,
    ledger: &Ledger,
    input: &Input,
    deliveries: usize,
) -> Result<Tally, String> {
    // Hidden if standard error is not a terminal.
    let bar = ProgressBar::new(deliveries as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} deliveries {per_sec} {eta}") {
        bar.set_style(style);
    }
    let (sender, queue) = sync_channel(args.workers * 2);
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        let workers: Result<Vec<_>, String> = (1..=args.workers)
            .map(|number| {
                let mut worker = Worker::new(number, args, engine, ledger);
                let (queue, bar) = (&queue, &bar);
                let started = thread::Builder::new().spawn_scoped(scope, move || {
                    // The queue's lock is held only while waiting for the next delivery.
                    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
                    while let Some(delivery) = next() {
                        worker.handle(&delivery);
                        bar.inc(1);
                    }
                    worker.into_tally()
                });
                started.map_err(|error| {
                    format!("worker {number} cannot be started: {error}; give fewer --workers")
                })
            })
            .collect();
        // Workers end when the queue is empty and the sender has been dropped, also on this return.
        let workers = workers?;
        let fed = input.each(|delivery| match ledger.failure() {
            Some(failure) => Err(failure.to_owned()),
            None => sender.send(delivery).map_err(|_| "no worker is left to take deliveries".to_owned()),
        });
        drop(sender);
        let mut sum = Tally::default();
        for worker in workers {
            sum.add(worker.join().map_err(|_| "a worker died outside of its work".to_owned())?);
        }
        bar.finish_and_clear();
        fed.map(|()| sum)
    })
}
