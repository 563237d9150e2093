//! The simulated disk as a [`Vfs`].

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use lessor_vfs::{File, Lock, Vfs};

use crate::faults::{CallKind, Errno, Outcome, Plan, Turn};
use crate::operation::InodeId;
use crate::state::State;

/// A disk in memory with one folder. Clones are the same disk; so are handles of its files.
#[derive(Clone, Default)]
pub struct SimDisk {
    pub(crate) state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk with room for everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, but the folder was made a moment ago: a power loss may take it with all that is in it, until [`Vfs::settle`] has been
    /// called.
    #[must_use]
    pub fn in_new_folder() -> Self {
        let disk = Self::new();
        disk.state.lock().make_folder();
        disk
    }

    fn call<T>(
        &self,
        kind: CallKind,
        file: &str,
        happen: impl FnOnce(&mut State, Turn) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        let began = state.time;
        let ticket = state.plan.count(kind);
        if let Some(hook) = state.plan.hook.clone() {
            drop(state);
            hook(Plan::call(&ticket, file));
            state = self.state.lock();
        }
        let outcome = state.plan.outcome(&ticket);
        if let Outcome::Error(errno) = outcome {
            return Err(errno.into());
        }
        let result = happen(&mut state, Turn { outcome, began });
        if outcome == Outcome::PowerFails { Err(Errno::Io.into()) } else { Ok(result?) }
    }

    fn handle(&self, file: &str, id: InodeId) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.clone(), name: file.to_owned(), id })
    }
}

impl Vfs for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let id = self.call(CallKind::Create, name, |state, _| state.create(name))?;
        Ok(self.handle(name, id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let id = self.call(CallKind::Open, name, |state, _| state.open(name))?;
        Ok(self.handle(name, id))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(CallKind::Remove, name, |state, _| state.remove(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(CallKind::Rename, from, |state, _| state.rename(from, to))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(CallKind::List, "", |state, _| {
            Ok(state.folder.visible.keys().map(|name| name.to_string()).collect())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.call(CallKind::SyncFolder, "", |state, turn| state.sync_folder(turn))
    }

    fn settle(&self) -> io::Result<()> {
        self.call(CallKind::Settle, "", |state, turn| state.settle(turn))
    }

    /// One holder per disk, whatever the name; no file is made for it.
    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let free =
            self.call(CallKind::Lock, name, |state, _| Ok(!std::mem::replace(&mut state.locked, true)))?;
        Ok(free.then(|| Lock::new(Locked(self.clone()))))
    }

    fn lock_holder(&self, _name: &str) -> Option<u32> {
        self.state.lock().locked.then(std::process::id)
    }

    fn place(&self) -> String {
        "a simulated disk".to_owned()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let lengths = state.files().map(|(name, inode)| (name.clone(), inode.visible.len));
        f.debug_map().entries(lengths).finish()
    }
}

#[derive(Debug)]
struct Locked(SimDisk);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.state.lock().locked = false;
    }
}

struct SimFile {
    disk: SimDisk,
    name: String,
    id: InodeId,
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call(CallKind::Read, &self.name, |state, turn| state.read(self.id, buffer, offset, turn))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.call(CallKind::Write, &self.name, |state, turn| state.write(self.id, bytes, offset, turn))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(CallKind::Sync, &self.name, |state, turn| state.sync(self.id, turn))
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.disk.call(CallKind::Cut, &self.name, |state, _| {
            state.inode_mut(self.id)?.cut(length);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.call(CallKind::Len, &self.name, |state, _| Ok(state.inode(self.id)?.visible.len))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state.lock().close(self.id);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimFile").field(&self.name).finish()
    }
}
