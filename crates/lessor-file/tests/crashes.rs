//! No power loss and no kill loses what was acknowledged or seen, and none leaves a log that does not open.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::result_large_err,
    reason = "a test fails by panicking"
)]

use lessor_file::{Settings, SyncMode};
use lessor_simdisk::SimDisk;
use support::check::Check;
use support::told::Told;
use support::work::{ALPHABET, Op, Work, tiny};
use support::{Campaign, number_from_env};

mod support;

/// Short workloads: how many of all of up to three steps, by default 24, or `LESSOR_CRASH_CASES`.
fn short_workloads(share: u64) -> impl Iterator<Item = Vec<Op>> {
    let size = ALPHABET.len() as u64;
    let all = size + size.pow(2) + size.pow(3);
    let wanted = (number_from_env("LESSOR_CRASH_CASES", 24) / share).clamp(1, all);
    (0..wanted).map(move |number| workload((number * all + all / 2) / wanted))
}

fn workload(number: u64) -> Vec<Op> {
    let size = ALPHABET.len() as u64;
    let (mut rest, mut length) = (number, 1);
    while rest >= size.pow(length) {
        rest -= size.pow(length);
        length += 1;
    }
    (0..length).map(|place| ALPHABET[(rest / size.pow(place) % size) as usize]).collect()
}

/// A log with a checkpoint, a few segments and a tail, left by a kill.
fn prepared(settings: &Settings) -> (SimDisk, Told) {
    use support::scribe::Act::{Acquire, Complete, Extend, Release};
    let disk = SimDisk::new();
    let ops = [
        Op::On(Acquire, "a"),
        Op::On(Complete, "a"),
        Op::On(Acquire, "b"),
        Op::Compact,
        Op::On(Extend, "b"),
        Op::On(Acquire, "c"),
        Op::On(Release, "c"),
    ];
    let mut work =
        Work::open(&disk, settings, Told::default()).unwrap_or_else(|(error, _)| panic!("{error}"));
    for op in ops {
        work.perform(op).unwrap();
    }
    let (left, told) = (disk.fork(), work.told.clone());
    (left, told)
}

/// The same for ever from the same seed.
fn random_workload(seed: u64, length: u64) -> Vec<Op> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    (0..length)
        .map(|_| match next() % 20 {
            0 => Op::Reopen,
            1 => Op::Compact,
            2 => Op::Purge,
            _ => match ALPHABET[next() % 8] {
                Op::On(act, _) => Op::On(act, support::work::KEYS[next() % 3]),
                op => op,
            },
        })
        .collect()
}

fn lose_power_of_short_workloads(from_prepared: bool) {
    let settings = tiny(SyncMode::Disk);
    let (campaign, check) = (Campaign::from_env("power losses"), Check::from_env(&settings));
    // A process that made the folder was killed before it did anything else.
    let (start, told) =
        if from_prepared { prepared(&settings) } else { (SimDisk::in_new_folder(), Told::default()) };
    for ops in short_workloads(if from_prepared { 1 } else { 4 }) {
        campaign.each_power_loss(
            || start.fork(),
            |disk| Work::run(disk, &settings, told.clone(), &ops),
            |image, told| check.whole(image, told),
        );
    }
}

#[test]
fn p5_p7_p8_p9_no_power_loss_takes_what_was_told_of_a_new_log() {
    lose_power_of_short_workloads(false);
}

#[test]
fn p5_p7_p8_p9_no_power_loss_takes_what_was_told_of_a_log_that_was_killed_before() {
    lose_power_of_short_workloads(true);
}

#[test]
fn p5_p7_p8_p9_no_kill_takes_what_was_told() {
    for sync in [SyncMode::Disk, SyncMode::Process] {
        let settings = tiny(sync);
        let (campaign, check) = (Campaign::from_env("kills"), Check::from_env(&settings));
        let (start, told) = prepared(&settings);
        for ops in short_workloads(1) {
            campaign.each_kill(
                || start.fork(),
                |disk| Work::run(disk, &settings, told.clone(), &ops),
                |image, told| check.killed(image, told, sync),
            );
        }
    }
}

/// What an opening finds may be in the memory of the operating system only.
#[test]
fn p5_an_opening_that_was_killed_leaves_nothing_that_the_next_one_wrongly_relies_on() {
    let settings = tiny(SyncMode::Disk);
    let (campaign, check) = (Campaign::from_env("killed openings"), Check::from_env(&settings));
    let (start, told) = prepared(&settings);
    campaign.each_kill(
        || start.fork(),
        |disk| Work::run(disk, &settings, told.clone(), &[]),
        |disk, told| check.whole_after_all(disk, told),
    );
}

#[test]
fn p5_p9_a_killed_compaction_and_an_interrupted_opening_after_it_lose_nothing() {
    let settings = tiny(SyncMode::Disk);
    let (campaign, check) = (Campaign::from_env("killed compactions"), Check::from_env(&settings));
    let (start, told) = prepared(&settings);
    campaign.each_kill(
        || start.fork(),
        |disk| Work::run(disk, &settings, told.clone(), &[Op::Compact]),
        |disk, told| check.recovers_at_any_call(disk, told),
    );
}

#[test]
fn a_power_loss_takes_the_last_of_what_was_not_synced_and_nothing_else() {
    let settings = tiny(SyncMode::Process);
    let (campaign, check) = (Campaign::from_env("power losses without syncs"), Check::from_env(&settings));
    for seed in 0..number_from_env("LESSOR_CRASH_CASES", 24) / 8 + 1 {
        let ops = random_workload(seed, 8);
        campaign.each_power_loss(
            SimDisk::in_new_folder,
            |disk| Work::run(disk, &settings, Told::default(), &ops),
            |image, told| check.prefix(image, told),
        );
    }
}

/// Long ones, in which the log goes through many segments and is compacted by itself; crashes at calls drawn at random.
#[test]
fn p5_p7_p8_p9_long_work_loses_nothing_at_any_crash() {
    let settings = tiny(SyncMode::Disk);
    let campaign = Campaign::from_env("crashes of long work");
    let check = Check::from_env(&settings);
    for seed in 0..number_from_env("LESSOR_CRASH_CASES", 24) {
        let ops = random_workload(seed + 1_000, 40);
        let run = |disk: &SimDisk| Work::run(disk, &settings, Told::default(), &ops);
        let whole = SimDisk::in_new_folder();
        let _ = run(&whole);
        let calls = whole.mutations();
        for part in 0..4 {
            let disk = SimDisk::in_new_folder();
            let call = 1 + (seed * 7_919 + part * calls / 4) % calls.max(1);
            if part % 2 == 0 {
                disk.power_off_during(call);
            } else {
                disk.power_off_at(call);
            }
            let told = run(&disk);
            campaign.check_crash(&disk.crash(), seed, format!("at mutating call {call}"), |image| {
                check.whole(image, &told)
            });
        }
    }
}
