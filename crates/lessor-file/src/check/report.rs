//! What a log is found to be.

use std::collections::BTreeMap;
use std::fmt;

use lessor_core::{DecodeError, Key, Record, StoreError};
use serde::Serialize;

use crate::check::summary::Line;
use crate::format::entry::Entry;
use crate::format::frame::{Frame, Kind};
use crate::format::names::{LOCK, segment_name};
use crate::image::{self, Image, Progress, Sink};
use crate::index::location::Place;
use crate::problem::Problem;
use lessor_vfs::Vfs;

/// What was found in a log's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The folder.
    pub folder: String,
    /// The files that were read, and those that do not count.
    pub files: Vec<FileReport>,
    /// Frames of the log and of the checkpoint that were read.
    pub frames: u64,
    /// The last frame of the log; 0 if there is none.
    pub last_lsn: u64,
    /// Records by stage.
    pub records: BTreeMap<&'static str, u64>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether it can be opened.
    pub verdict: Verdict,
}

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Frames that were read from it.
    pub frames: u64,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Spot {
    /// The file's name.
    pub file: String,
    /// Bytes from its begin.
    pub offset: u64,
}

/// Whether a log can be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The next opening takes all of it.
    #[non_exhaustive]
    Sound {
        /// Whether it was closed, so that the next opening has nothing to find out.
        closed: bool,
        /// Where a frame begins that was not written whole. Nobody was told of it; the next opening leaves it behind.
        torn: Option<Spot>,
        /// Frames at the end that the next opening writes once more, since they may be in the system's memory only.
        rewritten: u64,
        /// Files that do not count, which the next opening removes.
        removed: Vec<String>,
    },
    /// Opening refuses it.
    Damaged(Damage),
}

/// What does not fit, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// Where.
    pub at: Spot,
    /// What.
    pub reason: String,
}

impl Report {
    /// Whether opening takes it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        matches!(self.verdict, Verdict::Sound { .. })
    }
}

/// A report, and the records that were read.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) lines: BTreeMap<Key, Line>,
}

/// Reads a log and decodes every record.
pub(crate) fn read(vfs: &dyn Vfs, on_progress: &mut dyn FnMut(Progress)) -> Result<Outcome, StoreError> {
    let mut gathered = Gathered::default();
    let verdict = match image::read(vfs, &mut gathered, on_progress) {
        Ok(Some(image)) => {
            gathered.last_lsn = image.end;
            sound(&image)
        }
        Ok(None) => return Err(crate::folder::no_log(vfs)),
        Err(Problem::Corrupt { file, offset, reason, .. }) => {
            Verdict::Damaged(Damage { at: Spot { file, offset }, reason })
        }
        Err(other) => return Err(other.into()),
    };
    let files = gathered.files(vfs)?;
    let mut records = BTreeMap::new();
    for line in gathered.lines.values() {
        *records.entry(line.stage).or_default() += 1;
    }
    let report = Report {
        folder: vfs.place(),
        frames: gathered.frames.values().sum(),
        last_lsn: gathered.last_lsn,
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
        records,
        verdict,
    };
    Ok(Outcome { report, lines: gathered.lines })
}

fn sound(image: &Image) -> Verdict {
    Verdict::Sound {
        closed: image.superblock.block().is_clean,
        torn: image.torn.map(|torn| Spot { file: segment_name(torn.segment), offset: torn.offset }),
        rewritten: image.tail.len() as u64,
        removed: image.leftovers.clone(),
    }
}

#[derive(Default)]
struct Gathered {
    lines: BTreeMap<Key, Line>,
    /// By file.
    frames: BTreeMap<String, u64>,
    last_lsn: u64,
    file: String,
    offset: u64,
}

impl Sink for Gathered {
    fn expect(&mut self, _: u64) {}

    fn begin_frame(&mut self, file: &str, offset: u64, frame: &Frame) {
        if self.file != file {
            file.clone_into(&mut self.file);
        }
        self.offset = offset;
        *self.frames.entry(self.file.clone()).or_default() += 1;
        if frame.header.kind == Kind::Entries {
            self.last_lsn = frame.header.lsn;
        }
    }

    fn take(&mut self, lsn: u64, _: Place, entry: &Entry<'_>) -> Result<(), DecodeError> {
        let record = Record::decode(entry.record)?;
        if self.lines.get(&entry.key).is_none_or(|there| there.lsn <= lsn) {
            let line = Line::new(entry.key.clone(), &record, &self.file, self.offset, lsn);
            self.lines.insert(entry.key.clone(), line);
        }
        Ok(())
    }
}

impl Gathered {
    fn files(&self, vfs: &dyn Vfs) -> Result<Vec<FileReport>, Problem> {
        let mut names = vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))?;
        names.sort_unstable();
        let mut files = Vec::new();
        for name in names {
            if name == LOCK {
                continue;
            }
            // What is no regular file is not the log's.
            let Ok(file) = vfs.open(&name) else { continue };
            let bytes = file.len().map_err(|error| Problem::io(vfs, &name, "reading", error))?;
            let frames = self.frames.get(&name).copied().unwrap_or_default();
            files.push(FileReport { name, bytes, frames });
        }
        Ok(files)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} bytes in {} files", self.folder, self.bytes, self.files.len())?;
        for FileReport { name, bytes, frames } in &self.files {
            writeln!(f, "  {name:<24}{bytes:>12} bytes {frames:>8} frames")?;
        }
        let counts: Vec<_> = self.records.iter().map(|(stage, count)| format!("{count} {stage}")).collect();
        let total: u64 = self.records.values().sum();
        writeln!(f, "{total} records ({}), the last frame is {}", counts.join(", "), self.last_lsn)?;
        match &self.verdict {
            Verdict::Damaged(Damage { at, reason }) => write!(f, "DAMAGED at {at}: {reason}"),
            Verdict::Sound { closed, torn, rewritten, removed } => {
                write!(f, "sound; it was {}closed", if *closed { "" } else { "not " })?;
                if let Some(torn) = torn {
                    write!(f, "; the next opening leaves behind what was not written whole at {torn}")?;
                }
                if *rewritten > 0 {
                    write!(f, "; it writes {rewritten} frames at the end once more")?;
                }
                if !removed.is_empty() {
                    write!(f, "; it removes {}", removed.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}", self.file, self.offset)
    }
}
