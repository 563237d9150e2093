//! The guard: a process that starts the command, and ends it in time.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::exit::Code;
use crate::problem::Problem;
use crate::run::clock;
use crate::run::messages::{Order, Report, receive_fd};

/// Start a command for `lessor run`, and end it in time
#[derive(Debug, Args)]
pub(crate) struct Guard {
    /// The time between TERM and KILL in µs
    #[arg(long)]
    kill_after: u64,
    /// The folder to remove if the runner is gone
    #[arg(long)]
    scratch: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

enum Event {
    Ordered(Order),
    /// The runner has ended.
    Gone,
    /// The command has exited, and is not reaped yet.
    Exited,
}

/// The command, while it runs.
struct Running<'a> {
    guard: &'a Guard,
    group: Pid,
    control: UnixStream,
    /// The time at which the command must have ended.
    until: u64,
    /// The time at which it is killed, once it is being ended.
    kill_at: Option<u64>,
}

impl Guard {
    /// Runs the command. Standard input is the socket of the runner.
    pub(crate) fn run(&self) -> Result<Code, Problem> {
        let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let gone = || Problem::new(Code::Usage, "this command is for `lessor run`, which starts it");
        let input = receive_fd(&control).ok().flatten().ok_or_else(gone)?;
        let mut lines = BufReader::new(control.try_clone()?).lines();
        let first = lines.next().and_then(Result::ok).and_then(|line| line.parse().ok());
        let Some(Order::Until(until)) = first else { return Err(gone()) };
        let mut child = match self.start(input) {
            Ok(child) => child,
            Err(error) => {
                report(&control, &refusal(&error));
                return Ok(Code::Done);
            }
        };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group =
            group.ok_or_else(|| Problem::new(Code::Error, "the system gave the command no process id"))?;
        report(&control, &Report::Started(group.as_raw_pid()));
        let (send, events) = mpsc::channel();
        let ordered = send.clone();
        thread::spawn(move || read_orders(lines, &ordered));
        thread::spawn(move || notice_exit(group, &send));
        Running { guard: self, group, control, until, kill_at: None }.watch(&events, &mut child)?;
        Ok(Code::Done)
    }

    fn start(&self, input: OwnedFd) -> io::Result<Child> {
        let (program, arguments) = self.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        Command::new(program).args(arguments).stdin(Stdio::from(input)).process_group(0).spawn()
    }
}

impl Running<'_> {
    fn watch(&mut self, events: &Receiver<Event>, child: &mut Child) -> io::Result<()> {
        loop {
            match events.recv_timeout(self.patience()) {
                Ok(Event::Exited) => break,
                Ok(Event::Ordered(Order::Until(until))) => self.until = until,
                Ok(Event::Ordered(Order::Signal(number))) => {
                    if let Some(signal) = Signal::from_named_raw(number) {
                        self.signal(signal);
                    }
                }
                Ok(Event::Ordered(Order::End)) => self.end(),
                Ok(Event::Gone) => {
                    self.end();
                    // What the runner would have removed. If that fails, the system cleans up some day.
                    let _ = std::fs::remove_dir_all(&self.guard.scratch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.keep_time();
        }
        // While the command is not reaped, its process group cannot be another's.
        self.signal(Signal::KILL);
        let status = child.wait()?;
        report(&self.control, &Report::Exited(code(status)));
        Ok(())
    }

    /// Ends the command when its time is over.
    fn keep_time(&mut self) {
        let now = clock::micros();
        if now.saturating_add(self.guard.kill_after) >= self.until {
            self.end();
        }
        if self.kill_at.is_some_and(|at| now >= at.min(self.until)) {
            self.signal(Signal::KILL);
        }
    }

    /// Begins to end the command.
    fn end(&mut self) {
        if self.kill_at.is_none() {
            self.kill_at = Some(clock::micros().saturating_add(self.guard.kill_after));
            report(&self.control, &Report::Ending);
            self.signal(Signal::TERM);
            // A stopped process handles TERM only once it continues.
            self.signal(Signal::CONT);
        }
    }

    /// Returns the time until there is something to do, at most a second: the timer does not count
    /// the time for which the machine is suspended.
    fn patience(&self) -> Duration {
        let at = match self.kill_at {
            Some(at) => at.min(self.until),
            None => self.until.saturating_sub(self.guard.kill_after),
        };
        let left = at.saturating_sub(clock::micros());
        Duration::from_micros(left.clamp(1_000, 1_000_000))
    }

    fn signal(&self, signal: Signal) {
        // It fails if nothing of the process group is left.
        let _ = kill_process_group(self.group, signal);
    }
}

fn report(control: &UnixStream, report: &Report) {
    // If the runner is gone, nobody needs the report.
    let _ = (&mut &*control).write_all(format!("{report}\n").as_bytes());
}

fn read_orders(lines: impl Iterator<Item = io::Result<String>>, events: &Sender<Event>) {
    for order in lines.map_while(|line| line.ok()?.parse().ok()) {
        if events.send(Event::Ordered(order)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Gone);
}

fn notice_exit(pid: Pid, events: &Sender<Event>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
    let _ = events.send(Event::Exited);
}

/// Returns the exit code of a shell for a command that could not be started.
fn refusal(error: &io::Error) -> Report {
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    Report::Refused { code, reason: error.to_string() }
}

/// Returns the exit code, or 128 and the number of the signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
