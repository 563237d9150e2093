//! Enumerations of the possible disks after a power loss.

use crate::choice::Choice;
use crate::content::SECTOR;
use crate::crash::Crash;
use crate::disk::SimDisk;
use crate::history::Length;

impl Crash {
    /// Returns all possible disks without tears, if there are at most 2 to the power of
    /// `max_choices`. Each operation on the folder happened or not, each file has its durable or
    /// its visible length, and each sector has its durable content or any unsynced version. No
    /// combination is repeated.
    #[must_use]
    pub fn images_exhaustive(&self, max_choices: u32) -> Option<Exhaustive<'_>> {
        let most = 1_u64.checked_shl(max_choices).unwrap_or(u64::MAX);
        (self.unsynced().combinations() <= most).then_some(Exhaustive { crash: self, path: Some(Vec::new()) })
    }

    /// Returns all disks with one torn sector: each version of each sector, torn after each byte
    /// that makes a difference, over the version before. Each one comes twice: with everything else
    /// kept, and with only what was written before.
    #[must_use]
    pub fn images_torn(&self) -> Torn<'_> {
        let mut tears = Vec::new();
        for (name, id) in self.folder.after_crash(&mut |choice| choice.kept()) {
            for (sector, dirty) in self.inodes.get(&id).into_iter().flat_map(|inode| &inode.dirty) {
                for (version, number) in dirty.versions.iter().zip(1..) {
                    for end in version.written().skip(1) {
                        let time = version.time();
                        let tear =
                            Tear { file: name.clone(), sector: *sector, number, end: end as u64, time };
                        tears.push(Tear { time: u64::MAX, ..tear.clone() });
                        tears.push(tear);
                    }
                }
            }
        }
        Torn { crash: self, tears: tears.into_iter() }
    }

    /// Returns a random disk. Often everything or nothing is kept, or everything up to some moment,
    /// or everything but one thing, or one thing alone. Otherwise each thing is lost, kept or torn
    /// independently. The same seed returns the same disk.
    #[must_use]
    pub fn image_random(&self, seed: u64) -> SimDisk {
        let mut random = Random(seed);
        match random.below(16) {
            0 => self.image_lost(),
            1 => self.image_kept(),
            2..=5 => self.image_cut(&mut random),
            6..=8 => self.image_all_but_one(&mut random),
            9..=10 => self.image_of_one(&mut random),
            _ => self.image_of_any(&mut random),
        }
    }

    /// Returns all disks without tears if there are few enough, and `samples` random ones
    /// otherwise.
    pub fn images(&self, max_choices: u32, samples: u64, seed: u64) -> impl Iterator<Item = SimDisk> {
        let exhaustive = self.images_exhaustive(max_choices);
        let drawn = if exhaustive.is_some() { 0 } else { samples };
        let seeds = (0..drawn).map(move |sample| Random(seed ^ sample.rotate_right(16)).next());
        exhaustive.into_iter().flatten().chain(seeds.map(|seed| self.image_random(seed)))
    }

    /// Keeps everything up to some moment. The changes of that moment are kept, lost or torn
    /// independently.
    fn image_cut(&self, random: &mut Random) -> SimDisk {
        let times = self.times();
        let Some(last) = times.get(random.index(times.len())).copied() else { return self.image_lost() };
        self.image(&mut |choice| match choice {
            Choice::Torn { version, .. } if version.time() == last && random.one_in(3) => {
                random.tear(version.written())
            }
            _ if random.one_in(2) => choice.as_of(last),
            _ => choice.as_of(last - 1),
        })
    }

    fn image_all_but_one(&self, random: &mut Random) -> SimDisk {
        let mut before = random.index(self.unsynced().choices());
        let mut chosen = false;
        self.image(&mut |choice| match choice {
            Choice::Torn { version, .. } if chosen => random.tear(version.written()),
            Choice::Torn { .. } => 0,
            Choice::Under { number, .. } => random.below(number),
            _ => {
                chosen = before == 0;
                before = before.wrapping_sub(1);
                // A sector that is not lost is torn.
                let sector = matches!(choice, Choice::Sector { .. });
                if chosen { random.below(choice.kept() + u64::from(sector)) } else { choice.kept() }
            }
        })
    }

    /// Keeps the visible folder, because without it there is mostly nothing to see.
    fn image_of_one(&self, random: &mut Random) -> SimDisk {
        let unsynced = self.unsynced();
        let mut before = random.index(unsynced.sectors.len() + unsynced.lengths);
        let longest = !random.one_in(4);
        self.image(&mut |choice| match choice {
            Choice::Operation(_) => 1,
            Choice::Torn { version, .. } if random.one_in(4) => random.tear(version.written()),
            Choice::Torn { .. } => 0,
            Choice::Under { number, .. } => random.below(number),
            Choice::Length { .. } | Choice::Sector { .. } => {
                let chosen = before == 0;
                before = before.wrapping_sub(1);
                let length = matches!(choice, Choice::Length { .. });
                if chosen || length && longest { choice.kept() } else { 0 }
            }
        })
    }

    fn image_of_any(&self, random: &mut Random) -> SimDisk {
        // The number of things that are lost, of eight.
        let lost = [1, 4, 7].get(random.index(3)).copied().unwrap_or(4);
        self.image(&mut |choice| match choice {
            Choice::Torn { version, .. } if random.one_in(8) => random.tear(version.written()),
            Choice::Torn { .. } => 0,
            Choice::Under { number, .. } => random.below(number),
            _ if random.below(8) < lost => 0,
            Choice::Operation(_) => 1,
            Choice::Length { durable, visible, lengths, .. } => match random.below(4) {
                0 => durable + random.below(visible - durable),
                1 => (durable + random.below(visible - durable)).next_multiple_of(SECTOR as u64),
                2 => lengths.get(random.index(lengths.len())).map_or(visible, Length::bytes),
                _ => visible,
            },
            Choice::Sector { versions, .. } => 1 + random.below(versions.len() as u64),
        })
    }
}

/// The iterator of [`Crash::images_exhaustive`].
#[derive(Debug)]
pub struct Exhaustive<'a> {
    crash: &'a Crash,
    /// The answers for the next disk, each with the number of possible answers. Further choices are
    /// answered with 0 first.
    path: Option<Vec<(u64, u64)>>,
}

impl Iterator for Exhaustive<'_> {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        let mut path = self.path.take()?;
        let mut asked = 0;
        let image = self.crash.image(&mut |choice| {
            let options = choice.options();
            if options == 1 {
                return 0;
            }
            if asked == path.len() {
                path.push((0, options));
            }
            let answer = path.get(asked).map_or(0, |(answer, _)| *answer);
            asked += 1;
            match choice {
                Choice::Length { .. } if answer > 0 => choice.kept(),
                _ => answer,
            }
        });
        while let Some((answer, options)) = path.pop() {
            if answer + 1 < options {
                path.push((answer + 1, options));
                self.path = Some(path);
                break;
            }
        }
        Some(image)
    }
}

/// The iterator of [`Crash::images_torn`].
#[derive(Debug)]
pub struct Torn<'a> {
    crash: &'a Crash,
    tears: std::vec::IntoIter<Tear>,
}

#[derive(Clone, Debug)]
struct Tear {
    file: crate::operation::Name,
    sector: u64,
    number: u64,
    end: u64,
    /// Everything after this time is lost.
    time: u64,
}

impl Iterator for Torn<'_> {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        let tear = self.tears.next()?;
        let it = |file: &str, sector| *tear.file == *file && tear.sector == sector;
        let all = tear.time == u64::MAX;
        Some(self.crash.image(&mut |choice| match choice {
            Choice::Operation(_) => 1,
            Choice::Length { .. } => choice.as_of(tear.time),
            Choice::Sector { file, sector, .. } if it(file, sector) => tear.number,
            Choice::Torn { file, sector, .. } if it(file, sector) => tear.end,
            Choice::Under { number, .. } => number - 1,
            // Sectors of the same write before the torn one are kept.
            Choice::Sector { file, sector, .. } if all || *tear.file == *file && sector < tear.sector => {
                choice.as_of(tear.time)
            }
            _ => choice.as_of(tear.time - 1),
        }))
    }
}

/// `SplitMix64`: <https://prng.di.unimi.it/splitmix64.c>. It is fast, and its sequence never
/// changes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    /// Returns a position inside of the written bytes.
    fn tear(&mut self, written: std::ops::Range<usize>) -> u64 {
        written.start as u64 + 1 + self.below((written.len() as u64).saturating_sub(1))
    }
}
