//! The runner's side of a guard.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::run::events::Event;
use crate::run::messages::{Order, Report, send_fd};

/// A guard, and through it a command.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    control: UnixStream,
    until: u64,
    /// The process group of the command.
    group: Option<Pid>,
}

/// What a guard needs to know.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) command: &'a [OsString],
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) kill_after: Duration,
    pub(crate) scratch: &'a Path,
}

impl Guarded {
    /// Starts the guard, which starts the command. Its reports are sent to `events`, and in the end
    /// [`Event::GuardEnded`]. The output of the command is piped.
    pub(crate) fn start(plan: Plan<'_>, until: u64, events: Sender<Event>) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let mut guard = Command::new(program()?);
        guard.arg0("lessor").arg("run-guard");
        guard.arg("--kill-after").arg(plan.kill_after.as_micros().to_string());
        guard.arg("--scratch").arg(plan.scratch).arg("--").args(plan.command);
        guard.envs(plan.environment);
        guard.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A signal of the terminal goes to the runner only, which passes it on.
        let mut guard = guard.process_group(0).spawn()?;
        let sent =
            send_input(&control).and_then(|()| control.set_write_timeout(Some(Duration::from_millis(100))));
        if let Err(error) = sent {
            let _ = guard.kill();
            let _ = guard.wait();
            return Err(error);
        }
        let reports = control.try_clone()?;
        let mut guarded = Self { guard, control, until: 0, group: None };
        guarded.set_until(until);
        thread::spawn(move || read_reports(reports, &events));
        Ok(guarded)
    }

    /// Returns the guard's process, for its output.
    pub(crate) fn process(&mut self) -> &mut Child {
        &mut self.guard
    }

    /// Notes the process group of the command.
    pub(crate) fn started(&mut self, group: i32) {
        self.group = Pid::from_raw(group);
    }

    /// Returns the time by which the command must have ended, as the guard knows it.
    pub(crate) fn until(&self) -> u64 {
        self.until
    }

    /// Returns whether the command has started.
    pub(crate) fn has_started(&self) -> bool {
        self.group.is_some()
    }

    /// Tells the guard when the command must have ended.
    pub(crate) fn set_until(&mut self, until: u64) {
        if until != self.until {
            self.until = until;
            self.order(Order::Until(until));
        }
    }

    pub(crate) fn order(&mut self, order: Order) {
        // If the guard is gone, the thread that reads its reports notices that.
        let _ = self.control.write_all(format!("{order}\n").as_bytes());
    }

    /// Waits for the end of the guard. If it ended without a report of the command's end, because
    /// another process killed it, kills the command.
    pub(crate) fn finish(mut self, has_exited: bool) {
        if let (Some(group), false) = (self.group, has_exited) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.guard.wait();
    }
}

/// Sends the standard input of this process, unless it is a terminal: a process in the background
/// cannot read that.
fn send_input(control: &UnixStream) -> io::Result<()> {
    let input = io::stdin();
    if input.is_terminal() {
        send_fd(control, std::fs::File::open("/dev/null")?)
    } else {
        send_fd(control, input)
    }
}

fn read_reports(control: UnixStream, events: &Sender<Event>) {
    let lines = BufReader::new(control).lines();
    for report in lines.map_while(|line| line.ok()?.parse::<Report>().ok()) {
        if events.send(Event::Reported(report)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::GuardEnded);
}

/// Returns the path of this program. On Linux it is valid even if the file was replaced.
fn program() -> io::Result<PathBuf> {
    let running = Path::new(OsStr::new("/proc/self/exe"));
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}
