//! The state of a reading, and the operations that its parts share.

use std::sync::Arc;

use lessor_core::DecodeError;
use lessor_vfs::{File, Vfs};

use crate::format::entry::{self, Entry};
use crate::format::frame::{HEADER_BYTES, LogId};
use crate::image::types::{OnProgress, Progress, RecordSink};
use crate::index::location::{FileRef, Location};
use crate::problem::Problem;

pub(super) struct ImageReader<'r> {
    pub(super) vfs: &'r dyn Vfs,
    pub(super) log: LogId,
    pub(super) sink: &'r mut dyn RecordSink,
    pub(super) on_progress: OnProgress<'r>,
    pub(super) progress: Progress,
}

pub(super) const IS_FOLDER: &str = "it is a folder in the place of a file of the log; move it away";

impl ImageReader<'_> {
    pub(super) fn open(&self, name: &str) -> Result<Arc<dyn File>, Problem> {
        self.vfs.open(name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Problem::corrupt(self.vfs, name, 0, "the file is missing"),
            std::io::ErrorKind::IsADirectory => Problem::corrupt(self.vfs, name, 0, IS_FOLDER),
            _ => Problem::io(self.vfs, name, "opening", error),
        })
    }

    pub(super) fn failed(&self, name: &str) -> impl Fn(std::io::Error) -> Problem + use<> {
        let (location, name) = (self.vfs.describe(), name.to_owned());
        move |error| Problem::Io { place: format!("{location}/{name}"), doing: "reading", error }
    }

    /// Checks a record and passes it to the sink.
    pub(super) fn record(
        &mut self,
        name: &str,
        at: u64,
        lsn: u64,
        file_ref: FileRef,
        entry: &Entry<'_>,
    ) -> Result<(), Problem> {
        let fits = entry::checksum(&entry.key, entry.record) == entry.checksum;
        let position = u32::try_from(entry.at + HEADER_BYTES).ok();
        let length = u32::try_from(entry.record.len()).ok();
        match (fits, position, length) {
            (true, Some(position), Some(length)) => {
                let location = Location { file_ref, position, length, checksum: entry.checksum };
                self.sink.record(lsn, location, entry).map_err(|error| match error {
                    DecodeError::NewerFormat { .. } | DecodeError::UnknownField { .. } => {
                        Problem::incompatible(self.vfs, name, at, &entry.key, &error)
                    }
                    _ => Problem::corrupt(self.vfs, name, at, error.to_string()),
                })
            }
            _ => Err(Problem::corrupt(self.vfs, name, at, "a record does not match its checksum")),
        }
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.progress.done = (self.progress.done + bytes).min(self.progress.total);
        (self.on_progress)(self.progress);
    }
}
