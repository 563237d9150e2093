//! The state of a reading, and what all its parts need.

use std::sync::Arc;

use lessor_core::DecodeError;
use lessor_vfs::{File, Vfs};

use crate::format::entry::{self, Entry};
use crate::format::frame::{HEADER, LogId};
use crate::image::types::{OnProgress, Progress, Sink};
use crate::index::location::{Home, Place};
use crate::problem::Problem;

pub(super) struct Reading<'r> {
    pub(super) vfs: &'r dyn Vfs,
    pub(super) log: LogId,
    pub(super) sink: &'r mut dyn Sink,
    pub(super) on_progress: OnProgress<'r>,
    pub(super) progress: Progress,
}

pub(super) const IS_FOLDER: &str = "it is a folder, although the log has files of such names; move it away";

impl Reading<'_> {
    pub(super) fn open(&self, name: &str) -> Result<Arc<dyn File>, Problem> {
        self.vfs.open(name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Problem::corrupt(self.vfs, name, 0, "the file is missing"),
            std::io::ErrorKind::IsADirectory => Problem::corrupt(self.vfs, name, 0, IS_FOLDER),
            _ => Problem::io(self.vfs, name, "opening", error),
        })
    }

    pub(super) fn failed(&self, name: &str) -> impl Fn(std::io::Error) -> Problem + use<> {
        let (place, name) = (self.vfs.place(), name.to_owned());
        move |error| Problem::Io { place: format!("{place}/{name}"), doing: "reading", error }
    }

    /// Hands a record on.
    pub(super) fn take(
        &mut self,
        name: &str,
        at: u64,
        lsn: u64,
        home: Home,
        entry: &Entry<'_>,
    ) -> Result<(), Problem> {
        let fits = entry::checksum(&entry.key, entry.record) == entry.checksum;
        let position = u32::try_from(entry.at + HEADER).ok();
        let length = u32::try_from(entry.record.len()).ok();
        match (fits, position, length) {
            (true, Some(position), Some(length)) => {
                let place = Place { home, position, length, checksum: entry.checksum };
                self.sink.take(lsn, place, entry).map_err(|error| match error {
                    DecodeError::NewerFormat { .. } => Problem::Incompatible { reason: error.to_string() },
                    _ => Problem::corrupt(self.vfs, name, at, error.to_string()),
                })
            }
            _ => Err(Problem::corrupt(self.vfs, name, at, "a record does not match its checksum")),
        }
    }

    pub(super) fn step(&mut self, bytes: u64) {
        self.progress.done = (self.progress.done + bytes).min(self.progress.total);
        (self.on_progress)(self.progress);
    }
}
