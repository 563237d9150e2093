//! One attempt: a command runs under a lease.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use lessor::Lease;

use crate::run::checkpoint::{Checkpoint, Watched};
use crate::run::clock;
use crate::run::events::Event;
use crate::run::guarded::{Guarded, Plan};
use crate::run::messages::{Order, Report};
use crate::run::output::Copying;
use crate::run::ran::Ran;
use crate::run::signals::Signals;

/// How a command is run.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) command: &'a [OsString],
    pub(crate) ttl: Duration,
    pub(crate) kill_after: Duration,
    /// The number of bytes of each output to keep.
    pub(crate) keep_output: usize,
    /// The file that shows progress.
    pub(crate) progress: Option<&'a Path>,
}

/// The end of an attempt.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The command has exited by itself, or because a signal was passed on.
    Exited { ran: Ran, was_signalled: bool },
    /// The command was ended, because the lease was lost.
    Lost,
    /// The command could not be started.
    Refused { code: u8, reason: String },
}

/// Runs the command. The lease must be kept alive. When this returns, nothing of the command's process
/// group runs any more. Signals wait from then on.
///
/// # Errors
/// The command was not started.
pub(crate) fn run(lease: &Lease, terms: &Terms<'_>, signals: &Signals) -> io::Result<Ended> {
    let scratch = tempfile::Builder::new().prefix("lessor-run-").tempdir()?;
    let file = scratch.path().join("checkpoint");
    let checkpoint = Checkpoint::new(file.clone(), lease.handle(), lease.previous_checkpoint_bytes())?;
    let mut environment = vec![
        ("LESSOR_KEY", lease.key().into()),
        ("LESSOR_TOKEN", lease.token().to_string().into()),
        ("LESSOR_ATTEMPT", lease.attempt().to_string().into()),
        ("LESSOR_CHECKPOINT", file.into_os_string()),
    ];
    environment.extend(terms.progress.map(|path| ("LESSOR_PROGRESS", path.into())));
    let plan =
        Plan { command: terms.command, environment, kill_after: terms.kill_after, scratch: scratch.path() };
    let (send, events) = mpsc::channel();
    let mut guarded = Guarded::start(plan, until(lease, terms.ttl), send.clone())?;
    let guard = guarded.process();
    let (Some(out), Some(err)) = (guard.stdout.take(), guard.stderr.take()) else {
        return Err(io::Error::other("the guard has no output"));
    };
    let out = Copying::start(out, io::stdout(), terms.keep_output);
    let err = Copying::start(err, io::stderr(), terms.keep_output);
    signals.pass_to(send.clone());
    notice_loss(lease, send);
    let progress = terms.progress.map(|path| Watched::new(path.to_owned()));
    let mut watching = Watching {
        lease,
        ttl: terms.ttl,
        guarded: &mut guarded,
        checkpoint,
        progress,
        is_ending: false,
        was_signalled: false,
    };
    let seen = watching.watch(&events);
    let Watching { checkpoint, is_ending, was_signalled, .. } = watching;
    guarded.finish(matches!(seen, Seen::Exited(_) | Seen::Refused { .. }));
    signals.hold();
    let (stdout, stderr) = (out.finish().into(), err.finish().into());
    let ended = match seen {
        Seen::Refused { code, reason } => Ended::Refused { code, reason },
        _ if is_ending => Ended::Lost,
        Seen::Exited(exit_code) => Ended::Exited { ran: Ran { exit_code, stdout, stderr }, was_signalled },
        // The guard was killed, and with it the command.
        Seen::GuardEnded => Ended::Exited { ran: Ran { exit_code: 128 + 9, stdout, stderr }, was_signalled },
    };
    checkpoint.finish();
    Ok(ended)
}

/// Returns the time by which the command must have ended: the end of the lease, with a margin of a
/// tenth of the ttl, and at most a second.
fn until(lease: &Lease, ttl: Duration) -> u64 {
    let margin = (ttl / 10).min(Duration::from_secs(1));
    // The clock is read before the lease, so that a pause in between shortens the time.
    let now = clock::micros();
    let left = lease.time_left().saturating_sub(margin);
    now.saturating_add(u64::try_from(left.as_micros()).unwrap_or(u64::MAX))
}

fn notice_loss(lease: &Lease, events: Sender<Event>) {
    let lost = lease.lost();
    thread::spawn(move || {
        lost.wait();
        // The attempt may have ended.
        let _ = events.send(Event::Lost);
    });
}

/// What ended the watching.
enum Seen {
    Exited(u8),
    Refused { code: u8, reason: String },
    GuardEnded,
}

struct Watching<'a> {
    lease: &'a Lease,
    ttl: Duration,
    guarded: &'a mut Guarded,
    checkpoint: Checkpoint,
    progress: Option<Watched>,
    /// True once the command is being ended because of the lease.
    is_ending: bool,
    /// True once a signal was passed on.
    was_signalled: bool,
}

impl Watching<'_> {
    fn watch(&mut self, events: &Receiver<Event>) -> Seen {
        let pulse = (self.ttl / 20).min(Duration::from_millis(200));
        loop {
            match events.recv_timeout(pulse) {
                Ok(Event::Reported(Report::Started(group))) => self.guarded.started(group),
                Ok(Event::Reported(Report::Refused { code, reason })) => {
                    return Seen::Refused { code, reason };
                }
                Ok(Event::Reported(Report::Ending)) => self.is_ending = true,
                Ok(Event::Reported(Report::Exited(code))) => return Seen::Exited(code),
                Ok(Event::GuardEnded) | Err(RecvTimeoutError::Disconnected) if self.guarded.has_started() => {
                    return Seen::GuardEnded;
                }
                Ok(Event::GuardEnded) | Err(RecvTimeoutError::Disconnected) => {
                    let reason = "the process that should have started it ended".to_owned();
                    return Seen::Refused { code: 126, reason };
                }
                Ok(Event::Lost) => {
                    self.is_ending = true;
                    self.guarded.order(Order::End);
                }
                Ok(Event::Signal(number)) => {
                    self.was_signalled = true;
                    self.guarded.order(Order::Signal(number));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !self.is_ending {
                self.guarded.set_until(self.next_until());
                self.checkpoint.look();
                if self.progress.as_mut().is_some_and(Watched::has_changed) {
                    self.lease.tick();
                }
            }
        }
    }

    /// Returns the time for the guard. It changes only with a renewal: readings of the two clocks
    /// differ by less than the precision.
    fn next_until(&self) -> u64 {
        const PRECISION: u64 = 10_000;
        let until = until(self.lease, self.ttl);
        if until.abs_diff(self.guarded.until()) < PRECISION { self.guarded.until() } else { until }
    }
}
