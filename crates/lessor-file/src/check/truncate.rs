//! Cutting a log: every write from a frame on is given up, what is left is written as a new checkpoint.
//!
//! 1. What is cut is copied aside and synced.
//! 2. The new checkpoint is written and synced, and an empty segment that goes on behind it. As long as the superblock does
//!    not name them, the checkpoint does not count and the segment is the log's next.
//! 3. The superblock names both: this is the moment at which the cut happens.
//! 4. The files before are removed. If that is interrupted, the next opening does it.
//!
//! Numbers of frames are not used again, and the clock starts no earlier than any frame says that could be read.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;

use lessor_core::{DecodeError, Error, Key, Record, StoreError};
use serde::Serialize;

use lessor_vfs::Vfs;

use crate::check::report::{self, Spot, Verdict};
use crate::check::summary::stage;
use crate::check::walk::{self, Listed, Walked};
use crate::format::checkpoint::{Begin, Out, SyncedCheckpoint};
use crate::format::entry::{self, Entry};
use crate::format::names::{SUPERBLOCK, checkpoint_name, segment_name, segment_number, truncated_name};
use crate::format::segment::{FIRST_FRAME, Segment, SegmentHeader};
use crate::format::spare::Spare;
use crate::format::superblock::{Keeper, Superblock};
use crate::image::{self, Sink};
use crate::index::location::Place;
use crate::problem::Problem;
use crate::quarantine;

/// Which frame is the first to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The one that is damaged.
    Damage,
    /// The one of this LSN.
    Lsn(u64),
}

/// What a cut loses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cut {
    /// The first frame that is lost.
    pub from_lsn: u64,
    /// Where it begins, or should.
    pub at: Spot,
    /// The frames that are lost although they can be read.
    pub frames: Vec<LostFrame>,
    /// Frames that are lost and cannot be read, from one LSN to another. Nothing can be said about what was in them.
    pub unreadable: Vec<(u64, u64)>,
    /// Keys that lose writes, as far as the frames can be read.
    pub keys: Vec<LostKey>,
    /// How many records are left.
    pub records: u64,
    /// The files that what is cut is copied to. Those that turn out to hold nothing are not made.
    pub aside: Vec<String>,
}

/// A frame that is lost although it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostFrame {
    /// Its LSN.
    pub lsn: u64,
    /// Where it begins.
    pub at: Spot,
    /// The keys that it changes; `None` if one of its records cannot be decoded.
    pub keys: Option<Vec<Key>>,
}

/// A key that loses writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LostKey {
    /// The key.
    pub key: Key,
    /// How many writes it loses.
    pub writes: u64,
    /// The older state that it goes back to; `None` if there will be no record of it.
    pub back_to: Option<BackTo>,
}

/// An older state of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackTo {
    /// The frame that it was written with.
    pub lsn: u64,
    /// As in [`Line::stage`](crate::check::Line::stage).
    pub stage: &'static str,
    /// The record's version.
    pub version: u64,
}

pub(crate) struct Plan {
    pub(crate) cut: Cut,
    superblock: Keeper,
    /// Of the checkpoint so far.
    first_lsn: u64,
    /// The LSN that the log goes on with.
    next_lsn: u64,
    walked: Walked,
    /// Which of the segments the cut begins in, and where in it.
    place: (usize, u64),
    kept: Kept,
    /// The highest token that is lost, as far as the frames can be read.
    token: u64,
}

/// What is left of each key.
#[derive(Default)]
struct Kept {
    /// The number of the record in the order of reading.
    winners: HashMap<Key, (u64, BackTo)>,
    seen: u64,
}

pub(crate) fn plan(vfs: &dyn Vfs, start: Start) -> Result<Option<Plan>, Error> {
    let invalid = |reason| Error::Invalid { what: "frame to cut from", reason };
    let is_sound = match report::read(vfs, &mut |_| {})?.report.verdict {
        Verdict::Sound { .. } if start == Start::Damage => return Ok(None),
        Verdict::Sound { .. } => true,
        Verdict::Damaged(damage) if segment_number(&damage.at.file).is_none() => {
            let place = format!("{}/{}", vfs.place(), damage.at);
            let reason =
                format!("{}, and there is no log to be cut without it; restore a backup", damage.reason);
            return Err(StoreError::Corrupt { place, reason }.into());
        }
        Verdict::Damaged(_) => false,
    };
    let Some(superblock) = Keeper::open(vfs)? else {
        return Err(crate::folder::no_log(vfs).into());
    };
    let block = *superblock.block();
    let mut kept = Kept::default();
    let (mut first_lsn, mut kept_upto, mut clock) = (1, 0, block.clock);
    if block.checkpoint() > 0 {
        let ends = image::read_checkpoint(vfs, block.log, block.checkpoint(), &mut kept)?;
        first_lsn = ends.first_lsn;
        kept_upto = ends.last_lsn;
        clock = clock.max(ends.clock);
    }
    let from = match start {
        Start::Damage => u64::MAX,
        Start::Lsn(lsn) if lsn < first_lsn => {
            let reason = format!(
                "the checkpoint stands for all frames before {first_lsn}, which are not there one by one any more; give {first_lsn} or more, or restore a backup"
            );
            return Err(invalid(reason));
        }
        Start::Lsn(lsn) => lsn,
    };
    let mut lost = Lost::default();
    let mut place = None;
    let mut walked = walk::walk(vfs, &block, first_lsn, |whole| {
        clock = clock.max(whole.frame.header.clock);
        if whole.lsn < from {
            kept.add(whole.lsn, &whole.records);
        } else {
            let at = Spot { file: segment_name(whole.segment), offset: whole.offset };
            place.get_or_insert((whole.segment, whole.offset));
            lost.add(whole.lsn, at, Some(whole.records));
        }
        Ok(())
    })?;
    if from > walked.end.saturating_add(1) && start != Start::Damage && !is_sound {
        let reason =
            format!("the log is damaged at frame {}, before frame {from}; cut there", walked.end + 1);
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
    let aside = walked.segments.iter().enumerate().skip(place.0);
    let aside = aside
        .map(|(index, listed)| truncated_name(listed.number, if index == place.0 { place.1 } else { 0 }));
    let token = lost.token;
    let cut = Cut {
        from_lsn,
        at: Spot { file, offset: place.1 },
        unreadable: lost.gaps(from_lsn, block.synced.max(kept_upto)),
        keys: lost.keys(&kept),
        records: kept.winners.len() as u64,
        aside: aside.collect(),
        frames: lost.frames,
    };
    let lost = cut.frames.iter().map(|frame| frame.lsn).chain(cut.unreadable.iter().map(|(_, last)| *last));
    let next_lsn = lost.fold(walked.end.max(block.synced).max(kept_upto), u64::max) + 1;
    Ok(Some(Plan { cut, superblock, first_lsn, next_lsn, walked, place, kept, token }))
}

/// What is behind the cut.
#[derive(Default)]
struct Lost {
    frames: Vec<LostFrame>,
    /// LSNs by key.
    writes: BTreeMap<Key, Vec<u64>>,
    token: u64,
    /// What any frame says was synced.
    durable_upto: u64,
}

impl Lost {
    fn add(&mut self, lsn: u64, at: Spot, records: Option<Vec<(Key, Record)>>) {
        let keys = records.map(|records| {
            let add = |(key, record): (Key, Record)| {
                self.token = self.token.max(record.token().as_u64());
                self.writes.entry(key.clone()).or_default().push(lsn);
                key
            };
            records.into_iter().map(add).collect()
        });
        self.frames.push(LostFrame { lsn, at, keys });
    }

    /// What is whole behind the place where the row of frames breaks off.
    fn salvage(
        &mut self,
        vfs: &dyn Vfs,
        block: &Superblock,
        walked: &Walked,
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
                // The next segment may have taken over before.
                if header.lsn > walked.end && next.is_none_or(|next| header.lsn < next.first_lsn) {
                    self.add(header.lsn, Spot { file: listed.name(), offset }, records);
                }
            })?;
        }
        Ok(())
    }

    /// The LSNs from `from` on that are not among the frames.
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
        // Something was at the damaged place, even if nothing else says so.
        if last >= next || self.frames.is_empty() {
            gaps.push((next, last.max(next)));
        }
        gaps
    }

    fn keys(&self, kept: &Kept) -> Vec<LostKey> {
        let lost = self.writes.iter().filter_map(|(key, lsns)| {
            let back_to = kept.winners.get(key).map(|(_, back_to)| back_to.clone());
            // The checkpoint may hold what was written later, too.
            let upto = back_to.as_ref().map_or(0, |back_to| back_to.lsn);
            let writes = lsns.iter().filter(|lsn| **lsn > upto).count() as u64;
            (writes > 0).then(|| LostKey { key: key.clone(), writes, back_to })
        });
        lost.collect()
    }
}

impl Kept {
    fn put(&mut self, key: &Key, lsn: u64, record: &Record) {
        self.seen += 1;
        let back_to = BackTo { lsn, stage: stage(record), version: record.version().as_u64() };
        match self.winners.get_mut(key) {
            Some((_, there)) if there.lsn > lsn => {}
            Some(there) => *there = (self.seen, back_to),
            None => drop(self.winners.insert(key.clone(), (self.seen, back_to))),
        }
    }

    fn add(&mut self, lsn: u64, records: &[(Key, Record)]) {
        records.iter().for_each(|(key, record)| self.put(key, lsn, record));
    }
}

impl Sink for Kept {
    fn expect(&mut self, _: u64) {}

    fn take(&mut self, lsn: u64, _: Place, entry: &Entry<'_>) -> Result<(), DecodeError> {
        self.put(&entry.key, lsn, &Record::decode(entry.record)?);
        Ok(())
    }
}

pub(crate) fn carry_out(vfs: &dyn Vfs, plan: Plan) -> Result<Cut, StoreError> {
    let Plan { cut, mut superblock, first_lsn, next_lsn, walked, place, kept, token } = plan;
    let block = *superblock.block();
    for (index, listed) in walked.segments.iter().enumerate().skip(place.0) {
        let from = if index == place.0 { place.1 } else { 0 };
        quarantine::copy(vfs, &*listed.file, from, &truncated_name(listed.number, from))?;
    }
    vfs.sync_folder().map_err(|error| Problem::io(vfs, "", "syncing", error))?;

    let epoch = walked.epoch.saturating_add(1);
    let number = block.checkpoint() + 1;
    let begin = Begin { number, epoch, first_lsn: next_lsn, clock: walked.clock };
    let checkpoint = rebuild(vfs, &block, begin, first_lsn, cut.from_lsn, kept)?;

    let segment = next_segment(vfs, &block, &walked)?;
    let length = FIRST_FRAME * 8;
    let spare = Spare::create(vfs, segment, length)?;
    let header =
        SegmentHeader { number: segment, epoch, first_lsn: next_lsn, former: walked.checksum, length };
    let failed = |doing| move |error| Problem::io(vfs, &segment_name(segment), doing, error);
    let begun = Segment::begin(spare.file, &header, &block.log).map_err(failed("writing"))?;
    let begun = begun.synced().map_err(failed("syncing"))?;

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
            // Segments without a header went before.
            _ => {}
        }
    }
    vfs.sync_folder().map_err(|error| Problem::io(vfs, "", "syncing", error))?;
    Ok(cut)
}

/// The number of the segment that the log goes on in. Those at the end that have no header and nothing in them are
/// removed, as an opening would: with one of them the new segment would not be the next.
fn next_segment(vfs: &dyn Vfs, block: &Superblock, walked: &Walked) -> Result<u64, Problem> {
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

/// Writes what is left as a checkpoint.
fn rebuild(
    vfs: &dyn Vfs,
    block: &Superblock,
    begin: Begin,
    first_lsn: u64,
    from_lsn: u64,
    kept: Kept,
) -> Result<SyncedCheckpoint, Problem> {
    let number = begin.number;
    let name = checkpoint_name(number);
    let failed = |doing| move |error| Problem::io(vfs, &checkpoint_name(number), doing, error);
    if vfs.list().map_err(failed("listing"))?.contains(&name) {
        // Of an attempt that was interrupted.
        vfs.remove(&name).map_err(failed("removing"))?;
    }
    let count = kept.winners.len();
    let file = vfs.create(&name).map_err(failed("making"))?;
    let out = Out::begin(&*file, &block.log, begin).map_err(failed("writing"))?;
    let mut copy = Copy { out, winners: kept.winners, seen: 0, bytes: Vec::new(), error: None };
    if block.checkpoint() > 0 {
        image::read_checkpoint(vfs, block.log, block.checkpoint(), &mut copy)?;
    }
    walk::walk(vfs, block, first_lsn, |whole| {
        if whole.lsn < from_lsn {
            whole.records.iter().for_each(|(key, record)| copy.put(key, whole.lsn, &record.encode()));
        }
        Ok(())
    })?;
    let Copy { out, winners, error, .. } = copy;
    if let Some(error) = error {
        return Err(failed("writing")(error));
    }
    if !winners.is_empty() {
        let reason = "the log did not read the same twice; the disk is not to be trusted".to_owned();
        return Err(failed("writing")(std::io::Error::other(reason)));
    }
    let checkpoint = out.finish(vfs).map_err(failed("writing"))?;
    let mut again = Kept::default();
    image::read_checkpoint(vfs, block.log, number, &mut again)?;
    if again.winners.len() == count {
        Ok(checkpoint)
    } else {
        Err(Problem::corrupt(vfs, &name, 0, "the checkpoint that was just written is not what it was"))
    }
}

/// Copies to the new checkpoint what is left of each key.
struct Copy<'o> {
    out: Out<'o>,
    winners: HashMap<Key, (u64, BackTo)>,
    seen: u64,
    bytes: Vec<u8>,
    error: Option<std::io::Error>,
}

impl Copy<'_> {
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

impl Sink for Copy<'_> {
    fn expect(&mut self, _: u64) {}

    fn take(&mut self, lsn: u64, _: Place, entry: &Entry<'_>) -> Result<(), DecodeError> {
        self.put(&entry.key, lsn, entry.record);
        Ok(())
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cut at frame {} ({}); {} records are left", self.from_lsn, self.at, self.records)?;
        for (first, last) in &self.unreadable {
            writeln!(f, "  frames {first} to {last}: cannot be read; whatever was in them is lost")?;
        }
        for LostFrame { lsn, at, keys } in &self.frames {
            match keys {
                Some(keys) => writeln!(f, "  frame {lsn} ({at}): {} writes are lost", keys.len())?,
                None => writeln!(f, "  frame {lsn} ({at}): its records cannot be read; they are lost")?,
            }
        }
        for LostKey { key, writes, back_to } in &self.keys {
            match back_to {
                None => writeln!(f, "  key {:?}: {writes} writes are lost, nothing is left", key.as_str())?,
                Some(BackTo { lsn, stage, version }) => writeln!(
                    f,
                    "  key {:?}: {writes} writes are lost, it goes back to version {version} ({stage}, frame {lsn})",
                    key.as_str()
                )?,
            }
        }
        write!(f, "what is cut is kept in {}", self.aside.join(", "))
    }
}
