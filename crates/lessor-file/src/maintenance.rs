//! The maintenance thread. It makes segments ahead of the writes, and compacts the log.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::log::Log;
use crate::maintenance::segments::Segments;
use crate::problem::closed;

pub(crate) mod backup;
pub(crate) mod compaction;
mod segments;
mod snapshot;

/// Starts the maintenance thread. `next_segment` is the number of the next segment.
pub(crate) fn start(log: &Arc<Log>, next_segment: u64) -> io::Result<JoinHandle<()>> {
    let log = Arc::clone(log);
    let builder = thread::Builder::new().name("lessor-file-maintenance".to_owned());
    builder.spawn(move || run(&log, next_segment))
}

fn run(log: &Arc<Log>, next_segment: u64) {
    let mut segments = Segments::new(log, next_segment);
    while !log.signals.is_stopping() {
        log.signals.clear_maintenance();
        segments.make();
        compaction::run_if_due(log, &mut |_| {
            if log.signals.is_stopping() {
                return Err(closed());
            }
            // Commits must not wait for space until the end of the compaction.
            if log.signals.is_segment_due() && segments.retry().is_none() {
                segments.make();
            }
            Ok(())
        });
        // A compaction parks as well, so an unpark may have been consumed by it.
        if log.signals.is_maintenance_due() && segments.retry().is_none() {
            continue;
        }
        match segments.retry() {
            Some(delay) => thread::park_timeout(delay),
            None => thread::park(),
        }
    }
    compaction::refuse_all(log);
}
