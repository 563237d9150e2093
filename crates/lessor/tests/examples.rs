//! Every example runs to its end, and shows what it is there to show.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{example, stderr, stdout};

/// The examples, and what the output of each has to say. `webhooks` has tests of its own.
const SHOWN: &[(&str, &[&str])] = &[
    ("async_tokio", &["fetched 1 time(s)", "cancelled: true; taken over after Some(Lapsed)"]),
    ("contention", &["fresh keys", "your mix", "one held key", " per second; p50 ", "8 threads"]),
    ("custom_store", &["the work ran 1 time(s)", "job:1: completed, version 2"]),
    ("fencing", &["the sink refuses alice", "the engine refuses alice", "written by bob"]),
    (
        "policies",
        &["replayed: code Some(\"error\")", "sent at attempt 3", "in doubt: lapsed", "found in the books"],
    ),
    (
        "step_by_step",
        &["attempt 1", "first holds it", "attempt 2, goes on from row 500", "rows 500 to 1000 imported"],
    ),
];

/// What is measured need not be measured well here.
fn quick(name: &str) -> &'static [&'static str] {
    if name == "contention" { &["--seconds", "0.05", "--rounds", "1"] } else { &[] }
}

#[test]
fn every_example_runs_to_its_end_and_shows_its_point() {
    for (name, shown) in SHOWN {
        let output = example(name).args(quick(name)).output().unwrap();
        assert!(output.status.success(), "{name}: {}{}", stdout(&output), stderr(&output));
        for part in *shown {
            assert!(stdout(&output).contains(part), "{name} does not say {part:?}: {}", stdout(&output));
        }
    }
}

#[test]
fn no_example_is_left_out() {
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

/// A number of threads that no machine has ended the example by an abort, and options that exclude each other were taken, the last of
/// them or neither having an effect.
#[test]
fn p12_contention_refuses_what_has_no_bound_or_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let requests = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, blank) = (requests("empty", ""), requests("blank", "a\n\nb\n"));
    let (long, good) = (requests("long", &format!("{}\n", "x".repeat(250))), requests("good", "a\nb\na\n"));
    for (args, part) in [
        (&["--threads", "99999999"][..], "from 1 to 1024"),
        (&["--threads", "2,0"], "from 1 to 1024"),
        (&["--tasks", "1000001"], "from 1 to 1000000"),
        (&["--threads", "2", "--tasks", "2"], "not both"),
        (&["--keys", "0"], "--keys"),
        (&["--keys", "4000000000"], "--keys"),
        (&["--exponent", "NaN"], "--exponent"),
        (&["--exponent", "inf"], "--exponent"),
        (&["--result", "1048577"], "--result"),
        (&["--seconds", "0"], "--seconds"),
        (&["--seconds", "1e300"], "--seconds"),
        (&["--rounds", "0"], "--rounds"),
        (&["--requests", &good, "--keys", "5"], "no effect"),
        (&["--requests", "/dev/zero"], "regular file"),
        (&["--requests", &empty], "is empty"),
        (&["--requests", &blank], "line 2"),
        (&["--requests", &long], "line 1"),
        (&["--store", "memory:?x"], "takes no arguments"),
    ] {
        let output = example("contention").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stdout(&output));
        assert!(stderr(&output).contains(part), "{args:?}: {}", stderr(&output));
    }
    let few = ["--requests", &good, "--threads", "2", "--seconds", "0.01", "--rounds", "1"];
    let output = example("contention").args(few).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
