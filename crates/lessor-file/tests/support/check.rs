//! Checks what is left of a log against what was told.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::Cell;
use std::collections::BTreeMap;

use lessor_core::Store;
use lessor_file::{Settings, SyncMode};
use lessor_simdisk::SimDisk;

use super::number_from_env;
use super::scribe::Act;
use super::told::Told;
use super::work::{KEYS, Op, Work, key};

/// About as many calls as an opening makes.
const CALLS: u64 = 28;

/// How thoroughly each disk is looked at.
pub(crate) struct Check {
    settings: Settings,
    /// One disk in so many is opened with a crash in between: the environment's `LESSOR_NESTED_EVERY`, by default 5.
    nested_every: u64,
    disks: Cell<u64>,
    nested: Cell<u64>,
}

impl Check {
    pub(crate) fn from_env(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            nested_every: number_from_env("LESSOR_NESTED_EVERY", 5).max(1),
            disks: Cell::new(0),
            nested: Cell::new(0),
        }
    }

    /// The log opens; all that was told is there; it can be worked with, and what is told then survives as well.
    pub(crate) fn whole(&self, disk: &SimDisk, told: &Told) -> Result<(), String> {
        let count = self.disks.get() + 1;
        self.disks.set(count);
        if count.is_multiple_of(self.nested_every) {
            self.crash_in_recovery(disk, told, count / self.nested_every)?;
        }
        let (after, killed) = self.go_on(disk, told)?;
        // In every other case the log was closed.
        let crash = if (count / 4).is_multiple_of(2) { killed.crash() } else { disk.crash() };
        let image = match count % 4 {
            0 => crash.image_lost(),
            1 => crash.image_kept(),
            _ => crash.image_random(count),
        };
        self.opens(&image, &after).map(drop).map_err(|why| format!("after a second crash: {why}"))
    }

    /// The same, with every disk that a power loss may leave after the work.
    pub(crate) fn whole_after_all(&self, disk: &SimDisk, told: &Told) -> Result<(), String> {
        let (after, killed) = self.go_on(disk, told)?;
        let crash = killed.crash();
        for image in crash.images(6, 30, 1) {
            self.disks.set(self.disks.get() + 1);
            self.opens(&image, &after).map_err(|why| format!("after a power loss: {why}"))?;
        }
        Ok(())
    }

    /// The same of a process that was killed: without syncs, a crash after that may take what is told then.
    pub(crate) fn killed(&self, disk: &SimDisk, told: &Told, sync: SyncMode) -> Result<(), String> {
        match sync {
            SyncMode::Disk => self.whole(disk, told),
            SyncMode::Process => {
                self.disks.set(self.disks.get() + 1);
                let (after, killed) = self.go_on(disk, told)?;
                self.opens(&killed, &after).map(drop)
            }
        }
    }

    /// The log opens, and holds what is left of all that was written up to some moment.
    pub(crate) fn prefix(&self, disk: &SimDisk, told: &Told) -> Result<(), String> {
        let work = self.open(disk, told)?;
        let read = work.read()?.into_iter().map(|(key, seen)| (key, seen.record)).collect();
        told.is_a_prefix(&read)
    }

    pub(crate) fn opens(&self, disk: &SimDisk, told: &Told) -> Result<Told, String> {
        let mut work = self.open(disk, told)?;
        look(&mut work)?;
        Ok(work.told.clone())
    }

    fn open<'d>(&self, disk: &'d SimDisk, told: &Told) -> Result<Work<'d>, String> {
        let opened = Work::open(disk, &self.settings, told.clone());
        opened.map_err(|(error, told)| format!("opening: {error}; after {:?}", told.trace))
    }

    /// Each key is granted anew, above all tokens, and one lease is completed. Returns also the disk if the process is
    /// killed then.
    fn go_on(&self, disk: &SimDisk, told: &Told) -> Result<(Told, SimDisk), String> {
        let mut work = self.open(disk, told)?;
        look(&mut work)?;
        let acts = KEYS.iter().flat_map(|name| [Op::On(Act::Forget, name), Op::On(Act::Acquire, name)]);
        for op in acts.chain([Op::On(Act::Complete, "a")]) {
            work.perform(op).map_err(|_| format!("{op:?} failed on a disk that works"))?;
        }
        for name in KEYS {
            let seen = work.load(&key(name)).map_err(|error| error.to_string())?;
            if seen.record.is_none() {
                return Err(format!("{name} could not be granted anew"));
            }
        }
        Ok((work.told.clone(), disk.fork()))
    }

    /// The opening itself is interrupted, before or during one of its calls.
    fn crash_in_recovery(&self, disk: &SimDisk, told: &Told, number: u64) -> Result<(), String> {
        self.crash_in_recovery_at(disk, told, 1 + number / 2 % CALLS, number)
    }

    /// The opening is interrupted at each of its calls.
    pub(crate) fn recovers_at_any_call(&self, disk: &SimDisk, told: &Told) -> Result<(), String> {
        self.disks.set(self.disks.get() + 1);
        (2..2 * CALLS).try_for_each(|number| self.crash_in_recovery_at(disk, told, number / 2, number))
    }

    fn crash_in_recovery_at(
        &self,
        disk: &SimDisk,
        told: &Told,
        call: u64,
        number: u64,
    ) -> Result<(), String> {
        let interrupted = disk.fork();
        if number.is_multiple_of(2) {
            interrupted.power_off_at(call);
        } else {
            interrupted.power_off_during(call);
        }
        let mut told = told.clone();
        if let Ok(mut work) = Work::open(&interrupted, &self.settings, told.clone()) {
            // What is read now has been observed.
            for name in KEYS {
                if let Ok(seen) = work.store().load(&key(name)).wait() {
                    work.told.saw(&key(name), &seen)?;
                }
            }
            told = work.told.clone();
        }
        for (image, name) in crash_images(&interrupted, number) {
            self.nested.set(self.nested.get() + 1);
            let place = format!("the opening is interrupted at its call {call}, {name}");
            self.opens(&image, &told).map_err(|why| format!("{place}: {why}"))?;
        }
        Ok(())
    }
}

fn crash_images(disk: &SimDisk, seed: u64) -> [(SimDisk, &'static str); 5] {
    let crash = disk.crash();
    [
        (disk.fork(), "killed"),
        (crash.image_lost(), "all is lost"),
        (crash.image_kept(), "all is kept"),
        (crash.image_random(seed), "some is lost"),
        (crash.image_random(seed + 1_000_000), "some is lost"),
    ]
}

fn look(work: &mut Work<'_>) -> Result<(), String> {
    let read: BTreeMap<_, _> = work.read()?;
    for (key, seen) in &read {
        work.told.saw(key, seen).map_err(|why| format!("{why}; after {:?}", work.told.trace))?;
    }
    Ok(())
}

impl Drop for Check {
    fn drop(&mut self) {
        println!(
            "{} logs opened and worked with, {} of crashes while opening",
            self.disks.get(),
            self.nested.get()
        );
    }
}
