//! The command line of `contention`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Output};

fn contention(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_contention")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn each_number_of_callers_and_each_workload_has_a_line() {
    let output = contention(&["--seconds", "0.05", "--rounds", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["fresh keys", "requests", "refusals", " per second; p50 ", "8 threads"] {
        assert!(text(&output.stdout).contains(part), "{part:?} is missing: {}", text(&output.stdout));
    }
}

/// A number of threads beyond the machine's limits aborted the program. Of two options that exclude
/// each other, one had no effect.
#[test]
fn p12_options_without_a_bound_or_without_an_effect_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let requests = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, blank) = (requests("empty", ""), requests("blank", "a\n\nb\n"));
    let (long, good) = (requests("long", &format!("{}\n", "x".repeat(250))), requests("good", "a\nb\na\n"));
    for (arguments, part) in [
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
        let output = contention(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
    let few = ["--requests", &good, "--threads", "2", "--seconds", "0.01", "--rounds", "1"];
    let output = contention(&few);
    assert!(output.status.success(), "{}", text(&output.stderr));
}
