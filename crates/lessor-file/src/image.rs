//! Reading a log as it lies on the disk, without changing anything: what there is, where it ends, and whether it can be
//! what a crash left behind.
//!
//! Only the last segment can end in a frame that was not written whole. There the reading has to tell a torn
//! tail, which nobody was ever told of, from damage to something that was acknowledged. It is damage if
//! - the superblock or any frame, also one further on, says that what is missing had been synced, or
//! - all sectors of the frame bear their marks, so that it had been written whole.

use std::sync::Arc;

use lessor_core::DecodeError;

use crate::entry::{self, Entries, Entry};
use crate::frame::{Fields, Found, Frame, Frames, HEADER, Header, Kind, LogId, MAX_NUMBER, SECTOR};
use crate::index::{Home, Place};
use crate::log::Checkpoint;
use crate::problem::Problem;
use crate::segment::{
    Begin, FIRST_FRAME, Segment, SegmentHeader, checkpoint_name, checkpoint_number, segment_name,
    segment_number,
};
use crate::superblock;
use lessor_vfs::{File, Vfs};

/// How far a reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that there are to read, at most.
    pub total: u64,
}

/// Who is told how far a reading has come.
pub(crate) type OnProgress<'p> = &'p mut dyn FnMut(Progress);

/// What is read, record by record.
pub(crate) trait Sink {
    /// About so many records are to come.
    fn expect(&mut self, records: u64);

    /// The records that follow are in this frame.
    fn begin_frame(&mut self, _file: &str, _offset: u64, _frame: &Frame) {}

    fn take(&mut self, lsn: u64, place: Place, entry: &Entry<'_>) -> Result<(), DecodeError>;
}

/// A log as it lies on the disk.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) superblock: superblock::Keeper,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The last frame that counts; 0 if there is none yet.
    pub(crate) end: u64,
    /// Frames up to this one are on the disk for certain.
    pub(crate) proven: u64,
    /// The checksum of the proven frame's header.
    pub(crate) proven_checksum: u32,
    /// The frames behind the proven one: they may so far be in the memory of the operating system only.
    pub(crate) tail: Vec<Frame>,
    pub(crate) torn: Option<Torn>,
    /// The latest time that may have been told.
    pub(crate) clock: u64,
    pub(crate) epoch: u32,
    /// Files that do not count.
    pub(crate) leftovers: Vec<String>,
    /// The number of the next segment.
    pub(crate) next_segment: u64,
}

impl Image {
    /// Of a log without a frame.
    pub(crate) fn of(superblock: superblock::Keeper) -> Self {
        let (clock, epoch) = (superblock.block().clock, superblock.block().epoch);
        Self {
            superblock,
            checkpoint: None,
            segments: Vec::new(),
            end: 0,
            proven: 0,
            proven_checksum: 0,
            tail: Vec::new(),
            torn: None,
            clock,
            epoch,
            leftovers: Vec::new(),
            next_segment: 1,
        }
    }
}

/// Where a frame begins that was not written whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Torn {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

struct Reading<'r> {
    vfs: &'r dyn Vfs,
    log: LogId,
    sink: &'r mut dyn Sink,
    on_progress: OnProgress<'r>,
    progress: Progress,
}

/// Reads the log in a folder; `None` if there is none.
pub(crate) fn read(
    vfs: &dyn Vfs,
    sink: &mut dyn Sink,
    on_progress: OnProgress<'_>,
) -> Result<Option<Image>, Problem> {
    let names = vfs.list().map_err(|error| Problem::io(vfs, "", "listing", error))?;
    let Some(superblock) = superblock::Keeper::open(vfs)? else {
        let is_ours = |name: &&String| segment_number(name).is_some() || checkpoint_number(name).is_some();
        let first = checkpoint_name(1);
        return match names.iter().find(is_ours) {
            None => Ok(None),
            Some(name) if *name == first && names.iter().filter(is_ours).count() == 1 => {
                Err(Problem::corrupt(
                    vfs,
                    superblock::NAME,
                    0,
                    format!(
                        "it is missing, although there is {name}; a backup that was not finished looks like this, and has to be made anew"
                    ),
                ))
            }
            Some(name) => Err(Problem::corrupt(
                vfs,
                superblock::NAME,
                0,
                format!("it is missing, although there is {name}"),
            )),
        };
    };
    let block = *superblock.block();
    let mut reading =
        Reading { vfs, log: block.log, sink, on_progress, progress: Progress { done: 0, total: 0 } };
    let files = reading.files(&block, &names)?;
    let checkpoint = match block.checkpoint() {
        0 => None,
        number => Some(reading.checkpoint(number)?),
    };
    let mut image = Image::of(superblock);
    (image.leftovers, image.next_segment) = (files.leftovers, files.next);
    let (mut first_lsn, mut kept_upto) = (1, 0);
    if let Some((checkpoint, ends)) = checkpoint {
        (first_lsn, kept_upto) = (ends.first_lsn, ends.last_lsn);
        // Without segments, as in a backup, the log goes on behind whatever the checkpoint holds.
        image.end = if files.used.is_empty() { ends.last_lsn.max(first_lsn - 1) } else { first_lsn - 1 };
        image.proven = image.end;
        image.clock = image.clock.max(ends.clock);
        image.checkpoint = Some(checkpoint);
    }
    reading.segments(&mut image, files.used, first_lsn)?;
    if let Some((number, file)) = files.unused {
        reading.check_unused(&image, number, &*file)?;
    }
    // A checkpoint counts only once all frames are synced whose records it holds.
    let synced = block.synced.max(kept_upto);
    if image.end < synced {
        let name =
            image.segments.last().map_or(superblock::NAME.to_owned(), |last| segment_name(last.number));
        let at = image.torn.map_or(0, |torn| torn.offset);
        let reason = format!("frames {} to {synced} are missing", image.end + 1);
        return Err(Problem::corrupt(vfs, &name, at, reason));
    }
    if block.is_clean {
        // Frames speak of times a little ahead, which were never told.
        image.clock = block.clock;
    }
    (reading.on_progress)(Progress { done: reading.progress.total, total: reading.progress.total });
    Ok(Some(image))
}

struct Listed {
    /// Segments with a header, in the order of their numbers.
    used: Vec<(SegmentHeader, Arc<dyn File>)>,
    /// The segment behind those, if it was made already.
    unused: Option<(u64, Arc<dyn File>)>,
    leftovers: Vec<String>,
    next: u64,
}

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

const IS_FOLDER: &str = "it is a folder, although the log has files of such names; move it away";

impl Reading<'_> {
    fn open(&self, name: &str) -> Result<Arc<dyn File>, Problem> {
        self.vfs.open(name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Problem::corrupt(self.vfs, name, 0, "the file is missing"),
            std::io::ErrorKind::IsADirectory => Problem::corrupt(self.vfs, name, 0, IS_FOLDER),
            _ => Problem::io(self.vfs, name, "opening", error),
        })
    }

    fn failed(&self, name: &str) -> impl Fn(std::io::Error) -> Problem + use<> {
        let (place, name) = (self.vfs.place(), name.to_owned());
        move |error| Problem::Io { place: format!("{place}/{name}"), doing: "reading", error }
    }

    /// Sorts out which files count.
    fn files(&mut self, block: &superblock::Superblock, names: &[String]) -> Result<Listed, Problem> {
        let mut leftovers = Vec::new();
        let mut numbers = Vec::new();
        for name in names {
            match (segment_number(name), checkpoint_number(name)) {
                (Some(number), _) if number >= block.first_segment() && segment_name(number) == *name => {
                    numbers.push(number);
                }
                (_, Some(number)) if number == block.checkpoint() && checkpoint_name(number) == *name => {}
                (None, None) if name != superblock::BEING_MADE => {}
                _ => leftovers.push(name.clone()),
            }
        }
        numbers.sort_unstable();
        let mut used: Vec<(SegmentHeader, Arc<dyn File>)> = Vec::new();
        let mut unused = None;
        let mut next = block.first_segment().max(1);
        for number in numbers {
            let name = segment_name(number);
            let file = self.open(&name)?;
            let failed = self.failed(&name);
            match SegmentHeader::read(&*file, &self.log).map_err(&failed)? {
                Begin::Header(header) => {
                    if number != next || unused.is_some() || header.number != number {
                        let missing = segment_name(next);
                        let reason = format!("the file is missing, although there is {name}");
                        return Err(Problem::corrupt(self.vfs, &missing, 0, reason));
                    }
                    next = number + 1;
                    self.progress.total += file.len().map_err(&failed)?;
                    used.push((header, file));
                }
                Begin::None => {
                    leftovers.push(name);
                    if number == next && unused.is_none() {
                        unused = Some((number, file));
                    }
                }
                Begin::Damaged(reason) => return Err(Problem::corrupt(self.vfs, &name, 0, reason)),
                Begin::Incompatible(reason) => return Err(Problem::Incompatible { reason }),
            }
        }
        for name in &leftovers {
            // An opening could not remove it, and could not make a file of that name.
            if self.vfs.open(name).is_err_and(|error| error.kind() == std::io::ErrorKind::IsADirectory) {
                return Err(Problem::corrupt(self.vfs, name, 0, IS_FOLDER));
            }
        }
        if used.is_empty() && block.first_segment() > 0 {
            let name = segment_name(block.first_segment());
            return Err(Problem::corrupt(self.vfs, &name, 0, "the segment is missing or empty"));
        }
        if let Some((last, _)) = used.last()
            && last.epoch < block.epoch
        {
            // Each opening has its segment, and says so only once that is there.
            let reason =
                "the file is missing or empty, although the log was written to after the segment before";
            return Err(Problem::corrupt(self.vfs, &segment_name(next), 0, reason));
        }
        if block.checkpoint() > 0 {
            let name = checkpoint_name(block.checkpoint());
            self.progress.total += self.open(&name)?.len().map_err(self.failed(&name))?;
        }
        Ok(Listed { used, unused, leftovers, next })
    }

    fn checkpoint(&mut self, number: u64) -> Result<(Checkpoint, Ends), Problem> {
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

    /// Hands a record on.
    fn take(&mut self, name: &str, at: u64, lsn: u64, home: Home, entry: &Entry<'_>) -> Result<(), Problem> {
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

    fn step(&mut self, bytes: u64) {
        self.progress.done = (self.progress.done + bytes).min(self.progress.total);
        (self.on_progress)(self.progress);
    }

    fn segments(
        &mut self,
        image: &mut Image,
        used: Vec<(SegmentHeader, Arc<dyn File>)>,
        mut expected: u64,
    ) -> Result<(), Problem> {
        let mut successors = used.iter().skip(1).map(|(header, _)| *header).collect::<Vec<_>>().into_iter();
        // The checksum of the frame before the one that is expected, once it is known.
        let mut last = None;
        for (header, file) in used {
            let name = segment_name(header.number);
            let corrupt = |at, reason: &str| Problem::corrupt(self.vfs, &name, at, reason);
            if header.first_lsn != expected || last.is_some_and(|last| last != header.former) {
                return Err(corrupt(0, "the segment does not continue the one before"));
            }
            last = Some(header.former);
            image.epoch = image.epoch.max(header.epoch);
            let segment = Segment::found(&header, file);
            let successor = successors.next();
            let read = self.segment(image, &segment, &header, successor.as_ref(), &mut last)?;
            image.segments.push(Arc::clone(&segment));
            expected = match successor {
                Some(successor) => successor.first_lsn,
                None => read,
            };
        }
        Ok(())
    }

    /// Reads a segment up to where its successor takes over, or to its end. Returns the LSN of the frame that follows.
    fn segment(
        &mut self,
        image: &mut Image,
        segment: &Segment,
        header: &SegmentHeader,
        successor: Option<&SegmentHeader>,
        last: &mut Option<u32>,
    ) -> Result<u64, Problem> {
        let name = segment_name(segment.number);
        let failed = self.failed(&name);
        let length = segment.file.len().map_err(&failed)?;
        let mut frames = Frames::new(&*segment.file, &self.log, FIRST_FRAME, length.min(header.length));
        let mut expected = header.first_lsn;
        let mut whole = Vec::new();
        let mut proven = image.superblock.block().synced.max(header.first_lsn - 1);
        let end = loop {
            if successor.is_some_and(|successor| expected >= successor.first_lsn) {
                break None;
            }
            let at = frames.at();
            match frames.next().map_err(&failed)? {
                Found::Frame(frame) => {
                    let is_next = frame.header.lsn == expected && frame.header.epoch == header.epoch;
                    if !is_next || frame.header.kind != Kind::Entries || frame.header.durable_upto >= expected
                    {
                        return Err(Problem::corrupt(self.vfs, &name, at, "a frame is not in its place"));
                    }
                    proven = proven.max(frame.header.durable_upto);
                    self.step(frame.size);
                    self.sink.begin_frame(&name, at, &frame);
                    self.frame(&name, at, &frame)?;
                    segment.begin_frame(at);
                    image.clock = image.clock.max(frame.header.clock);
                    expected += 1;
                    if successor.is_none() {
                        keep_unproven(&mut whole, frame, proven, last);
                    } else {
                        *last = Some(frame.checksum);
                    }
                }
                other => break Some((at, other)),
            }
        };
        let corrupt = |at, reason: &str| Err(Problem::corrupt(self.vfs, &name, at, reason));
        match (end, successor) {
            (None, _) => {}
            (Some((at, Found::Damaged(reason))), _) => return corrupt(at, reason),
            (Some((at, _)), Some(_)) => return corrupt(at, "the segment ends before the next one begins"),
            (Some((at, _)), None) => {
                let is_trimmed = image.superblock.block().trimmed == segment.number
                    && image.superblock.block().synced == expected - 1;
                if length < header.length && !is_trimmed {
                    return corrupt(at, "the file is shorter than it was");
                }
                let behind = frames.headers_behind().map_err(&failed)?;
                let proof = |(_, found): &(u64, Header)| {
                    found.epoch == header.epoch && found.durable_upto >= expected
                };
                if behind.iter().any(proof) {
                    return corrupt(at, "a frame is missing that was synced");
                }
                let durable = behind.iter().filter(|(_, found)| found.epoch == header.epoch);
                proven = durable.map(|(_, found)| found.durable_upto).fold(proven, u64::max);
                if !behind.is_empty() || !frames.is_blank().map_err(&failed)? {
                    image.torn = Some(Torn { segment: segment.number, offset: at });
                }
            }
        }
        if successor.is_none() {
            image.end = expected - 1;
            image.proven = proven.min(image.end);
            let (before, tail) = split(whole, image.proven);
            image.proven_checksum = before.or(*last).unwrap_or_default();
            image.tail = tail;
        }
        Ok(expected)
    }

    fn frame(&mut self, name: &str, at: u64, frame: &Frame) -> Result<(), Problem> {
        for entry in Entries::new(&frame.data, false) {
            let entry = entry.map_err(|reason| Problem::corrupt(self.vfs, name, at, reason))?;
            self.take(name, at, frame.header.lsn, Home::Log, &entry)?;
        }
        Ok(())
    }

    /// A segment without a header may hold a frame whose sync never ended, but none that was synced.
    fn check_unused(&self, image: &Image, number: u64, file: &dyn File) -> Result<(), Problem> {
        let name = segment_name(number);
        let length = file.len().map_err(self.failed(&name))?;
        let mut frames = Frames::new(file, &self.log, FIRST_FRAME, length);
        let behind = frames.headers_behind().map_err(self.failed(&name))?;
        match behind.iter().find(|(_, found)| found.durable_upto > image.end) {
            None => Ok(()),
            Some((at, _)) => Err(Problem::corrupt(
                self.vfs,
                &name,
                *at,
                "there are synced frames, but no header of the file",
            )),
        }
    }
}

/// Keeps the frames that are not proven yet, and the checksum of the last one that is.
fn keep_unproven(whole: &mut Vec<Frame>, frame: Frame, proven: u64, last: &mut Option<u32>) {
    whole.push(frame);
    let count = whole.iter().take_while(|frame| frame.header.lsn <= proven).count();
    if let Some(frame) = whole.drain(..count).next_back() {
        *last = Some(frame.checksum);
    }
}

fn split(whole: Vec<Frame>, proven: u64) -> (Option<u32>, Vec<Frame>) {
    let (before, tail): (Vec<_>, Vec<_>) = whole.into_iter().partition(|frame| frame.header.lsn <= proven);
    (before.last().map(|frame| frame.checksum), tail)
}
