//! A nightly job that cron starts on several machines, and that one of them does.
//!
//! The program starts workers, which are copies of itself, and plays cron: every night all workers
//! get the same order. In the second night it kills the worker that does the job, halfway, with
//! SIGKILL. At the end a worker that was off catches up. Then the program checks that the job of
//! each night was completed once, and that no run began before the former one had ended.
//!
//! ```sh
//! cargo run -p lessor --example nightly
//! cargo run -p lessor --features redis --example nightly -- redis://127.0.0.1/0?prefix=nightly
//! ```
//!
//! Without a URL, the workers share a new folder. A file store can be open in one process at a
//! time, so a worker opens it for the job and closes it afterwards. A URL names an empty store.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lessor::{Engine, ErrorKind, OnceError};

type Failed = Box<dyn Error>;

/// The time after which another worker takes over from a dead one.
const TTL: Duration = Duration::from_secs(1);
const NIGHTS: [&str; 3] = ["2026-11-28", "2026-11-29", "2026-11-30"];
/// The night in which the worker is killed.
const UNLUCKY: &str = "2026-11-29";

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let folder = tempfile::tempdir()?;
            play(&format!("file:{}", folder.path().join("leases").display()))
        }
        ["--worker", name, url] => work(name, url),
        [url] => play(url),
        _ => Err("usage: nightly [URL]".into()),
    }
}

/// A worker: does the job of each night that is on a line of its input. This function is what an
/// application contains.
fn work(name: &str, url: &str) -> Result<(), Failed> {
    let mut input = io::stdin().lines();
    while let Some(night) = input.next().transpose()? {
        let engine = open_when_free(url)?;
        let outcome = engine.once(format!("backup:{night}")).ttl(TTL).holder(name).run(|lease| {
            println!("begins {} {}", lease.attempt(), lease.token());
            // The first half is done. The second half begins when the program says so.
            let go_on = input.next();
            let done = go_on.is_some_and(|line| line.is_ok());
            if done { Ok(format!("backup of {night} by {name}")) } else { Err("stopped".to_owned()) }
        });
        engine.close(Duration::from_secs(60)).wait()?;
        match outcome {
            Ok(outcome) if outcome.is_replay() => println!("replays {}", outcome.value()),
            Ok(outcome) => println!("completes {}", outcome.value()),
            Err(OnceError::Lost(_)) => println!("loses its lease"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens the store, and waits while another process has it open.
#[expect(clippy::disallowed_methods, reason = "the end of another process is not signalled")]
fn open_when_free(url: &str) -> Result<Engine, lessor::Error> {
    loop {
        match lessor::open(url) {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

/// One run of the job, as the program has seen it.
struct Run {
    night: &'static str,
    worker: &'static str,
    token: u64,
    end: &'static str,
}

/// The nights, the kill, and the check.
fn play(url: &str) -> Result<(), Failed> {
    let (sender, lines) = channel();
    let mut workers = Vec::new();
    for name in ["alice", "bob", "carol"] {
        workers.push(Worker::start(name, url, &sender)?);
    }
    let mut runs = Vec::new();
    for night in NIGHTS {
        println!("{night}: cron starts the job on {} machines", workers.len());
        play_night(night, &mut workers, &lines, &mut runs)?;
    }
    println!("dave was off, and catches up");
    let mut late = vec![Worker::start("dave", url, &sender)?];
    for night in NIGHTS {
        play_night(night, &mut late, &lines, &mut runs)?;
    }
    check(&runs)
}

/// Sends the order of one night to all workers, and follows them until each has ended.
fn play_night(
    night: &'static str,
    workers: &mut Vec<Worker>,
    lines: &Receiver<(&'static str, String)>,
    runs: &mut Vec<Run>,
) -> Result<(), Failed> {
    for worker in workers.iter_mut() {
        worker.send(night)?;
    }
    let mut busy = workers.len();
    while busy > 0 {
        let (name, line) = lines.recv()?;
        let Some(at) = workers.iter().position(|worker| worker.name == name) else { continue };
        let run = runs.iter_mut().rev().find(|run| run.night == night && run.worker == name);
        let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match (what, run) {
            ("begins", _) => {
                let (attempt, token) = rest.split_once(' ').ok_or("a line without a token")?;
                println!("  {name} begins, attempt {attempt}");
                let is_killed = night == UNLUCKY && attempt == "1";
                let end = if is_killed { "killed" } else { "" };
                runs.push(Run { night, worker: name, token: token.parse()?, end });
                if is_killed {
                    // Dropping a worker kills it.
                    drop(workers.remove(at));
                    println!("  {name} is killed halfway");
                    busy -= 1;
                } else if let Some(worker) = workers.get_mut(at) {
                    worker.send("go on")?;
                }
            }
            ("completes", Some(run)) => {
                println!("  {name} completes it: {rest}");
                run.end = "completed";
                busy -= 1;
            }
            ("loses", Some(run)) => {
                println!("  {name} loses its lease");
                run.end = "lost";
                busy -= 1;
            }
            ("replays", _) => {
                println!("  {name} does nothing, it is done: {rest}");
                busy -= 1;
            }
            _ => return Err(format!("{name} has ended unexpectedly: {line}").into()),
        }
    }
    Ok(())
}

/// Checks that each night's job was completed once, in the last of its runs, and that the earlier
/// ones ended before it.
fn check(runs: &[Run]) -> Result<(), Failed> {
    for night in NIGHTS {
        let runs: Vec<&Run> = runs.iter().filter(|run| run.night == night).collect();
        let Some((last, earlier)) = runs.split_last() else {
            return Err(format!("{night}: the job did not run").into());
        };
        if last.end != "completed" || earlier.iter().any(|run| run.end == "completed") {
            return Err(format!("{night}: the job was not completed once").into());
        }
        if earlier.iter().any(|run| run.end.is_empty()) || !runs.is_sorted_by(|a, b| a.token < b.token) {
            return Err(format!("{night}: two runs at the same time").into());
        }
        println!("checked: {night} ran {} time(s), and was completed once", runs.len());
    }
    Ok(())
}

/// A process that works. Dropping it kills it.
struct Worker {
    name: &'static str,
    process: Child,
    input: ChildStdin,
}

impl Worker {
    fn start(name: &'static str, url: &str, lines: &Sender<(&'static str, String)>) -> Result<Self, Failed> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--worker", name, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("a process without an input")?;
        let output = BufReader::new(process.stdout.take().ok_or("a process without an output")?);
        let lines = lines.clone();
        std::thread::spawn(move || {
            let end = std::iter::once(Ok("ended".to_owned()));
            // The program may have ended.
            output.lines().chain(end).map_while(Result::ok).try_for_each(|line| lines.send((name, line)))
        });
        Ok(Self { name, process, input })
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
