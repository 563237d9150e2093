//! `lessor run`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use lessor::{Acquisition, Backoff, Engine, ErrorKind, Lease, OnFailed, OnLapsed, Settings, View};

use crate::exit::Code;
use crate::pace::pause;
use crate::place::{Global, Opened, Place};
use crate::problem::Problem;
use crate::run::attempt::{self, Ended, Terms};
use crate::run::ran::Ran;
use crate::run::signals::Signals;
use crate::time;

/// Run a command once under a key, on this machine or among many
///
/// The first caller with the key gets a lease and runs the command. Later callers get its exit code
/// and the end of its output, without running it, until the retention ends. The lease is renewed while
/// the command runs. If it is lost, the command is ended before anyone else can get the lease.
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = HELP, after_long_help = LONG_HELP)]
pub(crate) struct Run {
    /// The key, which names the work, such as report-2026-12-01
    key: String,
    /// The time after which a dead holder is replaced
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time::parse)]
    ttl: Duration,
    /// Wait for another holder of the key or of the folder of a file store, or for a server that does
    /// not answer, at most so long
    #[arg(long, value_name = "DURATION", value_parser = time::parse)]
    wait: Option<Duration>,
    /// Run a command that failed up to N more times
    #[arg(long, value_name = "N", default_value_t = 0)]
    retry: u32,
    /// The wait before a retry, which doubles with each further one, up to an hour
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = time::parse)]
    backoff: Duration,
    /// What to do if the last holder died: run the command again, or leave that to an operator
    #[arg(long, value_enum, default_value = "take-over")]
    on_lapsed: Lapsed,
    /// The time between TERM and KILL; at most a third of the ttl, which is also the default, up to 10s
    #[arg(long, value_name = "DURATION", value_parser = time::parse)]
    kill_after: Option<Duration>,
    /// A file that the command touches while it makes progress
    #[arg(long, value_name = "PATH", requires = "stall_after")]
    progress_file: Option<PathBuf>,
    /// End the command if the progress file does not change for so long
    #[arg(long, value_name = "DURATION", value_parser = time::parse, requires = "progress_file")]
    stall_after: Option<Duration>,
    /// The number of bytes of each output to keep, from its end
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(..=KEEP_MOST))]
    keep_output: u32,
    /// The time for which the outcome is kept
    #[arg(long, value_name = "DURATION", default_value = "7days", value_parser = time::parse)]
    retention: Duration,
    /// The label of this holder; the host and the process id if not given
    #[arg(long, value_name = "TEXT")]
    holder: Option<String>,
    /// Do not say that an outcome is replayed
    #[arg(long, short)]
    quiet: bool,
    /// When an outcome is replayed, end with its exit code and print nothing
    #[arg(long)]
    silent: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// What to do with a lease that lapsed, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Lapsed {
    TakeOver,
    InDoubt,
}

/// Two outputs of this size fit into a result of the default limit.
const KEEP_MOST: i64 = 262_144;

const USAGE: &str = "lessor run --store <URL> [OPTIONS] <KEY> -- <COMMAND>...";

const HELP: &str = "\
Exit codes: that of the command (128 + n if signal n ended it), also when it is replayed; 121 another \
    holder has the key; 122 in doubt; 123 the lease was lost; 124 the store is unavailable; 125 the key \
    failed otherwise; 126 and 127 the command cannot be started; 120 another error. See --help.";

const LONG_HELP: &str = "\
Exit codes:
  The command's own exit code, or 128 + n if signal n ended it, whether it ran now or before.
  120  another error, such as a wrong argument
  121  another holder has the key, and the time of --wait is over
  122  the work is in doubt: a holder died; look, then use `lessor resolve`
  123  the lease was lost and the command was ended; its outcome does not count
  124  the store is unavailable: nothing was run, or the outcome could not be stored
  125  the key failed without a command: it was canceled, or resolved as failed
  126  the command cannot be executed; nothing is stored
  127  the command was not found; nothing is stored
  With its own codes, the program prints a line to standard error that begins with `lessor: run:`.
  A command that uses 120 to 127 itself is told apart by that line, and by `lessor show KEY`.

The command gets:
  LESSOR_KEY         the key
  LESSOR_TOKEN       the fencing token, which rises with each run: pass it to whatever the command
                     changes, which should refuse a lower one
  LESSOR_ATTEMPT     1 for the first run, more after a crash or a failure
  LESSOR_CHECKPOINT  the path of a file; its content is stored with the key whenever it changes, and
                     restored for the next attempt; replace it by a rename
  LESSOR_PROGRESS    the path given with --progress-file

The command runs in a process group of its own. TERM, INT, HUP and QUIT are passed on to it. What is
left of its group when it exits is killed. If this program is killed, suspended or cut off from the
store, a second process ends the command before the lease ends. Only if both processes are killed at
once, or if the command leaves its process group, can it run on: use the token against that.

How it differs:
  flock         locks on one machine, and forgets: a second run starts when the first has ended. Here
                the outcome stays, and a second caller gets it.
  consul lock   holds a lock among machines, and forgets as well; it has no token, result or retry.
  cron wrappers prevent overlap; here each key runs once, also on several machines with one crontab.

In the crontabs of two machines, this runs a report once a day, on either of them:
  0 3 * * *  lessor --store redis://leases/0 run \"report-$(date +\\%F)\" -- /usr/local/bin/report";

/// The exit codes of `run` itself.
pub(crate) mod own {
    pub(crate) const ERROR: u8 = 120;
    pub(crate) const BUSY: u8 = 121;
    pub(crate) const IN_DOUBT: u8 = 122;
    pub(crate) const LOST: u8 = 123;
    pub(crate) const UNAVAILABLE: u8 = 124;
    pub(crate) const FAILED: u8 = 125;
}

impl Run {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        self.check()?;
        let signals = Signals::receive().map_err(error)?;
        let place = global.place().map_err(own_code)?;
        if place.is_memory() {
            return Err(problem(
                own::ERROR,
                "`memory:` ends with this process, so it guards nothing; use file: or redis:",
            ));
        }
        let settings = Settings::new().retention(self.retention).max_hold(FOREVER);
        let place = place.wait_longer(self.wait.unwrap_or_default());
        let waiting = Waiting::new(self.wait);
        let engine = waiting.open(&place, &settings)?;
        loop {
            // A signal that came between the grant and the start would leave a lease without a command.
            signals.hold();
            let acquired = self.acquire(&engine)?;
            if !matches!(acquired, Acquisition::Acquired(_)) {
                signals.release();
            }
            match acquired {
                Acquisition::Acquired(lease) => {
                    if let Some(code) = self.attempt(lease, &signals)? {
                        return Ok(code);
                    }
                }
                Acquisition::Completed(view) => return self.replay(&view),
                Acquisition::Failed(view) => match view.retry_after() {
                    Some(after) if self.retry > 0 => pause(after),
                    _ => return self.replay(&view),
                },
                Acquisition::InProgress(view) => waiting.wait(&engine, &self.key, &view)?,
                Acquisition::InDoubt(_) => {
                    let reason = "a holder died, and whether its command did its work is not known; find out, then use `lessor resolve`";
                    return Err(problem(own::IN_DOUBT, reason));
                }
                _ => {
                    return Err(problem(
                        own::ERROR,
                        "the store gave an answer that this release does not know",
                    ));
                }
            }
        }
    }

    fn check(&self) -> Result<(), Problem> {
        if self.ttl < Duration::from_secs(1) {
            return Err(problem(
                own::ERROR,
                "a ttl of less than 1s leaves no time to end a command; use at least 1s",
            ));
        }
        if self.kill_after() > self.ttl / 3 {
            let least = time::duration(self.kill_after() * 3);
            let reason =
                format!("the ttl must be at least three times as long as --kill-after; use --ttl {least:?}");
            return Err(problem(own::ERROR, &reason));
        }
        Ok(())
    }

    fn kill_after(&self) -> Duration {
        self.kill_after.unwrap_or_else(|| (self.ttl / 3).min(Duration::from_secs(10)))
    }

    fn acquire(&self, engine: &Engine) -> Result<Acquisition, Problem> {
        const MOST: Duration = Duration::from_hours(1);
        let holder = self.holder.clone().unwrap_or_else(host_and_process);
        let backoff = Backoff::exponential(self.backoff, MOST.max(self.backoff));
        let on_failed = match self.retry {
            0 => OnFailed::Replay,
            retries => OnFailed::Retry { max_attempts: retries.saturating_add(1), backoff },
        };
        let on_lapsed = match self.on_lapsed {
            Lapsed::TakeOver => OnLapsed::TakeOver,
            Lapsed::InDoubt => OnLapsed::InDoubt,
        };
        let request = engine.acquire(&self.key).ttl(self.ttl).holder(&holder);
        request.on_failed(on_failed).on_lapsed(on_lapsed).wait().map_err(|error| own_code(error.into()))
    }

    /// Runs the command. Returns `None` if it failed and is to be tried again.
    fn attempt(&self, lease: Lease, signals: &Signals) -> Result<Option<Code>, Problem> {
        let lease = match self.stall_after {
            Some(stall_after) => lease.keep_alive_while_progressing(stall_after),
            None => lease.keep_alive(),
        };
        let terms = Terms {
            command: &self.command,
            ttl: self.ttl,
            kill_after: self.kill_after(),
            keep_output: self.keep_output as usize,
            progress: self.progress_file.as_deref(),
        };
        let not_started = |error: io::Error| Ended::Refused { code: own::ERROR, reason: error.to_string() };
        match attempt::run(&lease, &terms, signals).unwrap_or_else(not_started) {
            Ended::Lost => Err(problem(
                own::LOST,
                "the lease was lost, so the command was ended; its outcome does not count",
            )),
            Ended::Refused { code, reason } => {
                // If the release fails, the lease lapses.
                let _ = lease.release().wait();
                let program =
                    self.command.first().map(|program| program.display().to_string()).unwrap_or_default();
                Err(problem(code, &format!("{program} cannot be started: {reason}; the key was released")))
            }
            Ended::Exited { ran, was_signalled } => {
                deliver(&lease, &ran)?;
                // Whoever sent the signal wants this process to end. A later one tries again.
                let is_retried = ran.exit_code != 0 && !was_signalled && lease.attempt() <= self.retry;
                Ok((!is_retried).then_some(Code::Run(ran.exit_code)))
            }
        }
    }

    /// Prints what was kept of an earlier run.
    fn replay(&self, view: &View) -> Result<Code, Problem> {
        let holder = view.holder().unwrap_or("another holder");
        let at = view.done_at().map(time::at).unwrap_or_default();
        let Some(ran) = Ran::of(view) else {
            return match view.error_code() {
                Some(code) => Err(problem(
                    own::FAILED,
                    &format!("the key failed at {at} with the code {code:?}, without a command"),
                )),
                None => {
                    self.note(&format!("the key was completed at {at} by {holder}, without a command"));
                    Ok(Code::Done)
                }
            };
        };
        if !self.silent {
            ran.print()?;
        }
        let dropped = ran.stdout.dropped + ran.stderr.dropped;
        let cut = if dropped > 0 {
            format!("; the first {dropped} bytes of its output were not kept")
        } else {
            String::new()
        };
        self.note(&format!("replayed: {holder} ran it until {at}, with exit code {}{cut}", ran.exit_code));
        Ok(Code::Run(ran.exit_code))
    }

    fn note(&self, text: &str) {
        if !(self.quiet || self.silent) {
            eprintln!("lessor: run: {text}");
        }
    }
}

/// The longest time for which a lease may be renewed: about ten years.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Stores the outcome. While the store is unavailable, tries again until the lease has ended.
fn deliver(lease: &Lease, ran: &Ran) -> Result<(), Problem> {
    const BETWEEN: Duration = Duration::from_millis(200);
    loop {
        let stored = match ran.exit_code {
            0 => lease.complete(ran).wait(),
            _ => lease.fail_as(&ran.error_code(), ran).wait(),
        };
        let Err(error) = stored else { return Ok(()) };
        let ended = format!("the command ended with exit code {}, but ", ran.exit_code);
        match error.kind() {
            ErrorKind::Lost | ErrorKind::NotFound | ErrorKind::Finished => {
                return Err(problem(own::LOST, &format!("{ended}its outcome does not count: {error:#}")));
            }
            ErrorKind::Unavailable | ErrorKind::Indeterminate if !lease.time_left().is_zero() => {
                pause(BETWEEN);
            }
            _ => {
                return Err(problem(
                    own::UNAVAILABLE,
                    &format!("{ended}its outcome was not stored: {error:#}"),
                ));
            }
        }
    }
}

/// The patience of the caller, for other holders and for the store.
struct Waiting {
    /// The end of the wait, if the caller waits.
    until: Option<Instant>,
}

impl Waiting {
    fn new(wait: Option<Duration>) -> Self {
        Self { until: wait.and_then(|wait| now().checked_add(wait)) }
    }

    fn left(&self) -> Duration {
        self.until.map(|until| until.saturating_duration_since(now())).unwrap_or_default()
    }

    /// Opens the store. If it is unavailable, tries again.
    fn open(&self, place: &Place, settings: &Settings) -> Result<Opened, Problem> {
        const BETWEEN: Duration = Duration::from_millis(500);
        loop {
            match place.open(settings.clone()) {
                Err(problem) if problem.code == Code::Unavailable && !self.left().is_zero() => {
                    pause(BETWEEN.min(self.left()));
                }
                opened => return opened.map_err(own_code),
            }
        }
    }

    /// Waits until the key may be free.
    fn wait(&self, engine: &Engine, key: &str, view: &View) -> Result<(), Problem> {
        let left = self.left();
        if left.is_zero() {
            let holder = view.holder().unwrap_or("another holder");
            let lapses = time::duration(view.ttl_left().unwrap_or_default());
            let reason = format!(
                "{holder} has the key, and its lease lasts for another {lapses} unless it is renewed; use --wait to wait"
            );
            return Err(problem(own::BUSY, &reason));
        }
        engine.wait_for(key, left).wait().map(drop).map_err(|error| own_code(error.into()))
    }
}

#[expect(clippy::disallowed_methods, reason = "the patience of a caller is real time")]
fn now() -> Instant {
    Instant::now()
}

fn host_and_process() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host} pid {}", std::process::id())
}

fn problem(code: u8, reason: &str) -> Problem {
    Problem::new(Code::Run(code), format!("run: {reason}"))
}

fn error(error: io::Error) -> Problem {
    problem(own::ERROR, &error.to_string())
}

/// Gives the problem of another part of the program an exit code of `run`.
fn own_code(other: Problem) -> Problem {
    let code = match other.code {
        Code::Unavailable => own::UNAVAILABLE,
        _ => own::ERROR,
    };
    problem(code, &other.to_string())
}
