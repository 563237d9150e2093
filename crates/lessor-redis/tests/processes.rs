//! Several processes use one server. Their histories are linearizable, even if some processes are
//! killed, and a process that was suspended for longer than its lease changes nothing.
//!
//! The environment variable `LESSOR_PROCESSES` sets the number of histories. The default is 20.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::{Acquisition, Clock, Engine, Error, Settings, Timestamp};
use lessor_redis::RedisStore;
use lessor_testkit::ManualClock;
use lessor_testkit::history::{Event, check};
use lessor_testkit::model::Model;
use serde_json::{Value, json};
use support::Server;
use support::actor::{Actor, draw, from_json, to_json};
use support::clocked::{ClockControl, ClockFile, ClockedServer, ExactClockStore};
use support::dice::{Dice, number_from_env};

const TASK: &str = "LESSOR_PROCESSES_TASK";
const PROCESSES: u64 = 3;
const THREADS: u64 = 2;
const KEYS: u64 = 2;
const OPS: usize = 10;
const RETENTION: Duration = Duration::from_hours(7 * 24);
/// The step of the clock.
const STEP: Duration = Duration::from_millis(1);

/// Not a test of its own: the code that this program runs as a child process.
#[test]
fn the_child() {
    let Ok(task) = std::env::var(TASK) else { return };
    // The test harness has begun a line.
    report("");
    let words: Vec<&str> = task.splitn(5, ' ').collect();
    match words[..] {
        ["race", number, port, prefix, clock] => {
            race(number.parse().unwrap(), port.parse().unwrap(), prefix, Path::new(clock));
        }
        ["hold", port, prefix] => hold(port, prefix),
        _ => panic!("{task}"),
    }
}

/// Writes one line at once, so that lines of several threads do not mix, and a line that was
/// written before a kill arrives.
fn report(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}

struct Running {
    child: Child,
    orders: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(task: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["the_child", "--exact", "--nocapture", "--test-threads=1"]).env(TASK, task);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Self { child, orders, lines };
        running.until("ready");
        running
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Returns the lines before this line, or before the end.
    fn until(&mut self, last: &str) -> Vec<String> {
        self.lines.by_ref().map_while(Result::ok).take_while(|line| line != last).collect()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers that rise over all processes: a number that is drawn after another one was received is
/// higher.
struct Ticks(BufReader<TcpStream>);

impl Ticks {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn next(&mut self) -> u64 {
        self.0.get_mut().write_all(b"INCR ticks\r\n").unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_start_matches(':').trim_end().parse().unwrap()
    }
}

/// A child that races: for each order it runs a history, and reports each operation when it is
/// called and when it returns.
fn race(process: u64, port: u16, prefix: &str, clock: &Path) {
    let builder = RedisStore::builder().settings(support::settings(prefix));
    let store = Arc::new(builder.open(&format!("redis://127.0.0.1:{port}/0")).unwrap());
    let clock = Arc::new(ClockFile::open(clock));
    let mut settings = Settings::default();
    settings.limits.retention = RETENTION;
    let hand = ClockControl::File(Arc::clone(&clock));
    let engine = Engine::with_settings(ExactClockStore::over(store, hand), settings).unwrap();
    report("ready");
    let mut held: Vec<Actor> = Vec::new();
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let round: u64 = order.parse().unwrap();
        // The leases of the previous history are no longer used.
        held.clear();
        held = thread::scope(|scope| {
            let racers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (engine, clock) = (engine.clone(), &clock);
                    scope.spawn(move || {
                        let thread = process * THREADS + thread;
                        let (mut actor, mut ticks) = (Actor::new(engine), Ticks::connect(port));
                        for (number, (key, op, by_id)) in (0..).zip(operations(round, thread)) {
                            let key = format!("{round}/{key}");
                            let (from, called) = (clock.now().as_micros(), ticks.next());
                            report(&json!([thread, number, called, from]).to_string());
                            let reports = actor.perform(&key, &op, by_id);
                            let (answered, to) = (ticks.next(), clock.now().as_micros());
                            report(&json!([thread, number, answered, to, to_json(&reports)]).to_string());
                        }
                        actor
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        report("done");
    }
}

/// Returns the operations of a thread. Each process draws the same ones, so the parent knows its
/// children's operations.
fn operations(round: u64, thread: u64) -> Vec<(u64, lessor_testkit::model::Op, bool)> {
    let mut dice = Dice(round * PROCESSES * THREADS + thread);
    (0..OPS)
        .map(|_| (dice.below(KEYS), draw(&mut dice, thread, PROCESSES * THREADS), dice.below(2) == 0))
        .collect()
}

/// Returns all instants at which the clock stood still.
fn instants(from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(Some(from), |at| Some(at.saturating_add(STEP))).take_while(|at| *at <= to).collect()
}

#[test]
fn p1_p2_p8_histories_of_processes_that_are_killed_are_linearizable_per_key() {
    if !support::is_available() {
        return;
    }
    let Some(server) = ClockedServer::start() else { return };
    let prefix = support::prefix();
    let start = ManualClock::new().now();
    server.clock.stand_at(start);
    let clock = server.clock_path();
    let task = |process| format!("race {process} {} {prefix} {}", server.port, clock.display());
    let mut children: Vec<Running> = (0..PROCESSES).map(|process| Running::start(&task(process))).collect();
    let histories = number_from_env("LESSOR_PROCESSES", 20);
    let (mut answered, mut open, mut kills) = (0, 0, 0);
    let mut dice = Dice(1);
    for round in 0..histories {
        let is_done = AtomicBool::new(false);
        let victim = (round % 4 == 3).then(|| usize::try_from(dice.below(PROCESSES)).unwrap());
        let after = Duration::from_micros(dice.below(6_000));
        let reports: Vec<Vec<String>> = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::SeqCst) {
                    server.clock.stand_at(server.clock.now().saturating_add(STEP));
                    thread::park_timeout(Duration::from_micros(100));
                }
            });
            children.iter_mut().for_each(|child| child.order(&round.to_string()));
            if let Some(victim) = victim {
                thread::park_timeout(after);
                children[victim].signal("-KILL");
            }
            let reports = children.iter_mut().map(|child| child.until("done")).collect();
            is_done.store(true, Ordering::SeqCst);
            reports
        });
        if let Some(victim) = victim {
            kills += 1;
            children[victim] = Running::start(&task(victim as u64));
        }
        let end = server.clock.now();
        for (key, history) in events_of(round, end, reports.iter().flatten()) {
            answered += history.iter().filter(|event| event.answered.is_some()).count();
            open += history.iter().filter(|event| event.answered.is_none()).count();
            check(&history, &Model::new(RETENTION)).unwrap_or_else(|why| panic!("{round}, key {key}: {why}"));
        }
    }
    println!(
        "{histories} histories of {PROCESSES} processes, {answered} operations and {open} that a kill left open, \
         are linearizable; {kills} processes were killed"
    );
    assert!(answered > 0);
}

/// Returns the events of each key that the processes have reported.
fn events_of<'a>(
    round: u64,
    end: Timestamp,
    lines: impl Iterator<Item = &'a String>,
) -> HashMap<u64, Vec<Event>> {
    let time = |value: &Value| Timestamp::from_micros(value.as_u64().unwrap()).unwrap();
    let mut calls: HashMap<(u64, u64), (Value, Option<Value>)> = HashMap::new();
    for line in lines {
        let words: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let place = (words[0].as_u64().unwrap(), words[1].as_u64().unwrap());
        if words.as_array().unwrap().len() == 4 {
            calls.insert(place, (words, None));
        } else {
            calls.get_mut(&place).unwrap().1 = Some(words);
        }
    }
    let mut events: HashMap<u64, Vec<Event>> = HashMap::new();
    for ((thread, number), (call, answer)) in calls {
        let (key, op, _) = operations(round, thread).swap_remove(usize::try_from(number).unwrap());
        let to = answer.as_ref().map_or(end, |answer| time(&answer[3]));
        let answered = answer.map(|answer| (answer[2].as_u64().unwrap(), from_json(&answer[4])));
        let called = call[2].as_u64().unwrap();
        let times = instants(time(&call[3]), to);
        events.entry(key).or_default().push(Event { called, answered, times, op });
    }
    events
}

const HELD: Duration = Duration::from_millis(300);

/// A child that holds leases: it executes orders and reports the answers.
fn hold(port: &str, prefix: &str) {
    let builder = RedisStore::builder().settings(support::settings(prefix));
    let store = Arc::new(builder.open(&format!("redis://127.0.0.1:{port}/0")).unwrap());
    let engine = Engine::new(store).unwrap();
    report("ready");
    let mut leases = Vec::new();
    for order in std::io::stdin().lines().map_while(Result::ok) {
        match order.split_once(' ') {
            Some(("acquire", key)) => {
                let acquired = engine.acquire(key).ttl(HELD).wait().unwrap();
                let Acquisition::Acquired(lease) = acquired else { panic!("{acquired:?}") };
                // The lease is renewed in the background for as long as this process runs.
                leases.push(lease.keep_alive());
                report("held");
            }
            _ => {
                for lease in &leases {
                    lease.lost().wait();
                    assert!(lease.is_lost());
                    for (what, answer) in [
                        ("extend", lease.extend(HELD).wait()),
                        ("checkpoint", lease.checkpoint_bytes(b"stale").wait()),
                        ("complete", lease.complete_bytes(b"stale").wait()),
                        ("fail", lease.fail("stale").wait()),
                        ("release", lease.release().wait()),
                        ("abandon", lease.abandon().wait()),
                    ] {
                        match answer {
                            Err(Error::NotHolder { token, .. }) => report(&format!("{what} {token}")),
                            answer => panic!("{what}: a stale holder received {answer:?}"),
                        }
                    }
                }
                report("answered");
            }
        }
    }
}

/// A suspended process cannot know that its lease has ended. When it continues, its memory is
/// unchanged.
#[test]
fn p1_p4_a_holder_suspended_beyond_its_lease_changes_nothing_and_receives_an_error() {
    if !support::is_available() {
        return;
    }
    let server = Server::volatile();
    let prefix = support::prefix();
    let engine = Engine::new(Arc::new(support::open(&server, &prefix))).unwrap();
    for round in 0..4 {
        let mut holder = Running::start(&format!("hold {} {prefix}", server.port));
        let keys: Vec<String> = (0..3).map(|key| format!("{round}/{key}")).collect();
        for key in &keys {
            holder.order(&format!("acquire {key}"));
            holder.until("held");
        }
        // The lease is renewed. Without that it would have ended.
        for key in &keys {
            while engine.status(key).wait().unwrap().unwrap().version().as_u64() == 1 {
                thread::park_timeout(Duration::from_millis(10));
            }
        }
        holder.signal("-STOP");
        // When the process continues, some keys are held by a rival, some are completed, and one
        // has been held and released.
        let rivals: Vec<_> = keys.iter().map(|key| take_over(&engine, key)).collect();
        rivals[1].complete_bytes(b"by the rival").wait().unwrap();
        rivals[2].release().wait().unwrap();
        let before: Vec<String> = keys.iter().map(|key| stored(&engine, key)).collect();
        holder.signal("-CONT");
        holder.order("what now");
        let answer = holder.until("answered");
        assert_eq!(answer.len(), 6 * keys.len(), "{answer:?}");
        for (answer, rival) in answer.chunks(6).zip(&rivals) {
            let token = format!(" {}", rival.token());
            assert!(answer.iter().all(|answer| answer.ends_with(&token)), "{answer:?}, {token}");
        }
        let after: Vec<String> = keys.iter().map(|key| stored(&engine, key)).collect();
        assert_eq!(before, after);
    }
}

fn take_over(engine: &Engine, key: &str) -> lessor_core::Lease {
    loop {
        match engine.acquire(key).ttl(Duration::from_hours(1)).wait().unwrap() {
            Acquisition::Acquired(lease) => {
                assert_eq!(lease.attempt(), 2);
                return lease;
            }
            Acquisition::InProgress(_) => thread::park_timeout(Duration::from_millis(5)),
            other => panic!("{key}: {other:?}"),
        }
    }
}

/// Returns all that an observer sees, except the remaining time of the lease.
fn stored(engine: &Engine, key: &str) -> String {
    let view = engine.status(key).wait().unwrap().unwrap();
    let (state, version, attempt, result) =
        (view.state(), view.version(), view.attempt(), view.result_bytes());
    format!("{state} {version} {attempt} {result:?} {:?} {:?}", view.done_at(), view.error_code())
}
