//! Crontabs of several machines: in each round, five processes run the same command under one key.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::{Child, Stdio};

use support::Place;

const ROUNDS: usize = 10;
const PROCESSES: usize = 5;

fn rounds(place: &Place) {
    for round in 0..ROUNDS {
        let key = format!("minute-{round}");
        let script = "echo $LESSOR_KEY >> runs; echo by $LESSOR_TOKEN";
        let words = ["run", &key, "--quiet", "--wait", "10min", "--", "sh", "-c", script];
        let spawn = || place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let processes: Vec<Child> = (0..PROCESSES).map(|_| spawn()).collect();
        let mut outputs = processes.into_iter().map(|process| process.wait_with_output().unwrap());
        let first = outputs.next().unwrap();
        assert!(first.status.success() && first.stdout.starts_with(b"by "), "{first:?}");
        for output in outputs {
            assert_eq!((output.status, &output.stdout), (first.status, &first.stdout), "{output:?}");
        }
    }
    let runs = fs::read_to_string(place.folder.path().join("runs")).unwrap();
    let expected: Vec<String> = (0..ROUNDS).map(|round| format!("minute-{round}")).collect();
    assert_eq!(runs.lines().collect::<Vec<_>>(), expected, "one run in each round");
}

#[test]
fn p1_five_processes_on_one_server_run_a_command_once_in_each_round() {
    let Some(place) = Place::redis() else { return };
    rounds(&place);
}

/// One process at a time has the folder open, and the others wait their turn.
#[test]
fn p1_five_processes_on_one_folder_run_a_command_once_in_each_round() {
    rounds(&Place::file());
}
