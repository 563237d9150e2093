//! Checks of the disks that a crash leaves.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::Cell;
use std::collections::BTreeMap;

use lessor_core::Store;
use lessor_file::{Settings, SyncMode};
use lessor_simdisk::SimDisk;

use super::changes::Action;
use super::number_from_env;
use super::observed::Observed;
use super::work::{KEYS, Op, Work, key};

/// The approximate number of calls of an opening.
const CALLS: u64 = 28;

/// Checks disks, with a chosen thoroughness.
pub(crate) struct Check {
    settings: Settings,
    /// The interval of disks that are opened with a crash in between: `LESSOR_NESTED_EVERY`,
    /// default 5.
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

    /// Checks that the log opens with everything that was observed, that it works, and that new
    /// writes survive as well.
    pub(crate) fn whole(&self, disk: &SimDisk, observed: &Observed) -> Result<(), String> {
        let count = self.disks.get() + 1;
        self.disks.set(count);
        if count.is_multiple_of(self.nested_every) {
            self.crash_in_recovery(disk, observed, count / self.nested_every)?;
        }
        let (after, killed) = self.go_on(disk, observed)?;
        // In every other case the log was closed.
        let crash = if (count / 4).is_multiple_of(2) { killed.crash() } else { disk.crash() };
        let image = match count % 4 {
            0 => crash.image_lost(),
            1 => crash.image_kept(),
            _ => crash.image_random(count),
        };
        self.opens(&image, &after).map(drop).map_err(|why| format!("after a second crash: {why}"))
    }

    /// Checks as [`whole`](Self::whole) does, with every disk that a power loss may leave after new
    /// writes.
    pub(crate) fn whole_after_all(&self, disk: &SimDisk, observed: &Observed) -> Result<(), String> {
        let (after, killed) = self.go_on(disk, observed)?;
        let crash = killed.crash();
        for image in crash.images(6, 30, 1) {
            self.disks.set(self.disks.get() + 1);
            self.opens(&image, &after).map_err(|why| format!("after a power loss: {why}"))?;
        }
        Ok(())
    }

    /// Checks the disk of a killed process. Without syncs, a later power loss may take the new
    /// writes.
    pub(crate) fn killed(&self, disk: &SimDisk, observed: &Observed, sync: SyncMode) -> Result<(), String> {
        match sync {
            SyncMode::Disk => self.whole(disk, observed),
            _ => {
                self.disks.set(self.disks.get() + 1);
                let (after, killed) = self.go_on(disk, observed)?;
                self.opens(&killed, &after).map(drop)
            }
        }
    }

    /// Checks that the log opens with the state after some prefix of all writes.
    pub(crate) fn prefix(&self, disk: &SimDisk, observed: &Observed) -> Result<(), String> {
        let work = self.open(disk, observed)?;
        let read = work.read()?.into_iter().map(|(key, seen)| (key, seen.record)).collect();
        observed.is_a_prefix(&read)
    }

    pub(crate) fn opens(&self, disk: &SimDisk, observed: &Observed) -> Result<Observed, String> {
        let mut work = self.open(disk, observed)?;
        look(&mut work)?;
        Ok(work.observed.clone())
    }

    fn open<'d>(&self, disk: &'d SimDisk, observed: &Observed) -> Result<Work<'d>, String> {
        let opened = Work::open(disk, &self.settings, observed.clone());
        opened.map_err(|(error, observed)| format!("opening: {error}; after {:?}", observed.trace))
    }

    /// Grants each key again, with a token above all others, and completes one lease. Also returns
    /// the disk of the process if it is killed then.
    fn go_on(&self, disk: &SimDisk, observed: &Observed) -> Result<(Observed, SimDisk), String> {
        let mut work = self.open(disk, observed)?;
        look(&mut work)?;
        let acts = KEYS.iter().flat_map(|name| [Op::On(Action::Forget, name), Op::On(Action::Acquire, name)]);
        for op in acts.chain([Op::On(Action::Complete, "a")]) {
            work.perform(op).map_err(|_| format!("{op:?} failed on a disk that works"))?;
        }
        for name in KEYS {
            let seen = work.load(&key(name)).map_err(|error| error.to_string())?;
            if seen.record.is_none() {
                return Err(format!("{name} could not be granted again"));
            }
        }
        Ok((work.observed.clone(), disk.fork()))
    }

    /// Interrupts the opening before or during one of its calls.
    fn crash_in_recovery(&self, disk: &SimDisk, observed: &Observed, number: u64) -> Result<(), String> {
        self.crash_in_recovery_at(disk, observed, 1 + number / 2 % CALLS, number)
    }

    /// Interrupts the opening at each of its calls.
    pub(crate) fn recovers_at_any_call(&self, disk: &SimDisk, observed: &Observed) -> Result<(), String> {
        self.disks.set(self.disks.get() + 1);
        (2..2 * CALLS).try_for_each(|number| self.crash_in_recovery_at(disk, observed, number / 2, number))
    }

    fn crash_in_recovery_at(
        &self,
        disk: &SimDisk,
        observed: &Observed,
        call: u64,
        number: u64,
    ) -> Result<(), String> {
        let interrupted = disk.fork();
        if number.is_multiple_of(2) {
            interrupted.power_off_at(call);
        } else {
            interrupted.power_off_during(call);
        }
        let mut observed = observed.clone();
        if let Ok(mut work) = Work::open(&interrupted, &self.settings, observed.clone()) {
            // What is read now counts as observed.
            for name in KEYS {
                if let Ok(seen) = work.store().load(&key(name)).wait() {
                    work.observed.saw(&key(name), &seen)?;
                }
            }
            observed = work.observed.clone();
        }
        for (image, name) in crash_images(&interrupted, number) {
            self.nested.set(self.nested.get() + 1);
            let place = format!("the opening is interrupted at its call {call}, {name}");
            self.opens(&image, &observed).map_err(|why| format!("{place}: {why}"))?;
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
        work.observed.saw(key, seen).map_err(|why| format!("{why}; after {:?}", work.observed.trace))?;
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
