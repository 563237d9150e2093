//! Fuzzing of recovery without instrumentation: `LESSOR_FUZZ` pseudo-random inputs, default 1,000,
//! and the seeds of the fuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

#[path = "support/recover.rs"]
mod recover;
#[path = "support/small.rs"]
mod small;

use recover::recover;

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn p12_any_folder_is_refused_or_opens_with_its_records() {
    let text = std::env::var("LESSOR_FUZZ").unwrap_or_default().replace('_', "");
    let count = text.parse().unwrap_or(1_000_u64);
    let mut outcomes = BTreeMap::new();
    for number in 0..count {
        let mut state = number;
        let length = 5 + splitmix(&mut state) % 60;
        let input: Vec<u8> = (0..length).map(|_| splitmix(&mut state).to_le_bytes()[0]).collect();
        let outcome = std::panic::catch_unwind(|| recover(&input));
        *outcomes.entry(outcome.unwrap_or_else(|_| panic!("input {number}: {input:?}"))).or_insert(0) += 1;
    }
    println!("{count} changed folders: {outcomes:?}");
}

#[test]
fn p12_the_seeds_of_the_fuzzer_are_handled() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/recover");
    let mut count = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        recover(&std::fs::read(seed.unwrap().path()).unwrap());
        count += 1;
    }
    println!("{count} seeds");
    assert!(count > 0);
}
