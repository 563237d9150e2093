//! Reading a checkpoint.

use lessor_vfs::Vfs;

use crate::format::checkpoint::Checkpoint;
use crate::format::entry::Entries;
use crate::format::frame::{Fields, Found, Frames, Kind, LogId, MAX_NUMBER, SECTOR};
use crate::format::names::checkpoint_name;
use crate::format::segment::{Begin, FIRST_FRAME, SegmentHeader};
use crate::image::reading::Reading;
use crate::image::types::{OnProgress, Progress, Sink};
use crate::index::location::Home;
use crate::problem::Problem;

/// What the ends of a checkpoint say.
pub(crate) struct Ends {
    pub(crate) first_lsn: u64,
    pub(crate) last_lsn: u64,
    pub(crate) clock: u64,
}

/// Reads one checkpoint of a log.
pub(crate) fn read_checkpoint(
    vfs: &dyn Vfs,
    log: LogId,
    number: u64,
    sink: &mut dyn Sink,
) -> Result<Ends, Problem> {
    let on_progress: OnProgress<'_> = &mut |_| {};
    let mut reading = Reading { vfs, log, sink, on_progress, progress: Progress { done: 0, total: 0 } };
    reading.checkpoint(number).map(|(_, ends)| ends)
}

impl Reading<'_> {
    pub(super) fn checkpoint(&mut self, number: u64) -> Result<(Checkpoint, Ends), Problem> {
        let name = checkpoint_name(number);
        let file = self.open(&name)?;
        let failed = self.failed(&name);
        let header = match SegmentHeader::read(&*file, &self.log).map_err(&failed)? {
            Begin::Header(header) if header.number == number => header,
            Begin::Incompatible(reason) => return Err(Problem::Incompatible { reason }),
            Begin::Damaged(reason) => return Err(Problem::corrupt(self.vfs, &name, 0, reason)),
            _ => return Err(Problem::corrupt(self.vfs, &name, 0, "it is no checkpoint of this log")),
        };
        let length = file.len().map_err(&failed)?;
        // About what a record takes at least.
        self.sink.expect(length / 256);
        let mut frames = Frames::new(&*file, &self.log, FIRST_FRAME, length);
        let mut ends = Ends { first_lsn: header.first_lsn, last_lsn: 0, clock: 0 };
        let (mut count, mut place_in_order) = (0, 1);
        loop {
            let at = frames.at();
            let corrupt = |reason| Problem::corrupt(self.vfs, &name, at, reason);
            let frame = match frames.next().map_err(&failed)? {
                Found::Frame(frame) => frame,
                Found::Torn => return Err(corrupt("the checkpoint is not complete")),
                Found::Damaged(reason) => return Err(corrupt(reason)),
            };
            if frame.header.lsn != place_in_order || frame.header.epoch != header.epoch {
                return Err(corrupt("a frame is not in its place"));
            }
            place_in_order += 1;
            self.step(frame.size);
            self.sink.begin_frame(&name, at, &frame);
            match frame.header.kind {
                Kind::Kept => {}
                Kind::End if Fields(&frame.data).u64() == Some(count) && frames.at() == length => {
                    ends.clock = frame.header.clock;
                    return Ok((Checkpoint { number, file, length }, ends));
                }
                _ => return Err(corrupt("the checkpoint does not end as it should")),
            }
            let sector = u32::try_from(at / SECTOR).map_err(|_| corrupt("the checkpoint is too long"))?;
            let home = Home::checkpoint(number, sector);
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
                self.take(&name, at, lsn, home, &entry)?;
                count += 1;
            }
        }
    }
}
