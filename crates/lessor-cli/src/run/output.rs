//! The output of a command, which is passed on as it comes and whose end is kept.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The end of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    kept: VecDeque<u8>,
    most: usize,
    /// The number of bytes before the kept ones.
    dropped: u64,
}

/// A thread that passes an output on.
#[derive(Debug)]
pub(crate) struct Copying {
    tail: Arc<Mutex<Tail>>,
    done: Receiver<()>,
}

impl Tail {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(self.most);
        self.kept.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Returns the kept bytes, and the number of those before.
    pub(crate) fn into_parts(self) -> (Vec<u8>, u64) {
        (self.kept.into(), self.dropped)
    }
}

impl Copying {
    /// Copies `from` to `to` until its end. Once `to` is closed, the rest is only kept.
    pub(crate) fn start(
        mut from: impl Read + Send + 'static,
        mut to: impl Write + Send + 'static,
        most: usize,
    ) -> Self {
        let tail = Arc::new(Mutex::new(Tail::new(most)));
        let (finished, done) = mpsc::channel();
        let kept = Arc::clone(&tail);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            let mut is_open = true;
            loop {
                let bytes = match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => buffer.get(..length).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                is_open = is_open && to.write_all(bytes).and_then(|()| to.flush()).is_ok();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
            }
            let _ = finished.send(());
        });
        Self { tail, done }
    }

    /// Returns the end of the output. Waits for its end, unless a process that has left the group of
    /// the command keeps it open.
    pub(crate) fn finish(self) -> Tail {
        const PATIENCE: Duration = Duration::from_secs(2);
        let _ = self.done.recv_timeout(PATIENCE);
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_and_the_others_are_counted() {
        let mut tail = Tail::new(4);
        for part in [&b"ab"[..], b"", b"cde", b"fghijkl"] {
            tail.push(part);
        }
        assert_eq!(tail.into_parts(), (b"ijkl".to_vec(), 8));
        let mut nothing = Tail::new(0);
        nothing.push(b"abc");
        assert_eq!(nothing.into_parts(), (Vec::new(), 3));
    }
}
