//! No power loss and no kill loses what was acknowledged or observed, or leaves a log that does not
//! open.
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
use support::observed::Observed;
use support::work::{ALPHABET, Op, Work, tiny};
use support::{Campaign, number_from_env};

mod support;

/// Returns short workloads: a part of all workloads of up to three steps. `LESSOR_CRASH_CASES` sets
/// their number, default 24.
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

/// Returns a killed log with a checkpoint, a few segments and a tail.
fn prepared(settings: &Settings) -> (SimDisk, Observed) {
    use support::changes::Action::{Acquire, Complete, Extend, Release};
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
        Work::open(&disk, settings, Observed::default()).unwrap_or_else(|(error, _)| panic!("{error}"));
    for op in ops {
        work.perform(op).unwrap();
    }
    let (left, observed) = (disk.fork(), work.observed.clone());
    (left, observed)
}

/// Returns a random workload, which depends on the seed only.
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
    // A process that created the folder was killed before it did anything else.
    let (start, observed) =
        if from_prepared { prepared(&settings) } else { (SimDisk::in_new_folder(), Observed::default()) };
    for ops in short_workloads(if from_prepared { 1 } else { 4 }) {
        campaign.each_power_loss(
            || start.fork(),
            |disk| Work::run(disk, &settings, observed.clone(), &ops),
            |image, observed| check.whole(image, observed),
        );
    }
}

#[test]
fn p5_p7_p8_p9_no_power_loss_loses_observations_of_a_new_log() {
    lose_power_of_short_workloads(false);
}

#[test]
fn p5_p7_p8_p9_no_power_loss_loses_observations_of_a_killed_log() {
    lose_power_of_short_workloads(true);
}

#[test]
fn p5_p7_p8_p9_no_kill_loses_observations() {
    for sync in [SyncMode::Disk, SyncMode::Process] {
        let settings = tiny(sync);
        let (campaign, check) = (Campaign::from_env("kills"), Check::from_env(&settings));
        let (start, observed) = prepared(&settings);
        for ops in short_workloads(1) {
            campaign.each_kill(
                || start.fork(),
                |disk| Work::run(disk, &settings, observed.clone(), &ops),
                |image, observed| check.killed(image, observed, sync),
            );
        }
    }
}

/// The frames that an opening finds may be in the memory of the operating system only.
#[test]
fn p5_a_killed_opening_does_not_mislead_the_next_one() {
    let settings = tiny(SyncMode::Disk);
    let (campaign, check) = (Campaign::from_env("killed openings"), Check::from_env(&settings));
    let (start, observed) = prepared(&settings);
    campaign.each_kill(
        || start.fork(),
        |disk| Work::run(disk, &settings, observed.clone(), &[]),
        |disk, observed| check.whole_after_all(disk, observed),
    );
}

#[test]
fn p5_p9_a_killed_compaction_and_an_interrupted_opening_after_it_lose_nothing() {
    let settings = tiny(SyncMode::Disk);
    let (campaign, check) = (Campaign::from_env("killed compactions"), Check::from_env(&settings));
    let (start, observed) = prepared(&settings);
    campaign.each_kill(
        || start.fork(),
        |disk| Work::run(disk, &settings, observed.clone(), &[Op::Compact]),
        |disk, observed| check.recovers_at_any_call(disk, observed),
    );
}

#[test]
fn a_power_loss_loses_only_the_latest_unsynced_writes() {
    let settings = tiny(SyncMode::Process);
    let (campaign, check) = (Campaign::from_env("power losses without syncs"), Check::from_env(&settings));
    for seed in 0..number_from_env("LESSOR_CRASH_CASES", 24) / 8 + 1 {
        let ops = random_workload(seed, 8);
        campaign.each_power_loss(
            SimDisk::in_new_folder,
            |disk| Work::run(disk, &settings, Observed::default(), &ops),
            |image, observed| check.prefix(image, observed),
        );
    }
}

/// Long workloads, in which the log continues in many segments and is compacted by itself, with
/// crashes at random calls.
#[test]
fn p5_p7_p8_p9_long_work_loses_nothing_at_any_crash() {
    let settings = tiny(SyncMode::Disk);
    let campaign = Campaign::from_env("crashes of long work");
    let check = Check::from_env(&settings);
    for seed in 0..number_from_env("LESSOR_CRASH_CASES", 24) {
        let ops = random_workload(seed + 1_000, 40);
        let run = |disk: &SimDisk| Work::run(disk, &settings, Observed::default(), &ops);
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
            let observed = run(&disk);
            campaign.check_crash(&disk.crash(), seed, format!("at mutating call {call}"), |image| {
                check.whole(image, &observed)
            });
        }
    }
}
