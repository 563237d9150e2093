//! The example `webhooks` over the file store: run twice, and killed repeatedly until all work is
//! done.
//!
//! `LESSOR_KILLS` is the maximum number of kills, by default 12. `LESSOR_WEBHOOK_DELIVERIES` is the
//! number of generated deliveries, by default 120.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{example, number_from_env, pause, row, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a store, a ledger, and deliveries that come up to three times each.
struct Job {
    folder: TempDir,
    deliveries: u64,
    distinct: u64,
}

impl Job {
    fn new(distinct: u64) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let lines: Vec<String> = (0..distinct * 3)
            .filter(|n| n % 7 != 0)
            .map(|n| {
                format!("{{\"delivery\":\"dlv-{0}\",\"payload\":{{\"order\":{0}}}}}\n", n * 11 % distinct)
            })
            .collect();
        let ids: std::collections::HashSet<_> = lines.iter().collect();
        let (deliveries, distinct) = (lines.len() as u64, ids.len() as u64);
        fs::write(folder.path().join("in.ndjson"), lines.concat()).unwrap();
        Self { folder, deliveries, distinct }
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("leases.ledger.ndjson")
    }

    fn command(&self) -> Command {
        let mut command = example("webhooks");
        command.current_dir(self.folder.path()).args(["--input", "in.ndjson", "--ttl", "500ms"]);
        command
    }

    fn run(&self) -> Output {
        let output = self.command().output().unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        output
    }

    fn check(&self) -> Output {
        self.command().arg("--check").output().unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.ledger()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &Value| line.get("id").is_some()).collect()
    }
}

#[test]
fn p1_p5_a_second_run_over_the_same_folder_replays_everything() {
    let job = Job::new(40);
    let first = job.run();
    assert_eq!(row(&first, "executed"), job.distinct);
    assert_eq!(row(&first, "replayed"), job.deliveries - job.distinct);
    assert_eq!(row(&first, "  from earlier runs"), 0);
    let before = job.lines();
    for _ in 0..2 {
        let again = job.run();
        assert_eq!(row(&again, "executed"), 0);
        assert_eq!(row(&again, "replayed"), job.deliveries);
        assert_eq!(row(&again, "  from earlier runs"), job.deliveries);
        assert_eq!(job.lines(), before);
    }
}

#[test]
fn p1_p5_under_repeated_kills_only_interrupted_work_is_repeated() {
    let job = Job::new(number_from_env("LESSOR_WEBHOOK_DELIVERIES", 120));
    let most = number_from_env("LESSOR_KILLS", 12);
    let (mut kills, mut seed) = (0, u64::from(std::process::id()));
    while kills < most {
        let mut child = job.command().stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        pause(Duration::from_millis(20 + (seed >> 33) % 180));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.signal().is_none() {
            assert!(status.success(), "{status}");
            break;
        }
        kills += 1;
    }
    let last = job.run();
    let ended = row(&last, "executed") + row(&last, "replayed");
    assert_eq!(ended, job.deliveries, "{}", stdout(&last));

    // On a machine that is suspended for longer than a lease, another caller may take over, and the
    // former holder is refused.
    let (fenced, lines): (Vec<_>, Vec<_>) =
        job.lines().into_iter().partition(|line| line["outcome"] == "fenced");
    let mut last_words: HashMap<(u64, u64), Value> = HashMap::new();
    for line in &lines {
        let worker = (line["run"].as_u64().unwrap(), line["worker"].as_u64().unwrap());
        last_words.insert(worker, line.clone());
    }
    let last_words: Vec<_> = last_words.into_values().collect();
    let mut worked: HashMap<String, Vec<Value>> = HashMap::new();
    for line in lines {
        worked.entry(line["id"].as_str().unwrap().to_owned()).or_default().push(line);
    }
    assert_eq!(worked.len() as u64, job.distinct);
    let mut again = 0;
    for (id, lines) in &mut worked {
        lines.sort_by_key(|line| line["token"].as_u64());
        for pair in lines.windows(2) {
            assert_eq!(pair[1]["after"], "lapsed", "{id}: {pair:?}");
            assert!(pair[0]["token"].as_u64() < pair[1]["token"].as_u64(), "{id}: {pair:?}");
            assert!(pair[0]["attempt"].as_u64() < pair[1]["attempt"].as_u64(), "{id}: {pair:?}");
            if !fenced.iter().any(|line| line["token"] == pair[0]["token"] && line["id"] == pair[0]["id"]) {
                assert!(last_words.contains(&pair[0]), "{id}: its worker continued: {pair:?}");
                again += 1;
            }
        }
    }
    assert!(again <= kills * 8, "each of the 8 workers is cut off once in a kill");
    assert_eq!(row(&last, "  cut off, all runs"), again);
    let check = job.check();
    assert!(check.status.success(), "{}", stdout(&check));
    assert_eq!(stdout(&check).matches(": cut off, its process died").count() as u64, again);
    println!(
        "{} deliveries, {} distinct: killed {kills} times; {again} were cut off and done again",
        job.deliveries, job.distinct
    );
    assert_eq!(row(&job.run(), "executed"), 0);

    // The check must also find an unexplained repetition in this ledger: a duplicated line.
    let text = fs::read_to_string(job.ledger()).unwrap();
    let twice = text.lines().next().unwrap();
    fs::write(job.ledger(), format!("{text}{twice}\n")).unwrap();
    let check = job.check();
    assert_eq!(check.status.code(), Some(1), "{}", stdout(&check));
    assert!(stdout(&check).contains("PROBLEM dlv-"));
}

#[test]
fn p5_work_with_an_incomplete_line_is_done_again() {
    let job = Job::new(10);
    job.run();
    let before = job.lines();
    let text = fs::read_to_string(job.ledger()).unwrap();
    fs::write(job.ledger(), format!("{text}{{\"id\":\"dlv-")).unwrap();
    assert_eq!(row(&job.run(), "executed"), 0);
    assert_eq!(job.lines(), before);
}

#[test]
fn a_ledger_of_another_store_is_detected() {
    let job = Job::new(10);
    job.run();
    fs::remove_file(job.ledger()).unwrap();
    let output = job.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("not that of the store"), "{}", stdout(&output));
    let output = job.command().arg("--overwrite").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("remove the store's folder"), "{}", stderr(&output));
}
