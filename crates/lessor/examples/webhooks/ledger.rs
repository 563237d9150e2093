//! The ledger: one line per attempt that had its effect, and the check that nothing was done twice without a reason.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use lessor::Ended;
use serde::{Deserialize, Serialize};

use crate::report::Tally;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) token: u64,
    pub(crate) worker: usize,
    /// When the program was started, in the store's time: tells apart the runs that wrote this ledger.
    pub(crate) run: u64,
    #[serde(rename = "outcome")]
    pub(crate) what: What,
    /// How the grant before this one ended.
    pub(crate) after: Option<After>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The effect was made.
    Done,
    /// It was made, and the worker panicked before it could say so.
    Panicked,
    /// The work returned an error.
    Errored,
    /// It was made, and the worker stalled before it could say so.
    Stalled,
    /// Written by the worker of an earlier line: its lease had been taken over, and it was refused.
    Fenced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum After {
    Lapsed,
    Failed,
    Released,
}

impl From<Ended> for After {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Lapsed => Self::Lapsed,
            Ended::Failed => Self::Failed,
            Ended::Released => Self::Released,
        }
    }
}

pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    run: u64,
}

impl Ledger {
    /// Opens a ledger to append to it. One that `continues` may have lines from earlier runs, which have to be readable.
    pub(crate) fn open(path: PathBuf, continues: bool, overwrite: bool, run: u64) -> Result<Self, String> {
        let name = path.display();
        let cannot = |error: io::Error| format!("{name}: {error}");
        if overwrite {
            File::create(&path).map_err(cannot)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(cannot)?;
        if !read(&path)?.is_empty() && !continues {
            return Err(format!(
                "{name} has lines already, and this store does not remember what was done; take another file or give --overwrite"
            ));
        }
        Ok(Self { path, file, run })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// One write to a file opened for appending: lines of several workers do not mix.
    pub(crate) fn append(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let written = (&self.file).write(&text)?;
        if written == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<Line>, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let parse = |(number, text): (usize, io::Result<String>)| {
        let text = text.map_err(|error| format!("{name}, line {number}: {error}"))?;
        serde_json::from_str(&text)
            .map_err(|error| format!("{name}, line {number}: not a line of a ledger: {error}"))
    };
    (1..).zip(BufReader::new(file).lines()).map(parse).collect()
}

#[derive(Default)]
pub(crate) struct Audit {
    pub(crate) problems: Vec<String>,
    /// Ids that were worked on more than once, each with its reasons.
    repeated: usize,
}

impl Audit {
    pub(crate) fn summary(&self, lines: usize) -> String {
        match (self.problems.len(), self.repeated) {
            (0, 0) => format!("{lines} lines, nothing was worked on twice"),
            (0, ids) => format!("{lines} lines, {ids} ids were worked on more than once, each says why"),
            (problems, _) => format!("{lines} lines, {problems} problems"),
        }
    }
}

/// Checks all of the ledger, and that every id of the input came to its end.
pub(crate) fn audit(lines: &[Line], tally: &Tally, ids: &HashSet<String>) -> Audit {
    let mut work: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.what != What::Fenced) {
        work.entry(&line.id).or_default().push(line);
    }
    let fenced: HashSet<(&str, u64)> =
        lines.iter().filter(|line| line.what == What::Fenced).map(|line| (&*line.id, line.token)).collect();

    let mut audit = Audit::default();
    for (id, attempts) in &mut work {
        // Each worker writes at a time of its own; the tokens say in which order the grants were made.
        attempts.sort_by_key(|line| line.token);
        audit.repeated += usize::from(attempts.len() > 1);
        for pair in attempts.windows(2) {
            if let [first, then] = pair
                && let Some(problem) = unexplained(first, then, fenced.contains(&(*id, first.token)))
            {
                audit.problems.push(format!(
                    "{id}: worked on twice, {problem}: attempt {} (token {}, {:?}), then attempt {} (token {}, {:?})",
                    first.attempt, first.token, first.what, then.attempt, then.token, then.what
                ));
            }
        }
    }
    let mut ids: Vec<_> = ids.iter().collect();
    ids.sort_unstable();
    for id in ids {
        let last = work.get(&**id).and_then(|attempts| attempts.last());
        match (tally.receipts.get(id), last) {
            (_, None) => audit.problems.push(format!("{id}: missing, nobody worked on it")),
            (Some(receipt), Some(last)) if receipt.token != last.token => audit.problems.push(format!(
                "{id}: the result comes from token {}, but the last to work on it had token {}",
                receipt.token, last.token
            )),
            (Some(_), Some(last)) if !matches!(last.what, What::Done | What::Stalled) => {
                audit.problems.push(format!("{id}: has a result, but its worker {:?}", last.what));
            }
            (None, Some(_)) if !tally.failures.contains(id) => {
                audit.problems.push(format!("{id}: came to no result and to no failure"));
            }
            _ => {}
        }
    }
    audit
}

/// What is wrong with working on it again, if anything is. Two witnesses have to agree: the one who was there before, and
/// the engine's word to the one who came after.
fn unexplained(first: &Line, then: &Line, was_fenced: bool) -> Option<&'static str> {
    if then.attempt <= first.attempt || then.token == first.token {
        return Some("not as a later attempt");
    }
    let Some(after) = then.after else { return Some("without a former grant") };
    match (first.what, after) {
        (What::Panicked | What::Errored, _) | (What::Stalled, After::Lapsed) => None,
        (What::Done, After::Lapsed) if was_fenced => None,
        // The process ended between the effect and its record.
        (What::Done, After::Lapsed) if first.run != then.run => None,
        _ => Some("without a reason"),
    }
}
