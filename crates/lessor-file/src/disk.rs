//! A folder on a real disk.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use lessor_vfs::{File, Lock, Vfs};

/// A folder on a real disk.
///
/// All operations are relative to the folder as it was opened. Renaming or replacing its path has
/// no effect on them.
#[derive(Debug)]
pub struct Disk {
    folder: OwnedFd,
    access: Access,
    path: PathBuf,
    /// The temporary path of a new folder that is not published yet.
    staged_at: Mutex<Option<PathBuf>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    ReadWrite,
    /// Every change fails, and files are opened read-only.
    ReadOnly,
}

/// Access for the owner only.
const FOLDER_MODE: Mode = Mode::RWXU;
const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FILE_FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// `NONBLOCK`: opening a named pipe in place of a file must not block.
const READ_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

impl Disk {
    /// Opens a folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// Fails if the parent folder does not exist, and if `path` is a symbolic link.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        match rustix::fs::mkdir(path, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Self::open_existing(path, Access::ReadWrite)
    }

    /// Opens an existing folder read-only. Nothing in it is changed, and it may be on a read-only
    /// medium. A lock on it excludes writers but not other readers.
    ///
    /// # Errors
    /// Fails if the folder does not exist or is a symbolic link.
    pub fn open_read_only(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_existing(path.as_ref(), Access::ReadOnly)
    }

    fn open_existing(path: &Path, access: Access) -> io::Result<Self> {
        let flags = FOLDER_FLAGS | OFlags::NOFOLLOW;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { folder, access, path: path.to_owned(), staged_at: Mutex::new(None) })
    }

    /// Fails with `EROFS` if the folder was opened read-only.
    fn check_writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Errno::ROFS.into()),
        }
    }

    /// Returns the flags for opening an existing file.
    fn flags(&self) -> OFlags {
        match self.access {
            Access::ReadWrite => FILE_FLAGS,
            Access::ReadOnly => READ_FLAGS,
        }
    }

    fn open_file(&self, name: &str) -> io::Result<fs::File> {
        let file = fs::File::from(rustix::fs::openat(&self.folder, name, self.flags(), Mode::empty())?);
        let kind = file.metadata()?;
        match kind.is_file() {
            true => Ok(file),
            false if kind.is_dir() => Err(Errno::ISDIR.into()),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
        }
    }

    /// Locks out writers, without creating or writing a file.
    fn try_lock_read_only(&self, name: &str) -> io::Result<Option<Lock>> {
        // The folder is opened again because a lock belongs to one open file description.
        let folder = rustix::fs::openat(&self.folder, ".", FOLDER_FLAGS, Mode::empty())?;
        let Some(folder) = FileLock::try_shared(folder.into())? else { return Ok(None) };
        let file = match self.open_file(name) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file = match file.map(FileLock::try_shared).transpose()? {
            Some(None) => return Ok(None),
            file => file.flatten(),
        };
        Ok(Some(Lock::new((folder, file))))
    }

    /// Opens the folder if it exists. Otherwise creates it under a temporary name beside its path.
    /// [`publish`](Vfs::publish) renames it to its path, with all that is in it by then. If it is
    /// never published, dropping the `Disk` removes it.
    pub(crate) fn open_or_stage(path: impl AsRef<Path>) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = path.as_ref();
        let is_there = match rustix::fs::lstat(path) {
            Ok(_) => true,
            Err(Errno::NOENT) => false,
            Err(error) => return Err(error.into()),
        };
        let Some(name) = path.file_name().filter(|_| !is_there) else {
            return Self::open_existing(path, Access::ReadWrite);
        };
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".unfinished-{}-{count}", std::process::id()));
            let temporary = path.with_file_name(temporary);
            match rustix::fs::mkdir(&temporary, FOLDER_MODE) {
                Ok(()) => {
                    let mut disk = Self::open_existing(&temporary, Access::ReadWrite)?;
                    path.clone_into(&mut disk.path);
                    disk.staged_at = Mutex::new(Some(temporary));
                    return Ok(disk);
                }
                // The name belongs to a killed process with the same id.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Syncs the folders above `folder`, up to the root of the file system. A new folder survives a
/// power loss only once its parent is synced, and so on upwards.
fn sync_above(folder: &OwnedFd) -> io::Result<()> {
    let identity = |folder: &OwnedFd| rustix::fs::fstat(folder).map(|stat| (stat.st_dev, stat.st_ino));
    let open_above = |folder: &OwnedFd| rustix::fs::openat(folder, "..", FOLDER_FLAGS, Mode::empty());
    let mut here = identity(folder)?;
    let mut above = open_above(folder);
    loop {
        let next = match above {
            Ok(next) => next,
            // A folder may be traversable but not readable.
            Err(Errno::ACCESS | Errno::PERM) => return sync_all_around(folder),
            Err(error) => return Err(error.into()),
        };
        let there = identity(&next)?;
        if there == here || there.0 != here.0 {
            return Ok(());
        }
        rustix::fs::fsync(&next)?;
        here = there;
        above = open_above(&next);
    }
}

/// Syncs the whole file system that `folder` is in.
fn sync_all_around(folder: &OwnedFd) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::fs::syncfs(folder)?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = folder;
        rustix::fs::sync();
    }
    Ok(())
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(temporary) = self.staged_at.get_mut() {
            // A folder that cannot be removed is useless but harmless.
            let _ = fs::remove_dir_all(temporary);
        }
    }
}

impl Vfs for Disk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.check_writable()?;
        let flags = FILE_FLAGS | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::fs::openat(&self.folder, name, flags, FILE_MODE)?;
        Ok(Arc::new(DiskFile(fs::File::from(file))))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile(self.open_file(name)?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        Ok(rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            // All names of a log are ASCII. Other names are ignored.
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    fn for_each_entry(&self, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            match (&*name, entry.file_type()) {
                ("." | "..", _) => {}
                (name, FileType::Directory) => each(&format!("{name}/")),
                (name, _) => each(name),
            }
        }
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }

    fn publish(&self) -> io::Result<()> {
        self.check_writable()?;
        let mut staged_at = self.staged_at.lock();
        if let Some(temporary) = &*staged_at {
            // The rename replaces an empty folder at most.
            rustix::fs::rename(temporary, &self.path)?;
            *staged_at = None;
        }
        sync_above(&self.folder)
    }

    /// Locks the folder itself, which keeps its identity when its path or its files change, and
    /// then the file `name`. The file holds the process id, for messages only, and is never
    /// removed.
    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
        if self.access == Access::ReadOnly {
            return self.try_lock_read_only(name);
        }
        // The folder is opened again because a lock belongs to one open file description, and
        // `self` may be opened more than once.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = fs::File::from(rustix::fs::openat(&self.folder, ".", flags, Mode::empty())?);
        let Some(folder) = FileLock::try_new(folder)? else { return Ok(None) };
        let file = rustix::fs::openat(&self.folder, name, FILE_FLAGS | OFlags::CREATE, FILE_MODE)?;
        let Some(mut file) = FileLock::try_new(file.into())? else { return Ok(None) };
        file.file.set_len(0)?;
        file.file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Some(Lock::new((folder, file))))
    }

    fn lock_holder(&self, name: &str) -> Option<u32> {
        let file = self.open_file(name).ok()?;
        let mut text = String::new();
        file.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

/// A lock that is released on drop. Closing the file would not release it reliably: a child process
/// has a copy of the open file until it executes its program.
#[derive(Debug)]
struct FileLock {
    file: fs::File,
    /// The process that took the lock. A forked child has a copy of this value and must not release
    /// the lock of its parent.
    pid: u32,
}

impl FileLock {
    /// Takes an exclusive lock. Returns `None` if another process has a lock.
    fn try_new(file: fs::File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, pid: std::process::id() })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes a shared lock. Returns `None` if another process has an exclusive lock.
    fn try_shared(file: fs::File) -> io::Result<Option<Self>> {
        let locked = file.try_lock_shared();
        if matches!(locked, Err(fs::TryLockError::WouldBlock)) {
            return Ok(None);
        }
        locked?;
        Ok(Some(Self { file, pid: std::process::id() }))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // If unlocking fails, closing the file releases the lock.
            let _ = self.file.unlock();
        }
    }
}

/// An open file of the folder.
#[derive(Debug)]
struct DiskFile(fs::File);

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(&self.0, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The folder of a backup existed, and was empty, before it had content. A backup that was
    /// killed at that moment could be opened as an empty log.
    #[test]
    fn p5_a_staged_folder_gets_its_name_with_its_content() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("copy");
        let disk = Disk::open_or_stage(&folder).unwrap();
        assert!(!folder.exists());
        disk.create("first").unwrap();
        assert!(!folder.exists());
        disk.publish().unwrap();
        assert_eq!(names(&folder), ["first"]);
        disk.create("second").unwrap();
        disk.publish().unwrap();
        drop(disk);
        assert_eq!(names(&folder).len(), 2);
        assert_eq!(names(base.path()), ["copy"]);
    }

    #[test]
    fn p5_a_staged_folder_that_is_never_published_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let disk = Disk::open_or_stage(base.path().join("copy")).unwrap();
        disk.create("first").unwrap();
        drop(disk);
        assert!(names(base.path()).is_empty());
    }

    #[test]
    fn p5_a_staged_folder_replaces_nothing() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("copy");
        let disk = Disk::open_or_stage(&folder).unwrap();
        disk.create("first").unwrap();
        // Another process created the folder first.
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("theirs"), "1").unwrap();
        assert!(disk.publish().is_err());
        assert_eq!(names(&folder), ["theirs"]);
        drop(disk);
        assert_eq!(names(base.path()), ["copy"]);
    }
}
