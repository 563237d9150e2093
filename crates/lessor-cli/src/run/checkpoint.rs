//! Files through which a command reports its progress.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use lessor::LeaseHandle;

/// A file whose changes are noticed.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    /// The time of the last change and the length, if the file exists.
    seen: Option<(SystemTime, u64)>,
}

impl Watched {
    /// Takes the file as it is now as seen.
    pub(crate) fn new(path: PathBuf) -> Self {
        let seen = stamp(&path);
        Self { path, seen }
    }

    /// Returns whether the file has changed since the last call, and exists.
    pub(crate) fn has_changed(&mut self) -> bool {
        let stamp = stamp(&self.path);
        std::mem::replace(&mut self.seen, stamp) != stamp && stamp.is_some()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let about = fs::metadata(path);
    about.ok().and_then(|about: Metadata| Some((about.modified().ok()?, about.len())))
}

/// A content, and the answer of the store.
type Stored = (Vec<u8>, Result<(), lessor::Error>);

/// The checkpoint of a command: a file whose content is stored with the key when it changes.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    file: Watched,
    lease: LeaseHandle,
    stored: Vec<u8>,
    /// The thread that stores a content, which may take as long as the store is unavailable.
    storing: Option<JoinHandle<Stored>>,
    has_warned: bool,
}

impl Checkpoint {
    /// Creates the file, if there is a checkpoint of an earlier attempt.
    pub(crate) fn new(path: PathBuf, lease: LeaseHandle, earlier: Option<&[u8]>) -> io::Result<Self> {
        if let Some(earlier) = earlier {
            fs::write(&path, earlier)?;
        }
        let stored = earlier.unwrap_or_default().to_vec();
        Ok(Self { file: Watched::new(path), lease, stored, storing: None, has_warned: false })
    }

    /// Stores the content if it has changed and the last one has been stored.
    pub(crate) fn look(&mut self) {
        if self.storing.as_ref().is_some_and(|storing| !storing.is_finished()) {
            return;
        }
        self.take_answer();
        if self.file.has_changed() {
            self.store();
        }
    }

    /// Stores the last content, after the command has exited.
    pub(crate) fn finish(mut self) {
        self.take_answer();
        self.store();
        self.take_answer();
    }

    fn store(&mut self) {
        match fs::read(&self.file.path) {
            Ok(content) if content != self.stored => {
                let lease = self.lease.clone();
                self.storing = Some(thread::spawn(move || {
                    let stored = lease.checkpoint_bytes(&content).wait().map(drop);
                    (content, stored)
                }));
            }
            _ => {}
        }
    }

    fn take_answer(&mut self) {
        let Some(storing) = self.storing.take() else { return };
        match storing.join() {
            Ok((content, Ok(()))) => self.stored = content,
            Ok((_, Err(error))) if !self.has_warned => {
                self.has_warned = true;
                eprintln!("lessor: run: the checkpoint was not stored: {error:#}");
            }
            _ => {}
        }
    }
}
