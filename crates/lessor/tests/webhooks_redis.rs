//! The example `webhooks` in several processes at the same time, which share a server and a ledger.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::process::{Child, Output, Stdio};

use common::server::Server;
use common::{example, row, stderr, stdout};
use serde_json::Value;

const PROCESSES: usize = 3;

/// Returns the number of deliveries that each process worked on.
fn run_at_once(server: &Server, prefix: &str, distinct: u64) -> Vec<u64> {
    let ledger = server.folder.path().join(format!("{prefix}.ledger"));
    let command = || {
        let mut command = example("webhooks");
        command.arg("--ledger").arg(&ledger);
        command.args(["--store", &format!("redis://127.0.0.1:{}/0?prefix={prefix}", server.port)]);
        command
    };
    let spawn = || command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = (0..PROCESSES).map(|_| spawn()).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
        assert_eq!(row(output, "distinct"), distinct);
        assert_eq!(row(output, "executed") + row(output, "replayed"), row(output, "deliveries"));
    }
    let executed: Vec<u64> = outputs.iter().map(|output| row(output, "executed")).collect();
    assert_eq!(executed.iter().sum::<u64>(), distinct, "each is worked on once, by one process");

    let text = fs::read_to_string(&ledger).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
    assert_eq!(ids.len() as u64, distinct);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len() as u64, distinct);
    let ends = lines.iter().filter(|line| line.get("run_ended").is_some()).count();
    assert_eq!(ends, PROCESSES);

    let check = command().arg("--check").output().unwrap();
    assert!(check.status.success(), "{}", stdout(&check));
    // One more run finds all work done.
    let again = command().output().unwrap();
    assert!(again.status.success(), "{}", stdout(&again));
    assert_eq!((row(&again, "executed"), row(&again, "replayed")), (0, row(&again, "deliveries")));
    executed
}

#[test]
fn p1_three_processes_on_one_server_work_on_each_delivery_of_the_sample_once() {
    let Some(server) = Server::start() else { return };
    for round in 0..3 {
        let executed = run_at_once(&server, &format!("sample-{round}"), 40);
        println!("40 deliveries of the sample, worked on by process: {executed:?}");
    }
}

#[test]
fn a_shared_store_needs_a_shared_ledger() {
    let output = example("webhooks").args(["--store", "redis://127.0.0.1:1/0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("needs --ledger"), "{}", stderr(&output));
}
