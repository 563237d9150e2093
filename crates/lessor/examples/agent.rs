//! A job of half an hour, in small: an agent works in steps, and can die or hang in each of them.
//!
//! The agent stores a checkpoint after each step, and reports its progress within a step. The first
//! process is killed (SIGKILL) halfway. The agent of the second process continues from the
//! checkpoint and hangs: its process is alive, but the work makes no progress. It loses its lease,
//! and another agent continues. At the end, the program checks the journal of all steps: none is
//! missing, and only a step that was interrupted is there twice.
//!
//! `cargo run -p lessor --example agent`
//!
//! The processes are copies of this program. They run one after the other, because a file store can
//! be open in one process at a time.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use lessor::{Engine, FailureClass, Lease, Message, OnceError, Outcome};

type Failure = Box<dyn Error + Send + Sync>;

const STEPS: u32 = 6;
/// The time after which another process takes over from one that has died.
const TTL: Duration = Duration::from_secs(1);
/// The time without progress after which the lease is no longer renewed.
const STALL_AFTER: Duration = Duration::from_secs(1);
/// The number of times that an agent asks again after it has lost its lease.
const PATIENCE: u32 = 10;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => play(&Desk::new(tempfile::tempdir()?.path())),
        ["--process", number, folder] => process(number, &Desk::new(Path::new(folder))),
        _ => Err("usage: agent".into()),
    }
}

/// What happens to an agent, and in which step.
#[derive(Clone, Copy)]
enum Fate<'a> {
    Works,
    /// The process is killed after the effect of this step, and before its checkpoint.
    KilledIn(u32),
    /// The agent hangs before the effect of this step, until the function returns.
    HangsIn(u32, &'a dyn Fn()),
}

/// Runs the job, or waits for the agent that runs it. This function and [`run_steps`] are what an
/// application contains.
fn run_agent(engine: &Engine, desk: &Desk, name: &str, fate: Fate<'_>) -> Result<Outcome<String>, Failure> {
    for _ in 0..PATIENCE {
        let outcome = engine
            .once("report:2026-11")
            .holder(name)
            .ttl(TTL)
            .stall_after(STALL_AFTER)
            .wait_timeout(Duration::from_secs(60))
            // Another agent continues from the checkpoint.
            .classify(|_: &Message| FailureClass::release())
            .run(|lease| run_steps(lease, desk, name, fate));
        match outcome {
            Err(OnceError::Lost(_) | OnceError::Released(_)) => println!("{name} has lost its lease"),
            outcome => return Ok(outcome?),
        }
    }
    Err(format!("{name} has lost its lease {PATIENCE} times").into())
}

fn run_steps(lease: &Lease, desk: &Desk, name: &str, fate: Fate<'_>) -> Result<String, Message> {
    let done: u32 = lease.previous_checkpoint()?.unwrap_or(0);
    println!("{name} begins attempt {} after step {done}", lease.attempt());
    for step in done + 1..=STEPS {
        for _part in 0..3 {
            // A part of the step, such as a call of a model.
            lease.tick();
        }
        if let Fate::HangsIn(at, hang) = fate
            && at == step
        {
            println!("{name} hangs in step {step}");
            hang();
        }
        // An agent that was suspended between this check and the effect is caught by a fence only:
        // see `lessor::fence`.
        if lease.is_lost() {
            return Err(Message::new("the lease is lost"));
        }
        desk.write(&Entry { step, agent: name.to_owned(), token: lease.token().as_u64() })?;
        if matches!(fate, Fate::KilledIn(at) if at == step) {
            println!("{name} is in the middle of step {step}");
            io::stdin().read_line(&mut String::new())?;
        }
        lease.checkpoint(&step).wait()?;
    }
    Ok(format!("the report, finished by {name}"))
}

/// A process with one agent, or with two.
fn process(number: &str, desk: &Desk) -> Result<(), Failure> {
    let engine = lessor::open(&desk.leases)?;
    match number {
        "1" => drop(run_agent(&engine, desk, "alice", Fate::KilledIn(3))?),
        "2" => hang_and_continue(&engine, desk)?,
        _ => {
            let late = run_agent(&engine, desk, "dave", Fate::Works)?;
            println!("dave gets {} (replayed: {})", late.value(), late.is_replay());
        }
    }
    engine.close(Duration::from_secs(60)).wait()?;
    Ok(())
}

/// Bob hangs until Carol has finished the job.
fn hang_and_continue(engine: &Engine, desk: &Desk) -> Result<(), Failure> {
    let (hangs, has_hung) = channel();
    let (finish, finished) = channel::<()>();
    std::thread::scope(|scope| {
        let bob = scope.spawn(move || {
            let hang = || {
                let _ = hangs.send(());
                let _ = finished.recv();
            };
            run_agent(engine, desk, "bob", Fate::HangsIn(4, &hang))
        });
        has_hung.recv()?;
        let carol = run_agent(engine, desk, "carol", Fate::Works);
        drop(finish);
        let (bob, carol) = (bob.join().map_err(|_| "bob panicked")??, carol?);
        println!("carol completes the job at attempt {}", carol.attempt());
        if !bob.is_replay() || bob.value() != carol.value() {
            return Err("bob has another result than carol".into());
        }
        println!("bob gets {}", bob.value());
        Ok(())
    })
}

/// The folder that the processes share.
struct Desk {
    folder: PathBuf,
    leases: String,
}

/// An effect of the job: a line of the journal.
#[derive(Debug)]
struct Entry {
    step: u32,
    agent: String,
    token: u64,
}

impl Desk {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), leases: format!("file:{}", folder.join("leases").display()) }
    }

    fn write(&self, Entry { step, agent, token }: &Entry) -> io::Result<()> {
        let mut journal = OpenOptions::new().append(true).create(true).open(self.folder.join("journal"))?;
        journal.write_all(format!("{step} {agent} {token}\n").as_bytes())
    }

    fn read(&self) -> Result<Vec<Entry>, Failure> {
        let entry = |line: &str| {
            let (step, rest) = line.split_once(' ')?;
            let (agent, token) = rest.split_once(' ')?;
            Some(Entry { step: step.parse().ok()?, agent: agent.to_owned(), token: token.parse().ok()? })
        };
        let journal = fs::read_to_string(self.folder.join("journal"))?;
        journal.lines().map(|line| entry(line).ok_or_else(|| format!("the line {line:?}").into())).collect()
    }
}

fn play(desk: &Desk) -> Result<(), Failure> {
    for number in ["1", "2", "3"] {
        println!("process {number} starts");
        let mut process = Process::start(number, desk)?;
        let mut is_killed = false;
        while let Some(line) = process.output.next().transpose()? {
            println!("  {line}");
            if number == "1" && line.contains("in the middle of") {
                process.child.kill()?;
                println!("process {number} is killed");
                is_killed = true;
            }
        }
        if !is_killed && !process.child.wait()?.success() {
            return Err(format!("process {number} has failed").into());
        }
    }
    check(&desk.read()?)
}

/// Checks that all steps are in the journal in their order, that no former holder wrote after its
/// successor, and that only the last step of a holder is repeated, by its successor.
fn check(journal: &[Entry]) -> Result<(), Failure> {
    let mut agents: Vec<&str> = journal.iter().map(|entry| &*entry.agent).collect();
    agents.dedup();
    if agents != ["alice", "bob", "carol"] {
        return Err(format!("the agents were {agents:?}").into());
    }
    let is_in_order = |pair: &[Entry]| match pair {
        [one, next] if next.token == one.token => next.step == one.step + 1,
        [one, next] => next.token > one.token && (next.step == one.step + 1 || next.step == one.step),
        _ => false,
    };
    let is_whole = journal.first().is_some_and(|entry| entry.step == 1)
        && journal.last().is_some_and(|entry| entry.step == STEPS);
    if !is_whole || !journal.windows(2).all(is_in_order) {
        return Err(format!("the steps are not in order: {journal:?}").into());
    }
    let repeated = journal.len() - usize::try_from(STEPS)?;
    println!("checked: {STEPS} steps in order, by alice, bob and carol; repeated after a crash: {repeated}");
    Ok(())
}

/// A process with agents. Dropping it kills it.
struct Process {
    child: Child,
    output: io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(number: &str, desk: &Desk) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--process", number])
            .arg(&desk.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("a process without an output")?).lines();
        Ok(Self { child, output })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
