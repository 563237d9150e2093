//! The example `webhooks` over every store, repeatedly. Without failures, each delivery is worked
//! on once, and each copy gets the result. With chaos, kills and restarts, all repeated work has a
//! reason.
//!
//! `LESSOR_WEBHOOK_INPUT` names a file of deliveries, by default the example's sample.
//! `LESSOR_WEBHOOK_RUNS` is the number of repetitions of each test, by default 1. `LESSOR_KILLS` is
//! the number of processes that are killed in each run with kills, by default 6.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{example, number_from_env, pause, random, row, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

/// A ttl that does not end only because the machine is busy.
const CALM: &[&str] = &["--ttl", "10m"];
const CHAOS: &[&str] =
    &["--ttl", "200ms", "--panic-rate", "0.1", "--error-rate", "0.1", "--stall-rate", "0.05", "--seed"];

struct Input {
    path: PathBuf,
    lines: Vec<String>,
    distinct: u64,
}

impl Input {
    fn from_env() -> Self {
        let path = std::env::var_os("LESSOR_WEBHOOK_INPUT").map_or_else(
            || concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/deliveries.ndjson").into(),
            PathBuf::from,
        );
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<String> =
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        let id = |line: &String| {
            let delivery: Value = serde_json::from_str(line).unwrap();
            delivery.get("delivery").unwrap().to_string()
        };
        let distinct = lines.iter().map(id).collect::<HashSet<_>>().len() as u64;
        Self { path, lines, distinct }
    }

    fn deliveries(&self) -> u64 {
        self.lines.len() as u64
    }
}

/// An empty store with an empty ledger.
struct Job<'i> {
    input: &'i Input,
    store: String,
    ledger: PathBuf,
    folder: TempDir,
}

impl<'i> Job<'i> {
    fn new(input: &'i Input, store: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { input, store: store(folder.path()), ledger: folder.path().join("ledger.ndjson"), folder }
    }

    fn in_memory(input: &'i Input) -> Self {
        Self::new(input, |_| "memory:".to_owned())
    }

    fn on_a_file(input: &'i Input) -> Self {
        Self::new(input, |folder| format!("file:{}", folder.join("leases").display()))
    }

    fn command(&self, input: &Path, args: &[&str]) -> Command {
        let mut command = example("webhooks");
        command.args(["--store", &self.store, "--ledger"]).arg(&self.ledger);
        command.arg("--input").arg(input).args(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(&self.input.path, args).output().unwrap();
        assert_ended_well(&output);
        output
    }

    fn assert_all_is_replayed(&self) {
        let again = self.run(CALM);
        assert_eq!((row(&again, "executed"), row(&again, "replayed")), (0, self.input.deliveries()));
    }

    /// Checks the whole ledger, and counts the reasons for repeated work.
    fn assert_nothing_was_done_twice_without_a_reason(&self) -> BTreeMap<String, u64> {
        let check = self.command(&self.input.path, &["--check"]).output().unwrap();
        assert_ended_well(&check);
        let mut reasons = BTreeMap::new();
        for line in stdout(&check).lines().filter_map(|line| line.strip_prefix("AGAIN ")) {
            *reasons.entry(line.split(": ").nth(1).unwrap().to_owned()).or_default() += 1;
        }
        reasons
    }
}

fn assert_ended_well(output: &Output) {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
}

/// Checks that each delivery was worked on once, by any of the processes, and that the copies got
/// the result.
fn assert_each_was_worked_on_once(input: &Input, outputs: &[Output]) -> String {
    let sum = |name| outputs.iter().map(|output| row(output, name)).sum::<u64>();
    outputs.iter().for_each(assert_ended_well);
    assert_eq!((sum("executed"), sum("replayed")), (input.distinct, input.deliveries() - input.distinct));
    assert_eq!(sum("taken over") + sum("retried") + sum("failed") + sum("fenced"), 0);
    format!("{} worked on, {} replayed", sum("executed"), sum("replayed"))
}

fn runs() -> std::ops::RangeInclusive<u64> {
    1..=number_from_env("LESSOR_WEBHOOK_RUNS", 1)
}

#[test]
fn p1_in_memory_each_delivery_is_worked_on_once_in_every_run() {
    let input = Input::from_env();
    for run in runs() {
        let job = Job::in_memory(&input);
        let numbers = assert_each_was_worked_on_once(&input, &[job.run(CALM)]);
        assert!(job.assert_nothing_was_done_twice_without_a_reason().is_empty());
        println!("in memory, run {run}: {numbers}");
    }
}

#[test]
fn p1_p5_on_a_file_each_delivery_is_worked_on_once_in_every_run_and_replayed_in_the_next() {
    let input = Input::from_env();
    for run in runs() {
        let job = Job::on_a_file(&input);
        let numbers = assert_each_was_worked_on_once(&input, &[job.run(CALM)]);
        job.assert_all_is_replayed();
        assert!(job.assert_nothing_was_done_twice_without_a_reason().is_empty());
        println!("on a file, run {run}: {numbers}; then all replayed");
    }
}

#[test]
fn p1_in_memory_under_chaos_all_repeated_work_has_a_reason() {
    let input = Input::from_env();
    for run in runs() {
        let job = Job::in_memory(&input);
        assert_all_ended(&input, &job.run(&[CHAOS, &[&run.to_string()]].concat()));
        let reasons = job.assert_nothing_was_done_twice_without_a_reason();
        println!("in memory with chaos, run {run}: done again: {reasons:?}");
    }
}

fn assert_all_ended(input: &Input, output: &Output) {
    assert_ended_well(output);
    let ended = row(output, "executed") + row(output, "replayed") + row(output, "failed");
    assert_eq!(ended, input.deliveries(), "{}", stdout(output));
}

/// Starts `at_once` processes, and kills and restarts one at a time until all are done.
fn kill_again_and_again(job: &Job<'_>, at_once: usize, run: u64) {
    let seed = run.to_string();
    let start = || job.command(&job.input.path, &[CHAOS, &[&seed]].concat()).spawn().unwrap();
    let mut children: Vec<Child> = (0..at_once).map(|_| start()).collect();
    let (most, mut kills) = (number_from_env("LESSOR_KILLS", 6), 0);
    for _ in 0..most {
        pause(Duration::from_millis(20).mul_f64(1.0 + random() * 10.0));
        let mut child = children.remove(0);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        match output.status.signal() {
            Some(_) => kills += 1,
            None => assert_all_ended(job.input, &output),
        }
        children.push(start());
    }
    for child in children {
        assert_all_ended(job.input, &child.wait_with_output().unwrap());
    }
    let reasons = job.assert_nothing_was_done_twice_without_a_reason();
    let lines = fs::read_to_string(&job.ledger).unwrap().lines().count();
    let folder = job.folder.path().file_name().unwrap().display();
    println!(
        "{at_once} at once with chaos, run {run} ({folder}): {kills} killed, {lines} lines, done again: {reasons:?}"
    );
}

#[test]
fn p1_p5_on_a_file_under_chaos_and_kills_all_repeated_work_has_a_reason() {
    let input = Input::from_env();
    for run in runs() {
        kill_again_and_again(&Job::on_a_file(&input), 1, run);
    }
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;
    use crate::common::server::Server;

    const PROCESSES: usize = 3;

    fn job<'i>(input: &'i Input, server: &Server, prefix: &str) -> Job<'i> {
        Job::new(input, |_| format!("redis://127.0.0.1:{}/0?prefix={prefix}", server.port))
    }

    /// The deliveries are distributed over three processes in turn, as by a load balancer.
    #[test]
    fn p1_three_processes_on_redis_work_on_each_delivery_once_in_every_run() {
        let Some(server) = Server::start() else { return };
        let input = Input::from_env();
        for run in runs() {
            let job = job(&input, &server, &format!("calm-{run}"));
            let start = |part: usize| {
                let path = job.folder.path().join(format!("part-{part}.ndjson"));
                let lines = input.lines.iter().skip(part).step_by(PROCESSES);
                fs::write(&path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
                job.command(&path, CALM).spawn().unwrap()
            };
            let children: Vec<Child> = (0..PROCESSES).map(start).collect();
            let outputs: Vec<Output> =
                children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
            let numbers = assert_each_was_worked_on_once(&input, &outputs);
            let each: Vec<u64> = outputs.iter().map(|output| row(output, "executed")).collect();
            job.assert_all_is_replayed();
            assert!(job.assert_nothing_was_done_twice_without_a_reason().is_empty());
            println!("on Redis, run {run}: {numbers}, by process {each:?}; then all replayed");
        }
    }

    #[test]
    fn p1_three_processes_on_redis_under_chaos_and_kills_have_reasons_for_repeated_work() {
        let Some(server) = Server::start() else { return };
        let input = Input::from_env();
        for run in runs() {
            kill_again_and_again(&job(&input, &server, &format!("chaos-{run}")), PROCESSES, run);
        }
    }
}
