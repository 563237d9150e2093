//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::cases::{Plan, Store, all};
use crate::args::{number, read, seconds};

const HELP: &str = "\
usage: cargo xtask bench [OPTION…]

  --only NAME,…    stores (memory file redis), workloads (fresh churn refused hot cold zipf takeover renewals
                   waiters purge open),
                   contenders (lessor by-hand SQLite …; spaces may be dashes), or several of each
  --table STORE    prints only a table of ratios, from short runs without moka and the bare map, in less than two minutes;
                   STORE is memory
  --rounds N       how often each run is repeated; default 5
  --length S       seconds that a run takes; default 0.25, with --table 0.08
  --records N      records to open a store with; default 1000000
  --out FOLDER     where the results are written as a page with plots; default: nowhere";

/// The workloads to run, and their length.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) length: Duration,
    pub(super) out: Option<PathBuf>,
    /// True to print only the table of ratios.
    pub(super) is_table: bool,
    records: u64,
    only: Vec<String>,
}

impl Options {
    /// Parses the command line. `None` if it is meant for another benchmark.
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Option<Self>, String> {
        let mut options = Self {
            rounds: 5,
            length: Duration::from_millis(250),
            out: None,
            is_table: false,
            records: 1_000_000,
            only: Vec::new(),
        };
        let is_meant = options.read(arguments).map_err(|error| format!("{error}\n\n{HELP}"))?;
        Ok(is_meant.then_some(options))
    }

    fn read(&mut self, arguments: Vec<OsString>) -> Result<bool, String> {
        let (mut length, mut is_table) = (None, false);
        let is_meant = read(arguments, HELP, |name, value| {
            match name {
                "table" if value == "memory" => is_table = true,
                "table" => return Err(format!("there is no table of {value:?}; there is one of: memory")),
                "only" => self.only.extend(value.split(',').map(folded)),
                "rounds" => self.rounds = number(value)?,
                "length" => length = Some(seconds(value)?),
                "records" => self.records = number(value)?,
                "out" => self.out = Some(value.into()),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        self.is_table = is_table;
        self.length = length.unwrap_or(if is_table { TABLE_LENGTH } else { self.length });
        if is_table {
            self.narrow_to_table();
        }
        if self.rounds == 0 || self.records == 0 || self.length < MIN_LENGTH {
            return Err("counts begin at 1, and a run takes at least 0.05 seconds".to_owned());
        }
        let known = known();
        match self.only.iter().find(|name| !known.contains(name)) {
            Some(unknown) => Err(format!("there is no {unknown:?}; there are: {}", known.join(" "))),
            None => Ok(is_meant),
        }
    }

    /// Selects the parts of the table, of each kind that `--only` leaves open.
    fn narrow_to_table(&mut self) {
        for (kind, part) in
            [(stores(), TABLE_STORES), (works(), TABLE_WORKS), (contenders(), TABLE_CONTENDERS)]
        {
            if named(&kind, &self.only).is_empty() {
                self.only.extend(part.iter().map(|name| folded(name)));
            }
        }
    }

    pub(super) fn plans(&self) -> Vec<Plan> {
        let (stores, works): (Vec<_>, Vec<_>) = (named(&stores(), &self.only), named(&works(), &self.only));
        let is_chosen = |plan: &Plan| {
            let (store, work) = (folded(plan.store.name()), folded(plan.work.words().0));
            (stores.is_empty() || stores.contains(&store)) && (works.is_empty() || works.contains(&work))
        };
        all(self.records).into_iter().filter(is_chosen).collect()
    }

    pub(super) fn has_contender(&self, name: &str) -> bool {
        let chosen = named(&contenders(), &self.only);
        chosen.is_empty() || chosen.contains(&folded(name))
    }
}

const MIN_LENGTH: Duration = Duration::from_millis(50);
/// The length of a run for the table.
const TABLE_LENGTH: Duration = Duration::from_millis(80);
const TABLE_STORES: &[&str] = &["memory"];
const TABLE_WORKS: &[&str] = &["fresh", "churn", "refused", "hot", "cold", "takeover", "renewals", "waiters"];
const TABLE_CONTENDERS: &[&str] =
    &["lessor", "dashmap by hand", "scc by hand", "Mutex<HashMap> by hand", "quick_cache by hand"];

fn folded(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

fn named(all: &[String], only: &[String]) -> Vec<String> {
    only.iter().filter(|name| all.contains(name)).cloned().collect()
}

const STORES: [Store; 3] = [Store::Memory, Store::File, Store::Redis];

fn stores() -> Vec<String> {
    STORES.map(|store| folded(store.name())).into()
}

fn works() -> Vec<String> {
    let mut works: Vec<String> = Vec::new();
    for plan in all(1) {
        let name = folded(plan.work.words().0);
        if !works.contains(&name) {
            works.push(name);
        }
    }
    works
}

fn contenders() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for contender in STORES.iter().flat_map(|store| store.contenders()) {
        let name = folded(contender.name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn known() -> Vec<String> {
    [stores(), works(), contenders()].concat()
}
