//! `lessor bench`.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use lessor::{Acquisition, Engine, Settings};
use serde::Serialize;

use crate::confirm::{Change, Confirm};
use crate::exit::Code;
use crate::output::{self, Shown};
use crate::place::Global;
use crate::problem::Problem;
use crate::{progress, time};

/// Measure a store: acquire fresh keys and complete them, on several threads
///
/// The keys begin with `lessor-bench-` and the id of the process, and are forgotten at the end. If
/// that fails, the records stay for a minute.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The number of cycles
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// The number of threads
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: u64,
    /// The size of each result
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    bytes: usize,
    #[command(flatten)]
    confirm: Confirm,
}

/// The result of a measurement. In JSON, latencies are in µs.
#[derive(Debug, Serialize)]
struct Measured {
    cycles: usize,
    threads: u64,
    seconds: f64,
    cycles_per_second: f64,
    median: u128,
    p99: u128,
    slowest: u128,
}

/// The work that is left, and what was measured.
struct Run<'a> {
    engine: &'a Engine,
    bar: ProgressBar,
    next: AtomicU64,
    count: u64,
    result: Vec<u8>,
    taken: Mutex<Vec<Duration>>,
}

impl Bench {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let place = global.place()?;
        let mut out = global.output();
        if !self.confirm.yes {
            let what = format!("write {} records, and forget them again", self.count);
            return self.confirm.make(
                Change::new(what, "their keys begin with lessor-bench-"),
                &mut out,
                || Ok(()),
            );
        }
        let engine = place.open(Settings::new().retention(Duration::from_secs(60)))?;
        let run = Run {
            engine: &engine,
            bar: progress::steps("measuring", self.count),
            next: AtomicU64::new(0),
            count: self.count,
            result: vec![b'x'; self.bytes],
            taken: Mutex::default(),
        };
        let began = now();
        let done = run.on_threads(self.threads, |run, key| run.cycle(key));
        let seconds = began.elapsed().as_secs_f64();
        run.next.store(0, Ordering::Relaxed);
        run.bar.set_message("cleaning up");
        let cleaned = run.on_threads(self.threads, |run, key| Ok(run.engine.forget(key).wait().map(drop)?));
        run.bar.finish_and_clear();
        done.and(cleaned)?;
        let mut taken = run.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        taken.sort_unstable();
        let at = |part: usize| taken.get((taken.len() - 1) * part / 100).map_or(0, Duration::as_micros);
        #[expect(clippy::cast_precision_loss, reason = "the number of cycles is small")]
        let cycles_per_second = taken.len() as f64 / seconds;
        out.show(&Measured {
            cycles: taken.len(),
            threads: self.threads,
            seconds,
            cycles_per_second,
            median: at(50),
            p99: at(99),
            slowest: at(100),
        })?;
        Ok(Code::Done)
    }
}

impl Run<'_> {
    /// Calls `step` with each key, on several threads. Ends with the first error.
    fn on_threads(
        &self,
        threads: u64,
        step: impl Fn(&Self, &str) -> Result<(), Problem> + Sync,
    ) -> Result<(), Problem> {
        let work = || loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(());
            }
            step(self, &format!("lessor-bench-{}-{number}", std::process::id())).inspect_err(|_| {
                self.next.store(self.count, Ordering::Relaxed);
            })?;
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                let panicked = |_| Err(Problem::new(Code::Error, "a thread of the measurement panicked"));
                thread.join().unwrap_or_else(panicked)
            })
        })
    }

    fn cycle(&self, key: &str) -> Result<(), Problem> {
        let began = now();
        let Acquisition::Acquired(lease) = self.engine.acquire(key).wait()? else {
            return Err(Problem::new(
                Code::Busy,
                format!("the key {key} is taken; forget it, and measure again"),
            ));
        };
        lease.complete_bytes(&self.result).wait()?;
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(began.elapsed());
        self.bar.inc(1);
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
fn now() -> Instant {
    Instant::now()
}

impl Shown for Measured {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let latency = |micros: u128| {
            format!(
                "{}",
                humantime::format_duration(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
            )
        };
        let pairs = [
            ("cycles", format!("{} on {} threads", self.cycles, self.threads)),
            ("time", time::duration(Duration::from_secs_f64(self.seconds))),
            ("cycles per second", format!("{:.0}", self.cycles_per_second)),
            ("median", latency(self.median)),
            ("99 %", latency(self.p99)),
            ("slowest", latency(self.slowest)),
        ];
        out.write_all(output::pairs(pairs).as_bytes())
    }
}
