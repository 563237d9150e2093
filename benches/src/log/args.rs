//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use super::CONTENDERS;
use crate::args::{number, numbers, read, seconds};

const HELP: &str = "\
usage: cargo bench -p lessor-benches --bench log [-- OPTION…]

  --seconds S       how long the timed runs take together; default 120
  --only NAME,…     parts (cycles flight replay nosync open), contenders, or both
  --callers N,…     threads of the durable cycles; default 1,8,64
  --rounds N        how often each run is repeated; the medians are shown; default 7
  --flights N       asynchronous callers in flight; default 10000
  --records N       records to open a store with; default 1000000";

/// The parts of the benchmark, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Cycles,
    Flight,
    Replay,
    NoSync,
    Open,
}

const PARTS: [(&str, Part); 5] = [
    ("cycles", Part::Cycles),
    ("flight", Part::Flight),
    ("replay", Part::Replay),
    ("nosync", Part::NoSync),
    ("open", Part::Open),
];

/// What is to be run, and how long.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) time: Duration,
    pub(super) callers: Vec<u64>,
    pub(super) rounds: usize,
    pub(super) flights: u64,
    pub(super) records: u64,
    parts: Vec<Part>,
    contenders: Vec<String>,
}

impl Options {
    /// Reads the command line. What `cargo bench` adds by itself is passed over. `None` if it is meant for others: a word that
    /// is no option is a filter, which all benchmarks of a package are given.
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Option<Self>, String> {
        let mut options = Self {
            time: Duration::from_secs(120),
            callers: vec![1, 8, 64],
            rounds: 7,
            flights: 10_000,
            records: 1_000_000,
            parts: Vec::new(),
            contenders: Vec::new(),
        };
        let is_meant = options.read(arguments).map_err(|error| format!("{error}\n\n{HELP}"))?;
        Ok(is_meant.then_some(options))
    }

    fn read(&mut self, arguments: Vec<OsString>) -> Result<bool, String> {
        let is_meant = read(arguments, "The benchmark of the file log.", |name, value| {
            match name {
                "seconds" => self.time = seconds(value)?,
                "only" => value.split(',').try_for_each(|name| self.choose(name))?,
                "callers" => self.callers = numbers(value)?,
                "rounds" => self.rounds = number(value)?,
                "flights" => self.flights = number(value)?,
                "records" => self.records = number(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if self.rounds == 0 || self.flights == 0 || self.records == 0 || self.callers.contains(&0) {
            return Err("counts begin at 1".to_owned());
        }
        Ok(is_meant)
    }

    fn choose(&mut self, name: &str) -> Result<(), String> {
        if let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) {
            self.parts.push(*part);
        } else if CONTENDERS.iter().any(|contender| contender.name == name) {
            self.contenders.push(name.to_owned());
        } else {
            let known = PARTS.iter().map(|(name, _)| *name).chain(CONTENDERS.iter().map(|each| each.name));
            return Err(format!("there is no {name:?}; there are: {}", known.collect::<Vec<_>>().join(" ")));
        }
        Ok(())
    }

    pub(super) fn has_part(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    pub(super) fn has_contender(&self, name: &str) -> bool {
        !self.chooses_contenders() || self.contenders.iter().any(|chosen| chosen == name)
    }

    pub(super) fn chooses_contenders(&self) -> bool {
        !self.contenders.is_empty()
    }
}
