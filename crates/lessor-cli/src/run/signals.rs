//! The signals that end this process, or that it passes on to a command.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals as Received;

use crate::run::events::Event;

/// The receiver of signals, and what happens to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    to: Arc<Mutex<To>>,
}

/// What happens to a signal.
#[derive(Debug, Default)]
enum To {
    /// It ends this process, which has no lease.
    #[default]
    Process,
    /// It waits, because this process is being granted a lease or stores an outcome.
    Later(Vec<i32>),
    /// It is passed on to a command.
    Command(Sender<Event>),
}

impl Signals {
    /// Receives signals. One that comes while this process has no lease ends it.
    pub(crate) fn receive() -> io::Result<Self> {
        let signals = Self::default();
        let ignored = ignored();
        let all = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];
        let mut received = Received::new(all.into_iter().filter(|signal| !is_in(ignored, *signal)))?;
        let receiver = signals.clone();
        thread::spawn(move || received.forever().for_each(|signal| receiver.handle(signal)));
        Ok(signals)
    }

    fn handle(&self, signal: i32) {
        match &mut *self.lock() {
            To::Process => end(signal),
            To::Later(waiting) => waiting.push(signal),
            // If the command has exited, the signal is too late.
            To::Command(command) => drop(command.send(Event::Signal(signal))),
        }
    }

    /// Lets signals wait.
    pub(crate) fn hold(&self) {
        let mut to = self.lock();
        if !matches!(*to, To::Later(_)) {
            *to = To::Later(Vec::new());
        }
    }

    /// Passes signals on to a command, also those that wait.
    pub(crate) fn pass_to(&self, command: Sender<Event>) {
        let mut to = self.lock();
        if let To::Later(waiting) = &*to {
            for signal in waiting {
                // The receiver is this process, which begins to receive now.
                let _ = command.send(Event::Signal(*signal));
            }
        }
        *to = To::Command(command);
    }

    /// Lets signals end this process. One that waits does so now.
    pub(crate) fn release(&self) {
        let mut to = self.lock();
        if let To::Later(waiting) = &*to
            && let Some(signal) = waiting.first()
        {
            end(*signal);
        }
        *to = To::Process;
    }

    fn lock(&self) -> MutexGuard<'_, To> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends this process as the signal would.
fn end(signal: i32) {
    std::process::exit(128 + signal);
}

/// Returns the set of signals that this process was started to ignore, such as HUP by `nohup`, if
/// the system tells it.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(set: u64, signal: i32) -> bool {
    let bit = u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
    bit.and_then(|bit| set.checked_shr(bit)).is_some_and(|set| set & 1 == 1)
}
