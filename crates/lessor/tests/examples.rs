//! Runs every example and checks its output.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{example, stderr, stdout};

/// The examples and parts of their expected output. `webhooks` has its own tests.
const SHOWN: &[(&str, &[&str])] = &[
    ("async_tokio", &["fetched 1 time(s)", "cancelled: true; taken over after Some(Lapsed)"]),
    ("custom_store", &["the work ran 1 time(s)", "job:1: completed, version 2"]),
    ("fencing", &["the sink refuses alice", "the engine refuses alice", "written by bob"]),
    (
        "policies",
        &["replayed: code Some(\"error\")", "sent at attempt 3", "in doubt: lapsed", "found in the books"],
    ),
    (
        "step_by_step",
        &["attempt 1", "first holds it", "attempt 2, continues from row 500", "rows 500 to 1000 imported"],
    ),
];

#[test]
fn every_example_succeeds_and_prints_its_result() {
    for (name, shown) in SHOWN {
        let output = example(name).output().unwrap();
        assert!(output.status.success(), "{name}: {}{}", stdout(&output), stderr(&output));
        for part in *shown {
            assert!(stdout(&output).contains(part), "{name} does not print {part:?}: {}", stdout(&output));
        }
    }
}

#[test]
fn every_example_is_tested() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut found: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "data")
        .collect();
    assert!(found.remove("webhooks"));
    let shown: BTreeSet<String> = SHOWN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, shown);
}
