//! Reading a checkpoint.

use lessor_vfs::Vfs;

use crate::format::checkpoint::Checkpoint;
use crate::format::entry::Entries;
use crate::format::frame::{Fields, FrameKind, FrameRead, FrameReader, LogId, MAX_NUMBER, SECTOR};
use crate::format::names::checkpoint_name;
use crate::format::segment::{FIRST_FRAME, HeaderState, SegmentHeader};
use crate::image::reading::ImageReader;
use crate::image::types::{OnProgress, Progress, RecordSink};
use crate::index::location::FileRef;
use crate::problem::Problem;

/// The properties of a checkpoint that was read.
pub(crate) struct CheckpointSummary {
    pub(crate) first_lsn: u64,
    pub(crate) last_lsn: u64,
    pub(crate) clock: u64,
}

/// Reads a checkpoint of a log.
pub(crate) fn read_checkpoint(
    vfs: &dyn Vfs,
    log: LogId,
    number: u64,
    sink: &mut dyn RecordSink,
) -> Result<CheckpointSummary, Problem> {
    let on_progress: OnProgress<'_> = &mut |_| {};
    let mut reading = ImageReader { vfs, log, sink, on_progress, progress: Progress { done: 0, total: 0 } };
    reading.checkpoint(number).map(|(_, ends)| ends)
}

impl ImageReader<'_> {
    pub(super) fn checkpoint(&mut self, number: u64) -> Result<(Checkpoint, CheckpointSummary), Problem> {
        let name = checkpoint_name(number);
        let file = self.open(&name)?;
        let failed = self.failed(&name);
        let header = match SegmentHeader::read(&*file, &self.log).map_err(&failed)? {
            HeaderState::Valid(header) if header.number == number => header,
            HeaderState::Incompatible(reason) => return Err(Problem::Incompatible { reason }),
            HeaderState::Damaged(reason) => return Err(Problem::corrupt(self.vfs, &name, 0, reason)),
            _ => return Err(Problem::corrupt(self.vfs, &name, 0, "it is not a checkpoint of this log")),
        };
        let length = file.len().map_err(&failed)?;
        // A lower bound of the size of a record.
        self.sink.reserve(length / 256);
        let mut frames = FrameReader::new(&*file, &self.log, FIRST_FRAME, length);
        let mut ends = CheckpointSummary { first_lsn: header.first_lsn, last_lsn: 0, clock: 0 };
        let (mut count, mut place_in_order) = (0, 1);
        loop {
            let at = frames.at();
            let corrupt = |reason| Problem::corrupt(self.vfs, &name, at, reason);
            let frame = match frames.next().map_err(&failed)? {
                FrameRead::Frame(frame) => frame,
                FrameRead::Torn => return Err(corrupt("the checkpoint is incomplete")),
                FrameRead::Damaged(reason) => return Err(corrupt(reason)),
            };
            if frame.header.lsn != place_in_order || frame.header.epoch != header.epoch {
                return Err(corrupt("a frame is out of sequence"));
            }
            place_in_order += 1;
            self.advance(frame.size);
            self.sink.enter_frame(&name, at, &frame);
            match frame.header.kind {
                FrameKind::Checkpoint => {}
                FrameKind::CheckpointEnd
                    if Fields(&frame.data).u64() == Some(count) && frames.at() == length =>
                {
                    ends.clock = frame.header.clock;
                    return Ok((Checkpoint { number, file, length }, ends));
                }
                _ => return Err(corrupt("the checkpoint has a wrong end")),
            }
            let sector = u32::try_from(at / SECTOR).map_err(|_| corrupt("the checkpoint is too long"))?;
            let file_ref = FileRef::checkpoint(number, sector);
            for entry in Entries::new(&frame.data, true) {
                let entry = entry.map_err(|reason| Problem::corrupt(self.vfs, &name, at, reason))?;
                let lsn = entry.lsn.unwrap_or_default();
                if lsn > MAX_NUMBER {
                    return Err(Problem::corrupt(
                        self.vfs,
                        &name,
                        at,
                        "the number of a frame is out of range",
                    ));
                }
                ends.last_lsn = ends.last_lsn.max(lsn);
                self.record(&name, at, lsn, file_ref, &entry)?;
                count += 1;
            }
        }
    }
}
