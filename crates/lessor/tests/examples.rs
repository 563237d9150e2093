//! Runs every example and checks its output.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use common::{example, stderr, stdout};

/// The examples and parts of their expected output. `webhooks` has its own tests.
const SHOWN: &[(&str, &[&str])] = &[
    (
        "agent",
        &[
            "process 1 is killed",
            "after step 2",
            "bob hangs in step 4",
            "bob has lost its lease",
            "checked: 6 steps in order, by alice, bob and carol",
        ],
    ),
    ("async_tokio", &["fetched 1 time(s)", "cancelled: true; taken over after Some(Lapsed)"]),
    ("axum_payments", PAYMENTS),
    (
        "crash_kit",
        &[
            "effect before the lease: charge of order-7 happened twice: worker 1 crashed after",
            "no reply taken for no effect: charge of order-7 happened twice: the reply to the effect",
            "no fence: charge of order-7 happened twice: worker 1 was suspended before",
            "correct: the promise was kept in",
        ],
    ),
    ("custom_store", &["the work ran 1 time(s)", "job:1: completed, version 2"]),
    ("fencing", &["the sink refuses alice", "the engine refuses alice", "written by bob"]),
    #[cfg(feature = "metrics")]
    ("metrics", &["lessor_grants_total{after=\"lapse\"} 1"]),
    ("nightly", NIGHTLY),
    (
        "policies",
        &[
            "kept: the mailbox is full (replayed: true)",
            "sent at attempt 3",
            "reconciled: sent before",
            "in doubt: lapsed",
            "found in the books",
        ],
    ),
    (
        "step_by_step",
        &["attempt 1", "first holds it", "attempt 2, continues from row 500", "rows 500 to 1000 imported"],
    ),
];

/// One answer for each kind of failure, and as many charges as payments.
const PAYMENTS: &[&str] = &[
    "422 {\"code\":\"another_body_under_this_key\"}",
    "402 {\"code\":\"declined\"}",
    "503 {\"code\":\"overloaded\"}",
    "1 charge(s), 20 equal receipts",
    "the charge continues",
    "202 {\"code\":\"pending\"}",
    "500 {\"code\":\"failed\"}",
    "another server starts",
    "checked: 6 payments, 6 charges",
];

/// The worker of the second night is killed, so that night's job runs twice.
const NIGHTLY: &[&str] = &[
    "is killed halfway",
    "checked: 2026-11-28 ran 1 time(s), and was completed once",
    "checked: 2026-11-29 ran 2 time(s), and was completed once",
    "checked: 2026-11-30 ran 1 time(s), and was completed once",
];

#[test]
fn every_example_succeeds_and_prints_its_result() {
    for (name, shown) in SHOWN {
        assert_prints(name, &example(name).output().unwrap(), shown);
    }
}

fn assert_prints(name: &str, output: &Output, shown: &[&str]) {
    assert!(output.status.success(), "{name}: {}{}", stdout(output), stderr(output));
    for part in shown {
        assert!(stdout(output).contains(part), "{name} does not print {part:?}: {}", stdout(output));
    }
}

#[test]
#[cfg(feature = "redis")]
fn p1_each_nightly_job_is_completed_once_by_workers_that_share_a_server() {
    let Some(server) = common::server::Server::start() else { return };
    let url = format!("redis://127.0.0.1:{}/0?prefix=nightly", server.port);
    let output = example("nightly").arg(url).output().unwrap();
    // On a slow machine a lease can lapse, and its job is run again.
    assert_prints("nightly", &output, &["is killed halfway", "was completed once"]);
}

#[test]
fn every_example_is_tested() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut found: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "data" && (name != "metrics" || cfg!(feature = "metrics")))
        .collect();
    assert!(found.remove("webhooks"));
    let shown: BTreeSet<String> = SHOWN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, shown);
}
