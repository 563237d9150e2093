//! The report on a log.

use std::collections::BTreeMap;
use std::fmt;

use lessor_core::{DecodeError, Key, StoreError};
use lessor_vfs::Vfs;
use serde::Serialize;

use crate::check::summary::{ReadableRecord, RecordSummary};
use crate::format::entry::Entry;
use crate::format::frame::{Frame, FrameKind};
use crate::format::names::{LOCK, segment_name};
use crate::image::{self, Image, Progress, RecordSink};
use crate::index::location::Location;
use crate::problem::Problem;

/// The content of a log's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The path of the folder.
    pub folder: String,
    /// All files in the folder, including those that do not count.
    pub files: Vec<FileReport>,
    /// The number of frames read from the log and the checkpoint.
    pub frames: u64,
    /// The LSN of the last frame; 0 if there is none.
    pub last_lsn: u64,
    /// The number of records by stage.
    pub records: BTreeMap<&'static str, u64>,
    /// The number of records with a field that this library does not know. See
    /// [`RecordSummary::unknown_field`].
    pub newer: u64,
    /// The total length of all files in bytes.
    pub bytes: u64,
    /// The state of the log.
    pub verdict: Verdict,
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// The name of the file.
    pub name: String,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The number of frames read from the file.
    pub frames: u64,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Position {
    /// The name of the file.
    pub file: String,
    /// The offset in bytes.
    pub offset: u64,
}

/// The state of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The log can be opened.
    #[non_exhaustive]
    Sound {
        /// True if the log was closed cleanly.
        closed: bool,
        /// The position of a frame that was not written completely. It was never acknowledged, and
        /// the next opening discards it.
        torn: Option<Position>,
        /// The number of frames at the end that the next opening writes again, because they may not
        /// be on the disk.
        rewritten: u64,
        /// The files that do not count, which the next opening removes.
        removed: Vec<String>,
    },
    /// The log is damaged and cannot be opened.
    Damaged(Damage),
}

/// Damage in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The position of the damage.
    pub at: Position,
    /// The kind of damage.
    pub reason: String,
}

impl Report {
    /// Returns whether the log can be opened.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        matches!(self.verdict, Verdict::Sound { .. })
    }
}

/// A report, and the records that were read.
pub(crate) struct Contents {
    pub(crate) report: Report,
    pub(crate) lines: BTreeMap<Key, RecordSummary>,
}

/// Reads a log and decodes every record.
pub(crate) fn read(vfs: &dyn Vfs, on_progress: &mut dyn FnMut(Progress)) -> Result<Contents, StoreError> {
    let mut gathered = Collector::default();
    let verdict = match image::read(vfs, &mut gathered, on_progress) {
        Ok(Some(image)) => {
            gathered.last_lsn = image.end;
            sound(&image)
        }
        Ok(None) => return Err(crate::folder::no_log(vfs)),
        Err(Problem::Corrupt { file, offset, reason, .. }) => {
            Verdict::Damaged(Damage { at: Position { file, offset }, reason })
        }
        Err(other) => return Err(other.into()),
    };
    let files = gathered.files(vfs)?;
    let mut records = BTreeMap::new();
    for line in gathered.lines.values() {
        *records.entry(line.stage).or_default() += 1;
    }
    let report = Report {
        folder: vfs.describe(),
        frames: gathered.frames.values().sum(),
        last_lsn: gathered.last_lsn,
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
        records,
        newer: gathered.lines.values().filter(|line| line.unknown_field.is_some()).count() as u64,
        verdict,
    };
    Ok(Contents { report, lines: gathered.lines })
}

fn sound(image: &Image) -> Verdict {
    Verdict::Sound {
        closed: image.superblock.block().is_clean,
        torn: image.torn.map(|torn| Position { file: segment_name(torn.segment), offset: torn.offset }),
        rewritten: image.unproven.len() as u64,
        removed: image.stale_files.clone(),
    }
}

#[derive(Default)]
struct Collector {
    lines: BTreeMap<Key, RecordSummary>,
    /// The number of frames by file.
    frames: BTreeMap<String, u64>,
    last_lsn: u64,
    file: String,
    offset: u64,
}

impl RecordSink for Collector {
    fn reserve(&mut self, _: u64) {}

    fn enter_frame(&mut self, file: &str, offset: u64, frame: &Frame) {
        if self.file != file {
            file.clone_into(&mut self.file);
        }
        self.offset = offset;
        *self.frames.entry(self.file.clone()).or_default() += 1;
        if frame.header.kind == FrameKind::Log {
            self.last_lsn = frame.header.lsn;
        }
    }

    fn record(&mut self, lsn: u64, _: Location, entry: &Entry<'_>) -> Result<(), DecodeError> {
        let record = ReadableRecord::read(entry.record)?;
        if self.lines.get(&entry.key).is_none_or(|there| there.lsn <= lsn) {
            let line = RecordSummary::new(entry.key.clone(), &record, &self.file, self.offset, lsn);
            self.lines.insert(entry.key.clone(), line);
        }
        Ok(())
    }
}

impl Collector {
    fn files(&self, vfs: &dyn Vfs) -> Result<Vec<FileReport>, Problem> {
        let mut names = vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))?;
        names.sort_unstable();
        let mut files = Vec::new();
        for name in names {
            if name == LOCK {
                continue;
            }
            // Only regular files belong to a log.
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
        if self.newer > 0 {
            writeln!(
                f,
                "{} of them were written by a newer lessor; upgrade lessor to use their keys",
                self.newer
            )?;
        }
        match &self.verdict {
            Verdict::Damaged(Damage { at, reason }) => write!(f, "DAMAGED at {at}: {reason}"),
            Verdict::Sound { closed, torn, rewritten, removed } => {
                write!(f, "sound; {}closed", if *closed { "" } else { "not " })?;
                if let Some(torn) = torn {
                    write!(f, "; the next opening discards an incomplete frame at {torn}")?;
                }
                if *rewritten > 0 {
                    write!(f, "; it writes {rewritten} frames at the end again")?;
                }
                if !removed.is_empty() {
                    write!(f, "; it removes {}", removed.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}", self.file, self.offset)
    }
}
