//! The simulated disk as a [`Vfs`].

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use lessor_vfs::{File, Lock, Vfs};

use crate::faults::{CallContext, CallKind, Errno, Outcome, Plan};
use crate::operation::InodeId;
use crate::state::State;

/// A disk in memory with one folder. All clones, and all handles of files, share the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    pub(crate) state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// Creates an empty disk without a limit of its capacity.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty disk whose folder is new: a power loss may remove the folder with all that
    /// is in it, until [`Vfs::publish`] was called.
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
        happen: impl FnOnce(&mut State, CallContext) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        let began = state.time;
        let call = state.plan.count(kind);
        if let Some(hook) = state.plan.hook.clone() {
            drop(state);
            hook(Plan::call(&call, file));
            state = self.state.lock();
        }
        let outcome = state.plan.outcome(&call);
        if let Outcome::Error(errno) = outcome {
            return Err(errno.into());
        }
        let result = happen(&mut state, CallContext { outcome, began });
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
        self.call(CallKind::SyncFolder, "", |state, context| state.sync_folder(context))
    }

    fn publish(&self) -> io::Result<()> {
        self.call(CallKind::Publish, "", |state, context| state.publish(context))
    }

    /// A disk has one lock, whatever its name. No file is created for it.
    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
        let free =
            self.call(CallKind::Lock, name, |state, _| Ok(!std::mem::replace(&mut state.locked, true)))?;
        Ok(free.then(|| Lock::new(Locked(self.clone()))))
    }

    fn lock_holder(&self, _name: &str) -> Option<u32> {
        self.state.lock().locked.then(std::process::id)
    }

    fn describe(&self) -> String {
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
        self.disk
            .call(CallKind::Read, &self.name, |state, context| state.read(self.id, buffer, offset, context))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk
            .call(CallKind::Write, &self.name, |state, context| state.write(self.id, bytes, offset, context))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call(CallKind::Sync, &self.name, |state, context| state.sync(self.id, context))
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.call(CallKind::Truncate, &self.name, |state, _| {
            state.inode_mut(self.id)?.truncate(length);
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
