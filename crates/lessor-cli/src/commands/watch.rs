//! `lessor watch`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use lessor::{Key, Timestamp};
use serde::Serialize;

use crate::exit::Code;
use crate::output::Row;
use crate::place::{Global, Opened};
use crate::problem::Problem;
use crate::record::RecordRow;
use crate::{pace, reading, time};

/// Print the keys, and then a line for each change until interrupted
///
/// The store is read at an interval, so of several changes of one key in between only the last one
/// is shown. A file store that another process has open cannot be watched.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only keys that begin with this text
    prefix: Option<String>,
    /// The interval between two readings
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = time::parse)]
    every: Duration,
    /// End after this many readings
    #[arg(long, value_name = "N")]
    readings: Option<u64>,
}

/// A change of a record, at the time of the reading that found it.
#[derive(Debug, Serialize)]
struct Seen {
    seen_at: Timestamp,
    /// `None` if the key has no record any more.
    record: Option<RecordRow>,
    key: Key,
}

impl Watch {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open()?;
        let mut out = global.output();
        let mut known = BTreeMap::new();
        let mut readings = 0;
        loop {
            let seen_at = engine.now().wait()?;
            let now = self.read(&engine)?;
            out.further_rows(&changes(&known, &now, seen_at))?;
            known = now;
            readings += 1;
            if self.readings.is_some_and(|most| readings >= most) {
                return Ok(Code::Done);
            }
            pace::pause(self.every);
        }
    }

    fn read(&self, engine: &Opened) -> Result<BTreeMap<Key, RecordRow>, Problem> {
        let mut records = BTreeMap::new();
        reading::pages(engine, self.prefix.as_deref().unwrap_or(""), &[], |page| {
            records.extend(page.into_iter().map(|(key, view)| (key.clone(), RecordRow::new(key, &view))));
            Ok(true)
        })?;
        Ok(records)
    }
}

/// Returns what is different. The time that is left of a lease is no difference, and its end is one.
fn changes(
    known: &BTreeMap<Key, RecordRow>,
    now: &BTreeMap<Key, RecordRow>,
    seen_at: Timestamp,
) -> Vec<Seen> {
    let mut changes = Vec::new();
    for (key, record) in now {
        let is_known = known
            .get(key)
            .is_some_and(|before| (before.version, before.state) == (record.version, record.state));
        if !is_known {
            changes.push(Seen { seen_at, record: Some(record.clone()), key: key.clone() });
        }
    }
    let gone = known.keys().filter(|key| !now.contains_key(*key));
    changes.extend(gone.map(|key| Seen { seen_at, record: None, key: key.clone() }));
    changes
}

impl Row for Seen {
    const COLUMNS: &'static [&'static str] =
        &["SEEN", "KEY", "STATE", "ATTEMPT", "HOLDER", "SINCE", "DETAIL"];

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![time::at(self.seen_at)];
        match &self.record {
            Some(record) => cells.extend(record.cells()),
            None => cells.extend([self.key.to_string(), "absent".to_owned()]),
        }
        cells
    }
}
