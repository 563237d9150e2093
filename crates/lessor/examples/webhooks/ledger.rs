//! The ledger has one line per attempt with an effect. The check verifies that nothing was done
//! twice without a reason.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use lessor::{Durability, GrantEnd};
use serde::{Deserialize, Serialize};

use crate::input::require_regular;
use crate::report::Tally;

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Entry<L> {
    Work(L),
    /// The last line of a run that handled all deliveries. A run without it was interrupted.
    End {
        run_ended: u64,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) token: u64,
    pub(crate) worker: usize,
    /// The start of the run, in the store's time. Identifies the run.
    pub(crate) run: u64,
    #[serde(rename = "outcome")]
    pub(crate) what: What,
    /// The end of the previous grant.
    pub(crate) after: Option<After>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The work had its effect.
    Done,
    /// The work had its effect, and the worker panicked before completing the lease.
    Panicked,
    /// The work returned an error.
    Errored,
    /// The work had its effect, and the worker stalled before completing the lease.
    Stalled,
    /// The worker of an earlier line tried to complete a lease that had been taken over, and was
    /// refused.
    Fenced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum After {
    Lapsed,
    Failed,
    Released,
    Other,
}

impl From<GrantEnd> for After {
    fn from(ended: GrantEnd) -> Self {
        match ended {
            GrantEnd::Lapsed => Self::Lapsed,
            GrantEnd::Failed => Self::Failed,
            GrantEnd::Released => Self::Released,
            _ => Self::Other,
        }
    }
}

pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    /// The file lock excludes other processes, but not other threads of this process.
    writing: Mutex<()>,
    run: u64,
    /// True if lines are synced. They must be as durable as the store, so that no record outlives
    /// its effect.
    durability: Durability,
    /// The error of a failed write, after which no more work is done.
    failure: OnceLock<String>,
}

impl Ledger {
    /// Opens a ledger for appending. If the store is durable, the ledger may have lines of earlier
    /// runs and of other running processes.
    pub(crate) fn open(
        path: PathBuf,
        durability: Durability,
        overwrite: bool,
        run: u64,
    ) -> Result<Self, String> {
        let name = path.display();
        let cannot = |error: io::Error| format!("{name}: {error}");
        let continues = durability != Durability::Volatile;
        require_regular(&path)?;
        if overwrite && continues {
            return Err(format!(
                "the store has the records of {name}; to start over, remove the store's folder and the ledger instead of --overwrite"
            ));
        }
        if overwrite {
            File::create(&path).map_err(cannot)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(cannot)?;
        if continues {
            file.lock().map_err(cannot)?;
            cut_torn_line(&file).map_err(cannot)?;
            file.unlock().map_err(cannot)?;
        }
        if !read(&path)?.lines.is_empty() && !continues {
            return Err(format!(
                "{name} has lines already, but this store has no records of that work; give another file or --overwrite"
            ));
        }
        Ok(Self { path, file, writing: Mutex::new(()), run, durability, failure: OnceLock::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Returns the error that ends the run.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Appends a line. If that fails, the error is kept and ends the run.
    pub(crate) fn append(&self, line: &Line) -> Result<(), Unwritten> {
        self.note(&Entry::Work(line))
    }

    /// Records that this run has handled all deliveries.
    pub(crate) fn end(&self) -> Result<(), Unwritten> {
        self.note(&Entry::End { run_ended: self.run })
    }

    fn note(&self, entry: &Entry<&Line>) -> Result<(), Unwritten> {
        self.write(entry).map_err(|error| {
            let name = self.path.display();
            let _ =
                self.failure.set(format!("{name}: the ledger cannot be written, so the run ends: {error}"));
            Unwritten
        })
    }

    /// Writes a line under a lock, so that other workers and processes see it completely or not at
    /// all.
    fn write(&self, entry: &Entry<&Line>) -> io::Result<()> {
        let mut text = serde_json::to_vec(entry)?;
        text.push(b'\n');
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.file.lock()?;
        let written = self.write_locked(&text);
        self.file.unlock()?;
        let end = written?;
        let synced = if self.durability == Durability::Disk { self.file.sync_data() } else { Ok(()) };
        synced.inspect_err(|_| self.take_back(end - text.len() as u64, end))
    }

    /// Writes a line and returns its end.
    fn write_locked(&self, text: &[u8]) -> io::Result<u64> {
        cut_torn_line(&self.file)?;
        let before = self.file.metadata()?.len();
        (&self.file).write_all(text).inspect_err(|_| {
            // An incomplete line does not count, and is removed before the next one is written.
            let _ = self.file.set_len(before);
        })?;
        Ok(before + text.len() as u64)
    }

    /// Removes a line that may not be durable, unless other lines follow it.
    fn take_back(&self, begin: u64, end: u64) {
        let _ = self.file.lock();
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == end) {
            let _ = self.file.set_len(begin);
        }
        let _ = self.file.unlock();
    }
}

/// A line could not be written. [`Ledger::failure`] has the reason.
#[derive(Debug)]
pub(crate) struct Unwritten;

/// Removes an incomplete last line, which a process leaves that is killed during a write. Its
/// effect did not happen.
fn cut_torn_line(mut file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    file.seek(SeekFrom::Start(length.saturating_sub(1)))?;
    if file.read(&mut last)? == 0 || last == *b"\n" {
        return Ok(());
    }
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    file.set_len(whole as u64)
}

/// The contents of a ledger.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) lines: Vec<Line>,
    /// The runs that handled all deliveries.
    ended: HashSet<u64>,
}

pub(crate) fn read(path: &Path) -> Result<Story, String> {
    let name = path.display();
    let cannot = |error: io::Error| format!("{name}: {error}");
    require_regular(path)?;
    let file = File::open(path).map_err(cannot)?;
    // Another process may be writing a line.
    file.lock_shared().map_err(cannot)?;
    let mut story = Story::default();
    for (number, text) in (1..).zip(BufReader::new(file).lines()) {
        let text = text.map_err(|error| format!("{name}, line {number}: {error}"))?;
        match serde_json::from_str(&text) {
            Ok(Entry::Work(line)) => story.lines.push(line),
            Ok(Entry::End { run_ended }) => drop(story.ended.insert(run_ended)),
            Err(error) => return Err(format!("{name}, line {number}: not a line of a ledger: {error}")),
        }
    }
    Ok(story)
}

impl Story {
    /// Returns the tokens of the last lines of the workers of interrupted runs, by run and worker.
    /// Their processes died before the effect was recorded in the store.
    fn cut_off(&self) -> HashSet<(&str, u64)> {
        let mut last = BTreeMap::new();
        for line in self.lines.iter().filter(|line| !self.ended.contains(&line.run)) {
            last.insert((line.run, line.worker), line);
        }
        let lines = last.into_values().filter(|line| line.what != What::Fenced);
        lines.map(|line| (&*line.id, line.token)).collect()
    }
}

#[derive(Default)]
pub(crate) struct Audit {
    pub(crate) problems: Vec<String>,
    /// The repeated work, with its reasons.
    pub(crate) again: Vec<String>,
    /// The number of repetitions because a process died during the work.
    pub(crate) cut_off: usize,
    lines: usize,
    /// The number of ids with repeated work.
    repeated: usize,
}

impl Audit {
    pub(crate) fn summary(&self) -> String {
        let lines = self.lines;
        match (self.problems.len(), self.repeated) {
            (0, 0) => format!("{lines} lines, nothing was worked on twice"),
            (0, ids) => format!("{lines} lines, {ids} ids were worked on more than once, each with a reason"),
            (problems, _) => format!("{lines} lines, {problems} problems"),
        }
    }
}

/// Checks the whole ledger, and that every id of the input has an outcome.
pub(crate) fn audit(story: &Story, tally: &Tally, ids: &HashSet<String>) -> Audit {
    let lines = &story.lines;
    let mut work: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.what != What::Fenced) {
        work.entry(&line.id).or_default().push(line);
    }
    let fenced: HashSet<(&str, u64)> =
        lines.iter().filter(|line| line.what == What::Fenced).map(|line| (&*line.id, line.token)).collect();
    let cut_off = story.cut_off();

    let mut audit = Audit { lines: lines.len(), ..Audit::default() };
    for (id, attempts) in &mut work {
        // Workers write at different times. The tokens give the order of the grants.
        attempts.sort_by_key(|line| line.token);
        audit.repeated += usize::from(attempts.len() > 1);
        for pair in attempts.windows(2) {
            let [first, then] = pair else { continue };
            let grant = (*id, first.token);
            let reason = explain(first, then, fenced.contains(&grant), cut_off.contains(&grant));
            let both = format!(
                "attempt {} (token {}, {:?}), then attempt {} (token {}, {:?})",
                first.attempt, first.token, first.what, then.attempt, then.token, then.what
            );
            match reason {
                Ok(reason) => {
                    audit.cut_off += usize::from(reason == CUT_OFF);
                    audit.again.push(format!("{id}: {reason}: {both}"));
                }
                Err(problem) => audit.problems.push(format!("{id}: worked on twice, {problem}: {both}")),
            }
        }
    }
    let mut ids: Vec<_> = ids.iter().collect();
    ids.sort_unstable();
    for id in ids {
        let last = work.get(&**id).and_then(|attempts| attempts.last());
        match (tally.receipts.get(id), last) {
            (Some(receipt), None) => audit.problems.push(format!(
                "{id}: has a result, from token {}, but no line here: this ledger is not that of the store",
                receipt.token
            )),
            (None, None) => audit.problems.push(format!("{id}: missing, nobody worked on it")),
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

const CUT_OFF: &str = "cut off, its process died before the effect was on record";

/// Returns the reason for repeated work, or the problem with it. The earlier line and the engine's
/// report about the previous grant must agree.
fn explain(
    first: &Line,
    then: &Line,
    was_fenced: bool,
    was_cut_off: bool,
) -> Result<&'static str, &'static str> {
    if then.attempt <= first.attempt || then.token == first.token {
        return Err("not as a later attempt");
    }
    let Some(after) = then.after else { return Err("without a former grant") };
    match (first.what, after) {
        (What::Panicked, _) => Ok("panicked"),
        (What::Errored, _) => Ok("returned an error"),
        (What::Stalled, After::Lapsed) => Ok("stalled"),
        (What::Done, After::Lapsed) if was_fenced => Ok("came back too late, and was refused"),
        (What::Done, After::Lapsed) if was_cut_off => Ok(CUT_OFF),
        _ => Err("without a reason"),
    }
}
