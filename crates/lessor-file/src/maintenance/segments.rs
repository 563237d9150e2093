//! Making the next segment ahead.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::StoreError;

use crate::commit::spares::SpareRequest;
use crate::format::frame::SECTOR;
use crate::format::names::segment_name;
use crate::format::spare::{ExtendError, Spare};
use crate::format::superblock::Superblock;
use crate::log::Log;
use crate::problem::{Problem, is_full};

/// The delay before another attempt to make the next segment: the first one, and the longest.
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Makes the next segment whenever one is needed.
pub(super) struct Segments<'l> {
    log: &'l Arc<Log>,
    /// The number of the next segment.
    next: u64,
    /// The delay before the next attempt, after the next segment could not be made.
    retry: Option<Duration>,
    /// The longest segment that could be made at the last attempt, in bytes.
    most: u64,
}

impl<'l> Segments<'l> {
    pub(super) fn new(log: &'l Arc<Log>, next: u64) -> Self {
        Self { log, next, retry: None, most: u64::MAX }
    }

    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Records in the superblock that the last segment was begun. Otherwise its loss could not be
    /// detected.
    fn record_synced(&self) {
        let synced = self.log.committer.synced();
        let mut superblock = self.log.superblock.lock();
        let update = |block: &mut Superblock| {
            block.synced = synced;
            self.log.record_epoch(block);
        };
        if superblock.block().synced < synced
            && let Err(error) = superblock.update(update)
        {
            drop(superblock);
            self.log.fail("writing the superblock", &error);
        }
    }

    /// Makes or extends the next segment if that is necessary.
    pub(super) fn make(&mut self) {
        let log = self.log;
        log.signals.clear_segment();
        if log.poison.is_set() {
            return;
        }
        let Some(request) = log.spare_request() else {
            self.retry = None;
            return;
        };
        match self.try_make(request) {
            (spare, None) => {
                if self.retry.take().is_some() {
                    tracing::info!(place = log.vfs.describe(), "the disk has space for the log again");
                }
                self.most = u64::MAX;
                log.offer_spare(spare, None);
                self.record_synced();
            }
            // No acknowledged write depends on that file. The log continues with the space that it
            // has.
            (spare, Some(problem)) => {
                let is_unnamed = matches!(problem, Problem::Unnamed { .. });
                let error = segment_missing(problem);
                if self.retry.is_none() {
                    tracing::warn!(
                        error = format_args!("{error:#}"),
                        place = log.vfs.describe(),
                        "no leases are granted until the disk has space"
                    );
                }
                let longer = self.retry.map_or(RETRY, |wait| (wait * 2).min(LONGEST_RETRY));
                self.retry = Some(longer);
                if is_unnamed {
                    log.catalog.count_failed_folder_sync();
                }
                log.offer_spare(spare, Some(error));
            }
        }
    }

    /// Makes or extends the next segment. Returns it, and the problem if it is shorter than
    /// required. If the disk has no space for a long segment, a shorter one is tried.
    fn try_make(&mut self, request: SpareRequest) -> (Option<Spare>, Option<Problem>) {
        let SpareRequest { length, min_length, mut current } = request;
        let mut length = length.min(self.most).max(min_length);
        loop {
            let made = match current.take() {
                None => self.create(length),
                Some(spare) => self.extend(spare, length, &mut current),
            };
            let problem = match made {
                Ok(spare) => return (Some(spare), None),
                Err(problem) => problem,
            };
            if !matches!(&problem, Problem::Io { error, .. } if may_be_shorter(error) && length > min_length)
            {
                return (current, Some(problem));
            }
            length = (length / 2 / SECTOR * SECTOR).max(min_length);
            self.most = length;
        }
    }

    fn create(&mut self, length: u64) -> Result<Spare, Problem> {
        let vfs = &*self.log.vfs;
        let name = segment_name(self.next);
        // The file is left from an earlier attempt.
        if self.retry.is_some()
            && let Err(error) = vfs.remove(&name)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Problem::io(vfs, &name, "removing", error));
        }
        let spare = Spare::create(vfs, self.next, length)?;
        self.next += 1;
        Ok(spare)
    }

    /// Extends a segment. On failure `kept` receives the segment if it is still usable.
    fn extend(&mut self, spare: Spare, length: u64, kept: &mut Option<Spare>) -> Result<Spare, Problem> {
        let number = spare.number;
        let name = segment_name(number);
        let error = match spare.extend(length) {
            Ok(spare) => return Ok(spare),
            Err(ExtendError::Kept(spare, error)) => {
                *kept = Some(spare);
                error
            }
            Err(ExtendError::Lost(error)) => {
                let _ = self.log.vfs.remove(&name);
                self.next = number;
                error
            }
        };
        Err(Problem::io(&*self.log.vfs, &name, "extending", error))
    }
}

/// Returns whether a shorter file may be possible.
fn may_be_shorter(error: &io::Error) -> bool {
    is_full(error) || error.kind() == io::ErrorKind::FileTooLarge
}

/// Returns the error for callers whose leases are not granted meanwhile.
fn segment_missing(problem: Problem) -> StoreError {
    const PREFIX: &str = "no lease is granted until a segment of the log can be made, which is retried";
    let error = StoreError::from(problem);
    match error {
        StoreError::Full(_) | StoreError::Unavailable(_) => {
            error.map_cause(|cause| cause.map_reason(|reason| format!("{PREFIX}: {reason}")))
        }
        other => other,
    }
}
