//! Campaigns: repeated runs of a piece of work on simulated disks, one for each call at which
//! something can go wrong. They are independent of the log. The work returns what it observed, and
//! a check compares that with each disk that may be left.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::Cell;
use std::fmt::Display;

use lessor_simdisk::{Crash, Fault, SimDisk, When};

pub(crate) mod changes;
pub(crate) mod check;
pub(crate) mod gate;
pub(crate) mod observed;
pub(crate) mod reopening;
pub(crate) mod work;

/// The extent of a campaign, and its counters.
pub(crate) struct Campaign {
    name: &'static str,
    /// All disks that a crash may leave are checked if there are at most 2 to the power of this:
    /// `LESSOR_CHOICES`, default 6.
    max_choices: u32,
    /// Otherwise this number of random ones is checked: `LESSOR_IMAGES`, default 30.
    samples: u64,
    runs: Cell<u64>,
    disks: Cell<u64>,
}

impl Campaign {
    pub(crate) fn from_env(name: &'static str) -> Self {
        Self {
            name,
            max_choices: u32::try_from(number_from_env("LESSOR_CHOICES", 6)).unwrap(),
            samples: number_from_env("LESSOR_IMAGES", 30),
            runs: Cell::new(0),
            disks: Cell::new(0),
        }
    }

    /// Fails the power before and during each mutating call of the work, and once after all of
    /// them.
    pub(crate) fn each_power_loss<T>(
        &self,
        start: impl Fn() -> SimDisk,
        work: impl Fn(&SimDisk) -> T,
        check: impl Fn(&SimDisk, &T) -> Result<(), String>,
    ) {
        for during in [false, true] {
            for call in 1.. {
                let disk = start();
                let last = disk.mutations() + call;
                if during {
                    disk.power_off_during(last);
                } else {
                    disk.power_off_at(last);
                }
                let observed = self.run(&disk, &work);
                let when = if during { "during" } else { "before" };
                let place = format!("the power fails {when} mutating call {call}");
                self.check_crash(&disk.crash(), call, &place, |image| check(image, &observed));
                if disk.mutations() < last {
                    break;
                }
            }
        }
    }

    /// Kills the process at each mutating call of the work, and once after all of them. The machine
    /// continues to run.
    pub(crate) fn each_kill<T>(
        &self,
        start: impl Fn() -> SimDisk,
        work: impl Fn(&SimDisk) -> T,
        check: impl Fn(&SimDisk, &T) -> Result<(), String>,
    ) {
        for call in 1.. {
            let disk = start();
            let last = disk.mutations() + call;
            disk.power_off_at(last);
            let observed = self.run(&disk, &work);
            self.check(&disk.fork(), format_args!("killed before mutating call {call}"), |disk| {
                check(disk, &observed)
            });
            if disk.mutations() < last {
                break;
            }
        }
    }

    /// Makes each call of the work fail, once and from then on, in each way. Checks the disk that
    /// the next process finds, also if lost data becomes invisible, and each disk after a power
    /// loss.
    pub(crate) fn each_failing_call<T>(
        &self,
        start: impl Fn() -> SimDisk,
        work: impl Fn(&SimDisk) -> T,
        check: impl Fn(&SimDisk, &T) -> Result<(), String>,
    ) {
        const FAULTS: [Fault; 7] = [
            Fault::Io,
            Fault::Full,
            Fault::TooManyFiles,
            Fault::TooLarge,
            Fault::Short,
            Fault::HalfThenIo,
            Fault::SyncLost,
        ];
        for (fault, lasts) in FAULTS.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
            for call in 1.. {
                let disk = start();
                let number = disk.calls() + call;
                let when = When::call(number);
                disk.fail(if lasts { when.from_then_on() } else { when }, fault);
                let observed = self.run(&disk, &work);
                let place = format!("{fault:?} at call {call}{}", if lasts { " and after it" } else { "" });
                self.check(&disk.fork(), &place, |disk| check(disk, &observed));
                let evicted = disk.fork();
                evicted.evict_lost();
                self.check(&evicted, format_args!("{place}, evicted"), |disk| check(disk, &observed));
                self.check_crash(&disk.crash(), call, &place, |image| check(image, &observed));
                if disk.calls() < number {
                    break;
                }
            }
        }
    }

    /// Checks each disk that a crash may leave, or many of them.
    pub(crate) fn check_crash(
        &self,
        crash: &Crash,
        seed: u64,
        place: impl Display,
        check: impl Fn(&SimDisk) -> Result<(), String>,
    ) {
        for (number, image) in crash.images(self.max_choices, self.samples, seed).enumerate() {
            self.check(&image, format_args!("{place}, image {number}"), &check);
        }
    }

    fn run<T>(&self, disk: &SimDisk, work: impl Fn(&SimDisk) -> T) -> T {
        self.runs.set(self.runs.get() + 1);
        work(disk)
    }

    #[track_caller]
    fn check(&self, disk: &SimDisk, place: impl Display, check: impl Fn(&SimDisk) -> Result<(), String>) {
        self.disks.set(self.disks.get() + 1);
        if let Err(why) = check(disk) {
            panic!("{}: {place}: {why}; files: {disk:?}", self.name);
        }
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        println!("{}: {} runs, {} disks were checked", self.name, self.runs.get(), self.disks.get());
    }
}

pub(crate) fn number_from_env(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(otherwise)
}
