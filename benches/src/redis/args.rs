//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use super::CONTENDERS;
use super::server::Mode;
use crate::args::{number, numbers, read, seconds};

const HELP: &str = "\
usage: cargo bench -p lessor-benches --bench redis [-- OPTION…]

  --seconds S          how long the timed runs take together; default 120
  --only NAME,…        parts (async blocking hot), contenders, or both
  --appendonly NAME,…  no, yes (with appendfsync always), or both, which is the default
  --callers N,…        asynchronous callers; default 1,64,512
  --threads N,…        blocking callers; default 1,8,64
  --rounds N           how often each run is repeated; the medians are shown; default 7";

/// The parts of the benchmark, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Async,
    Blocking,
    Hot,
}

const PARTS: [(&str, Part); 3] = [("async", Part::Async), ("blocking", Part::Blocking), ("hot", Part::Hot)];

/// What is to be run, and how long.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) time: Duration,
    pub(super) modes: Vec<Mode>,
    pub(super) callers: Vec<u64>,
    pub(super) threads: Vec<u64>,
    pub(super) rounds: usize,
    parts: Vec<Part>,
    contenders: Vec<String>,
}

impl Options {
    /// Reads the command line. `None` if it is meant for others.
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Option<Self>, String> {
        let mut options = Self {
            time: Duration::from_secs(120),
            modes: vec![Mode::Volatile, Mode::Durable],
            callers: vec![1, 64, 512],
            threads: vec![1, 8, 64],
            rounds: 7,
            parts: Vec::new(),
            contenders: Vec::new(),
        };
        let is_meant = options.read(arguments).map_err(|error| format!("{error}\n\n{HELP}"))?;
        Ok(is_meant.then_some(options))
    }

    fn read(&mut self, arguments: Vec<OsString>) -> Result<bool, String> {
        let is_meant = read(arguments, "The benchmark of the Redis store.", |name, value| {
            match name {
                "seconds" => self.time = seconds(value)?,
                "only" => value.split(',').try_for_each(|name| self.choose(name))?,
                "appendonly" => self.modes = value.split(',').map(mode).collect::<Result<_, _>>()?,
                "callers" => self.callers = numbers(value)?,
                "threads" => self.threads = numbers(value)?,
                "rounds" => self.rounds = number(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if self.rounds == 0 || self.callers.contains(&0) || self.threads.contains(&0) {
            return Err("counts begin at 1".to_owned());
        }
        Ok(is_meant)
    }

    fn choose(&mut self, name: &str) -> Result<(), String> {
        if let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) {
            self.parts.push(*part);
        } else if CONTENDERS.iter().any(|(known, _)| *known == name) {
            self.contenders.push(name.to_owned());
        } else {
            let known = PARTS.iter().map(|(name, _)| *name).chain(CONTENDERS.iter().map(|(name, _)| *name));
            return Err(format!("there is no {name:?}; there are: {}", known.collect::<Vec<_>>().join(" ")));
        }
        Ok(())
    }

    pub(super) fn has_part(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    pub(super) fn has_contender(&self, name: &str) -> bool {
        self.contenders.is_empty() || self.contenders.iter().any(|chosen| chosen == name)
    }
}

fn mode(value: &str) -> Result<Mode, String> {
    match value {
        "no" => Ok(Mode::Volatile),
        "yes" => Ok(Mode::Durable),
        _ => Err(format!("{value:?} is neither no nor yes")),
    }
}
