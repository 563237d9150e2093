//! A real disk that kills its own process at the N-th mutating call.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor_file::vfs::{Disk, File, Lock, Vfs};
use rustix::process::{Signal, getpid, kill_process};

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Before,
    /// A write is half done. Other calls have not begun.
    Amid,
    After,
}

#[derive(Debug)]
struct Trap {
    /// 0 for never.
    at: u64,
    when: When,
    calls: AtomicU64,
}

impl Trap {
    fn call<T>(
        &self,
        half: impl FnOnce() -> io::Result<()>,
        whole: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return whole();
        }
        match self.when {
            When::Before => {}
            When::Amid => half()?,
            When::After => drop(whole()?),
        }
        kill_process(getpid(), Signal::KILL)?;
        unreachable!("the signal cannot be ignored")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct KillingDisk {
    disk: Arc<Disk>,
    trap: Arc<Trap>,
}

impl KillingDisk {
    pub(crate) fn open(folder: &Path, at: u64, when: When) -> Self {
        let disk = Arc::new(Disk::open(folder).unwrap());
        Self { disk, trap: Arc::new(Trap { at, when, calls: AtomicU64::new(0) }) }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.trap.calls.load(Ordering::SeqCst)
    }

    fn call<T>(&self, whole: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.trap.call(|| Ok(()), whole)
    }

    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(DeadlyFile { file, trap: Arc::clone(&self.trap) })
    }
}

impl Vfs for KillingDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.call(|| self.disk.create(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|| self.disk.remove(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(|| self.disk.rename(from, to))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.call(|| self.disk.sync_folder())
    }

    fn publish(&self) -> io::Result<()> {
        self.call(|| self.disk.publish())
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
        self.call(|| self.disk.try_lock(name))
    }

    fn lock_holder(&self, name: &str) -> Option<u32> {
        self.disk.lock_holder(name)
    }

    fn describe(&self) -> String {
        self.disk.describe()
    }
}

#[derive(Debug)]
struct DeadlyFile {
    file: Arc<dyn File>,
    trap: Arc<Trap>,
}

impl File for DeadlyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let half = || self.file.write_at(&bytes[..bytes.len() / 2], offset).map(drop);
        self.trap.call(half, || self.file.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.trap.call(|| Ok(()), || self.file.sync())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.trap.call(|| Ok(()), || self.file.truncate(length))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
