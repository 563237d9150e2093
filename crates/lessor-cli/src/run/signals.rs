//! The signals that end this process, or that it passes on to a command.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals as Received;

use crate::run::events::Event;

/// A thread that receives signals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// The attempt that runs a command now.
    to: Arc<Mutex<Option<Sender<Event>>>>,
}

impl Signals {
    /// Receives signals. One that comes while no command runs ends this process.
    pub(crate) fn receive() -> io::Result<Self> {
        let signals = Self::default();
        let ignored = ignored();
        let all = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];
        let mut received = Received::new(all.into_iter().filter(|signal| !is_in(ignored, *signal)))?;
        let to = Arc::clone(&signals.to);
        thread::spawn(move || {
            for signal in received.forever() {
                let to = to.lock().unwrap_or_else(PoisonError::into_inner);
                let is_passed_on = to.as_ref().is_some_and(|to| to.send(Event::Signal(signal)).is_ok());
                if !is_passed_on {
                    std::process::exit(128 + signal);
                }
            }
        });
        Ok(signals)
    }

    /// Passes signals on to an attempt, or with `None` to nobody.
    pub(crate) fn pass_to(&self, attempt: Option<Sender<Event>>) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = attempt;
    }
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
