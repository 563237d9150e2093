//! Truncating a log: all writes from some frame on are given up, and the remaining records are
//! written to a new checkpoint.
//!
//! 1. The removed bytes are copied to quarantine files and synced.
//! 2. The new checkpoint and an empty segment after it are written and synced. Until the superblock
//!    names them, the checkpoint does not count, and the segment is simply the next one of the log.
//! 3. The superblock is updated to name both. At this moment the truncation takes effect.
//! 4. The files before are removed. If that is interrupted, the next opening removes them.
//!
//! LSNs are not used again. The clock starts no earlier than any readable frame states.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;

use lessor_core::{DecodeError, Error, Key, RecordHeader, StoreError};
use serde::Serialize;

use lessor_vfs::Vfs;

use crate::check::report::{self, Position, Verdict};
use crate::check::summary::ReadableRecord;
use crate::check::walk::{self, Listed, Walk};
use crate::format::checkpoint::{CheckpointStart, CheckpointWriter, SyncedCheckpoint};
use crate::format::entry::{self, Entry};
use crate::format::names::{SUPERBLOCK, checkpoint_name, segment_name, segment_number, truncated_name};
use crate::format::segment::{FIRST_FRAME, Segment, SegmentHeader};
use crate::format::spare::Spare;
use crate::format::superblock::{Superblock, SuperblockFile};
use crate::image::{self, RecordSink};
use crate::index::location::Location;
use crate::problem::Problem;
use crate::quarantine;

/// The first frame to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TruncateFrom {
    /// The damaged frame.
    Damage,
    /// The frame with this LSN.
    Lsn(u64),
}

/// The entries that a truncation loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Truncation {
    /// The LSN of the first lost frame.
    pub from_lsn: u64,
    /// The position of that frame.
    pub at: Position,
    /// The lost frames that can be read.
    pub frames: Vec<LostFrame>,
    /// The lost frames that cannot be read, as ranges of LSNs, both ends included. Their content is
    /// unknown.
    pub unreadable: Vec<(u64, u64)>,
    /// The keys that lose writes, as far as the lost frames can be read.
    pub keys: Vec<LostKey>,
    /// The number of remaining records.
    pub records: u64,
    /// The files that the removed bytes are copied to. Files that would be empty are not created.
    pub quarantine: Vec<String>,
}

/// A lost frame that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostFrame {
    /// The LSN of the frame.
    pub lsn: u64,
    /// The position of the frame.
    pub at: Position,
    /// The keys that the frame changes; `None` if one of its records cannot be decoded.
    pub keys: Option<Vec<Key>>,
}

/// A key that loses writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostKey {
    /// The key.
    pub key: Key,
    /// The number of lost writes.
    pub writes: u64,
    /// The older state that the key returns to; `None` if no record of it remains.
    pub restored: Option<OlderState>,
}

/// An older state of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OlderState {
    /// The LSN of its write.
    pub lsn: u64,
    /// The stage, as in [`RecordSummary::stage`](crate::check::RecordSummary::stage).
    pub stage: &'static str,
    /// The version of the record.
    pub version: u64,
}

pub(crate) struct Plan {
    pub(crate) cut: Truncation,
    superblock: SuperblockFile,
    /// The `first_lsn` of the current checkpoint.
    first_lsn: u64,
    /// The LSN that the log continues with.
    next_lsn: u64,
    walked: Walk,
    /// The index of the segment in which the truncation begins, and the offset in it.
    place: (usize, u64),
    kept: Survivors,
    /// The highest lost token, as far as the lost frames can be read.
    token: u64,
}

/// The records that remain.
#[derive(Default)]
struct Survivors {
    /// The number of the remaining record of each key, in the order of reading.
    winners: HashMap<Key, (u64, OlderState)>,
    seen: u64,
}

pub(crate) fn plan(vfs: &dyn Vfs, start: TruncateFrom) -> Result<Option<Plan>, Error> {
    let invalid = |reason: String| Error::invalid("frame to truncate from", reason);
    let is_sound = match report::read(vfs, &mut |_| {})?.report.verdict {
        Verdict::Sound { .. } if start == TruncateFrom::Damage => return Ok(None),
        Verdict::Sound { .. } => true,
        Verdict::Damaged(damage) if segment_number(&damage.at.file).is_none() => {
            let place = format!("{}/{}", vfs.describe(), damage.at);
            let reason = format!(
                "{}, and the log cannot be truncated without this file; restore a backup",
                damage.reason
            );
            return Err(StoreError::corrupt(place, reason).into());
        }
        Verdict::Damaged(_) => false,
    };
    let Some(superblock) = SuperblockFile::open(vfs)? else {
        return Err(crate::folder::no_log(vfs).into());
    };
    let block = *superblock.block();
    let mut kept = Survivors::default();
    let (mut first_lsn, mut kept_upto, mut clock) = (1, 0, block.clock);
    if block.checkpoint() > 0 {
        let ends = image::read_checkpoint(vfs, block.log, block.checkpoint(), &mut kept)?;
        first_lsn = ends.first_lsn;
        kept_upto = ends.last_lsn;
        clock = clock.max(ends.clock);
    }
    let from = match start {
        TruncateFrom::Damage => u64::MAX,
        TruncateFrom::Lsn(lsn) if lsn < first_lsn => {
            let reason = format!(
                "the checkpoint stands for all frames before {first_lsn}; use {first_lsn} or more, or restore a backup"
            );
            return Err(invalid(reason));
        }
        TruncateFrom::Lsn(lsn) => lsn,
    };
    let mut lost = Lost::default();
    let mut place = None;
    let mut walked = walk::walk(vfs, &block, first_lsn, |whole| {
        clock = clock.max(whole.frame.header.clock);
        if whole.lsn < from {
            kept.add(whole.lsn, &whole.records);
        } else {
            let at = Position { file: segment_name(whole.segment), offset: whole.offset };
            place.get_or_insert((whole.segment, whole.offset));
            lost.add(whole.lsn, at, Some(whole.records));
        }
        Ok(())
    })?;
    if from > walked.end.saturating_add(1) && start != TruncateFrom::Damage && !is_sound {
        let reason =
            format!("the log is damaged at frame {}, before frame {from}; truncate there", walked.end + 1);
        return Err(invalid(reason));
    }
    if is_sound && from > walked.end {
        return Ok(None);
    }
    let place = match place {
        None => walked.stop,
        Some((number, offset)) => {
            let index = walked.segments.iter().position(|listed| listed.number == number);
            (index.unwrap_or_default(), offset)
        }
    };
    if !is_sound {
        lost.salvage(vfs, &block, &walked, &mut clock)?;
    }
    walked.clock = clock;
    let from_lsn = from.min(walked.end + 1);
    let file = walked.segments.get(place.0).map_or_else(|| segment_name(block.first_segment()), Listed::name);
    let removed = walked.segments.iter().enumerate().skip(place.0);
    let removed = removed
        .map(|(index, listed)| truncated_name(listed.number, if index == place.0 { place.1 } else { 0 }));
    let token = lost.token;
    let cut = Truncation {
        from_lsn,
        at: Position { file, offset: place.1 },
        unreadable: lost.gaps(from_lsn, block.synced.max(kept_upto)),
        keys: lost.keys(&kept),
        records: kept.winners.len() as u64,
        quarantine: removed.collect(),
        frames: lost.frames,
    };
    let lost = cut.frames.iter().map(|frame| frame.lsn).chain(cut.unreadable.iter().map(|(_, last)| *last));
    let next_lsn = lost.fold(walked.end.max(block.synced).max(kept_upto), u64::max) + 1;
    Ok(Some(Plan { cut, superblock, first_lsn, next_lsn, walked, place, kept, token }))
}

/// The frames after the truncation point.
#[derive(Default)]
struct Lost {
    frames: Vec<LostFrame>,
    /// The LSNs of lost writes by key.
    writes: BTreeMap<Key, Vec<u64>>,
    token: u64,
    /// The highest `durable_upto` of any frame.
    durable_upto: u64,
}

impl Lost {
    fn add(&mut self, lsn: u64, at: Position, records: Option<Vec<(Entry<'_>, ReadableRecord)>>) {
        let keys = records.map(|records| {
            let add = |(entry, readable): (Entry<'_>, ReadableRecord)| {
                self.token = self.token.max(readable.outline.token.as_u64());
                self.writes.entry(entry.key.clone()).or_default().push(lsn);
                entry.key
            };
            records.into_iter().map(add).collect()
        });
        self.frames.push(LostFrame { lsn, at, keys });
    }

    /// Adds the whole frames after the point at which the sequence of frames breaks off.
    fn salvage(
        &mut self,
        vfs: &dyn Vfs,
        block: &Superblock,
        walked: &Walk,
        clock: &mut u64,
    ) -> Result<(), Problem> {
        let (stop, offset) = walked.stop;
        for (index, listed) in walked.segments.iter().enumerate().skip(stop) {
            let from = if index == stop { offset } else { FIRST_FRAME };
            let next = walked.segments.get(index + 1).and_then(|next| next.header);
            walk::salvage(vfs, listed, block, from, |offset, frame, records| {
                let header = frame.header;
                *clock = (*clock).max(header.clock);
                self.durable_upto = self.durable_upto.max(header.durable_upto);
                // The next segment may replace this frame.
                if header.lsn > walked.end && next.is_none_or(|next| header.lsn < next.first_lsn) {
                    self.add(header.lsn, Position { file: listed.name(), offset }, records);
                }
            })?;
        }
        Ok(())
    }

    /// Returns the ranges of LSNs from `from` on that have no readable frame.
    fn gaps(&self, from: u64, synced: u64) -> Vec<(u64, u64)> {
        let mut there: Vec<u64> = self.frames.iter().map(|frame| frame.lsn).collect();
        there.sort_unstable();
        let (mut gaps, mut next) = (Vec::new(), from);
        for lsn in there {
            if lsn > next {
                gaps.push((next, lsn - 1));
            }
            next = next.max(lsn + 1);
        }
        let last = synced.max(self.durable_upto);
        // A frame was at the damaged position, even without further evidence.
        if last >= next || self.frames.is_empty() {
            gaps.push((next, last.max(next)));
        }
        gaps
    }

    fn keys(&self, kept: &Survivors) -> Vec<LostKey> {
        let lost = self.writes.iter().filter_map(|(key, lsns)| {
            let restored = kept.winners.get(key).map(|(_, restored)| restored.clone());
            // The checkpoint may hold later writes, too.
            let upto = restored.as_ref().map_or(0, |restored| restored.lsn);
            let writes = lsns.iter().filter(|lsn| **lsn > upto).count() as u64;
            (writes > 0).then(|| LostKey { key: key.clone(), writes, restored })
        });
        lost.collect()
    }
}

impl Survivors {
    fn put(&mut self, key: &Key, lsn: u64, record: &RecordHeader) {
        self.seen += 1;
        let restored = OlderState { lsn, stage: record.stage.as_str(), version: record.version.as_u64() };
        match self.winners.get_mut(key) {
            Some((_, there)) if there.lsn > lsn => {}
            Some(there) => *there = (self.seen, restored),
            None => drop(self.winners.insert(key.clone(), (self.seen, restored))),
        }
    }

    fn add(&mut self, lsn: u64, records: &[(Entry<'_>, ReadableRecord)]) {
        records.iter().for_each(|(entry, readable)| self.put(&entry.key, lsn, &readable.outline));
    }
}

impl RecordSink for Survivors {
    fn reserve(&mut self, _: u64) {}

    fn record(&mut self, lsn: u64, _: Location, entry: &Entry<'_>) -> Result<(), DecodeError> {
        self.put(&entry.key, lsn, &ReadableRecord::read(entry.record)?.outline);
        Ok(())
    }
}

pub(crate) fn carry_out(vfs: &dyn Vfs, plan: Plan) -> Result<Truncation, StoreError> {
    let Plan { cut, mut superblock, first_lsn, next_lsn, walked, place, kept, token } = plan;
    let block = *superblock.block();
    for (index, listed) in walked.segments.iter().enumerate().skip(place.0) {
        let from = if index == place.0 { place.1 } else { 0 };
        quarantine::copy(vfs, &*listed.file, from, &truncated_name(listed.number, from))?;
    }
    vfs.sync_folder().map_err(|error| Problem::io(vfs, "", "syncing", error))?;

    let epoch = walked.epoch.saturating_add(1);
    let number = block.checkpoint() + 1;
    let begin = CheckpointStart { number, epoch, first_lsn: next_lsn, clock: walked.clock };
    let checkpoint = rebuild(vfs, &block, begin, first_lsn, cut.from_lsn, kept)?;

    let segment = next_segment(vfs, &block, &walked)?;
    let length = FIRST_FRAME * 8;
    let spare = Spare::create(vfs, segment, length)?;
    let header = SegmentHeader {
        number: segment,
        epoch,
        first_lsn: next_lsn,
        previous_checksum: walked.checksum,
        length,
    };
    let failed = |doing| move |error| Problem::io(vfs, &segment_name(segment), doing, error);
    let begun = Segment::create(spare.file, &header, &block.log).map_err(failed("writing"))?;
    let begun = begun.sync_header().map_err(failed("syncing"))?;

    let update = |block: &mut Superblock| {
        block.name_checkpoint(&checkpoint);
        block.name_first_segment(&begun);
        block.synced = next_lsn - 1;
        block.clock = walked.clock;
        block.purged = block.purged.max(token);
        block.epoch = epoch;
        block.trimmed = 0;
        block.is_clean = false;
    };
    superblock.update(update).map_err(|error| Problem::io(vfs, SUPERBLOCK, "writing", error))?;

    let segments = walked.segments.iter().map(|listed| listed.number).filter(|other| *other != segment);
    let mut gone: Vec<String> = segments.map(segment_name).collect();
    if block.checkpoint() > 0 {
        gone.push(checkpoint_name(block.checkpoint()));
    }
    for name in gone {
        match vfs.remove(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Problem::io(vfs, &name, "removing", error).into());
            }
            // Segments without a header were removed before.
            _ => {}
        }
    }
    vfs.sync_folder().map_err(|error| Problem::io(vfs, "", "syncing", error))?;
    Ok(cut)
}

/// Returns the number of the segment that the log continues in. Removes empty segments without a
/// header at the end, as an opening would. Otherwise the new segment would not be the next one.
fn next_segment(vfs: &dyn Vfs, block: &Superblock, walked: &Walk) -> Result<u64, Problem> {
    let mut next = block.first_segment().max(1);
    for listed in &walked.segments {
        next = next.max(listed.number + 1);
    }
    for listed in walked.segments.iter().rev().take_while(|listed| listed.header.is_none()) {
        vfs.remove(&listed.name()).map_err(|error| Problem::io(vfs, &listed.name(), "removing", error))?;
        next = listed.number;
    }
    Ok(next)
}

/// Writes the remaining records to a checkpoint.
fn rebuild(
    vfs: &dyn Vfs,
    block: &Superblock,
    begin: CheckpointStart,
    first_lsn: u64,
    from_lsn: u64,
    kept: Survivors,
) -> Result<SyncedCheckpoint, Problem> {
    let number = begin.number;
    let name = checkpoint_name(number);
    let failed = |doing| move |error| Problem::io(vfs, &checkpoint_name(number), doing, error);
    if vfs.list().map_err(failed("listing"))?.contains(&name) {
        // The file is left from an interrupted attempt.
        vfs.remove(&name).map_err(failed("removing"))?;
    }
    let count = kept.winners.len();
    let file = vfs.create(&name).map_err(failed("making"))?;
    let out = CheckpointWriter::begin(&*file, &block.log, begin).map_err(failed("writing"))?;
    let mut copy = Copier { out, winners: kept.winners, seen: 0, bytes: Vec::new(), error: None };
    if block.checkpoint() > 0 {
        image::read_checkpoint(vfs, block.log, block.checkpoint(), &mut copy)?;
    }
    walk::walk(vfs, block, first_lsn, |whole| {
        if whole.lsn < from_lsn {
            whole.records.iter().for_each(|(entry, _)| copy.put(&entry.key, whole.lsn, entry.record));
        }
        Ok(())
    })?;
    let Copier { out, winners, error, .. } = copy;
    if let Some(error) = error {
        return Err(failed("writing")(error));
    }
    if !winners.is_empty() {
        let reason = "two readings of the log differ; the disk is unreliable".to_owned();
        return Err(failed("writing")(std::io::Error::other(reason)));
    }
    let checkpoint = out.finish(vfs).map_err(failed("writing"))?;
    let mut again = Survivors::default();
    image::read_checkpoint(vfs, block.log, number, &mut again)?;
    if again.winners.len() == count {
        Ok(checkpoint)
    } else {
        Err(Problem::corrupt(vfs, &name, 0, "the checkpoint that was just written reads differently"))
    }
}

/// Copies the remaining record of each key to the new checkpoint.
struct Copier<'o> {
    out: CheckpointWriter<'o>,
    winners: HashMap<Key, (u64, OlderState)>,
    seen: u64,
    bytes: Vec<u8>,
    error: Option<std::io::Error>,
}

impl Copier<'_> {
    fn put(&mut self, key: &Key, lsn: u64, record: &[u8]) {
        self.seen += 1;
        if self.winners.get(key).is_some_and(|(number, _)| *number == self.seen) {
            self.winners.remove(key);
            self.bytes.clear();
            entry::encode(&mut self.bytes, Some(lsn), key, record);
            if let Err(error) = self.out.put(&self.bytes) {
                self.error.get_or_insert(error);
            }
        }
    }
}

impl RecordSink for Copier<'_> {
    fn reserve(&mut self, _: u64) {}

    fn record(&mut self, lsn: u64, _: Location, entry: &Entry<'_>) -> Result<(), DecodeError> {
        self.put(&entry.key, lsn, entry.record);
        Ok(())
    }
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "truncated at frame {} ({}); {} records remain", self.from_lsn, self.at, self.records)?;
        for (first, last) in &self.unreadable {
            writeln!(f, "  frames {first} to {last}: unreadable; their content is lost")?;
        }
        for LostFrame { lsn, at, keys } in &self.frames {
            match keys {
                Some(keys) => writeln!(f, "  frame {lsn} ({at}): {} writes are lost", keys.len())?,
                None => writeln!(f, "  frame {lsn} ({at}): unreadable records are lost")?,
            }
        }
        for LostKey { key, writes, restored } in &self.keys {
            match restored {
                None => writeln!(f, "  key {key:?}: {writes} writes are lost, no record remains")?,
                Some(OlderState { lsn, stage, version }) => writeln!(
                    f,
                    "  key {key:?}: {writes} writes are lost, it returns to version {version} ({stage}, frame {lsn})"
                )?,
            }
        }
        write!(f, "the removed bytes are kept in {}", self.quarantine.join(", "))
    }
}
