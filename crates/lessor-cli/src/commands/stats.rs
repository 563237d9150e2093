//! `lessor stats`.

use std::io::{self, Write};

use clap::Args;
use lessor::{State, Timestamp};
use serde::Serialize;

use crate::exit::Code;
use crate::output::{self, Shown};
use crate::place::Global;
use crate::problem::Problem;
use crate::{progress, reading, time};

/// Count the records of a store by their states
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Only keys that begin with this text
    prefix: Option<String>,
}

/// Numbers of records. In JSON, times are in µs since 1970.
#[derive(Debug, Serialize)]
struct Counts {
    durability: String,
    now: Timestamp,
    records: u64,
    in_progress: u64,
    lapsed: u64,
    /// Those of the lapsed ones that only an operator can free.
    in_doubt: u64,
    completed: u64,
    failed: u64,
    released: u64,
    /// Records with more than one attempt.
    repeated: u64,
    result_bytes: u64,
    oldest: Option<Timestamp>,
}

impl Stats {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open()?;
        let mut counts = Counts {
            durability: format!("{:?}", engine.durability()).to_lowercase(),
            now: engine.now().wait()?,
            records: 0,
            in_progress: 0,
            lapsed: 0,
            in_doubt: 0,
            completed: 0,
            failed: 0,
            released: 0,
            repeated: 0,
            result_bytes: 0,
            oldest: None,
        };
        let bar = progress::spinner("counting");
        reading::pages(&engine, self.prefix.as_deref().unwrap_or(""), &[], |page| {
            page.iter().for_each(|(_, view)| counts.add(view));
            Ok(true)
        })?;
        bar.finish_and_clear();
        global.output().show(&counts)?;
        Ok(Code::Done)
    }
}

impl Counts {
    fn add(&mut self, view: &lessor::View) {
        self.records += 1;
        match view.state() {
            State::InProgress => self.in_progress += 1,
            State::Lapsed => self.lapsed += 1,
            State::Completed => self.completed += 1,
            State::Failed => self.failed += 1,
            State::Released => self.released += 1,
            _ => {}
        }
        self.in_doubt += u64::from(view.is_in_doubt());
        self.repeated += u64::from(view.attempt() > 1);
        self.result_bytes += view.result_bytes().map_or(0, |bytes| bytes.len() as u64);
        let seen = view.first_seen_at();
        self.oldest = Some(self.oldest.map_or(seen, |oldest| oldest.min(seen)));
    }
}

impl Shown for Counts {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let pairs = [
            ("records", self.records.to_string()),
            ("  in progress", self.in_progress.to_string()),
            ("  lapsed", format!("{}, of which in doubt: {}", self.lapsed, self.in_doubt)),
            ("  completed", self.completed.to_string()),
            ("  failed", self.failed.to_string()),
            ("  released", self.released.to_string()),
            ("more than one attempt", self.repeated.to_string()),
            ("results", format!("{} bytes", self.result_bytes)),
            ("oldest record", self.oldest.map(time::at).unwrap_or_default()),
            ("store's time", time::at(self.now)),
            ("writes survive", self.survive().to_owned()),
        ];
        out.write_all(output::pairs(pairs).as_bytes())
    }
}

impl Counts {
    fn survive(&self) -> &'static str {
        match &*self.durability {
            "volatile" => "nothing",
            "process" => "the end of the process",
            "disk" => "a power loss",
            _ => "what the server is configured for",
        }
    }
}
