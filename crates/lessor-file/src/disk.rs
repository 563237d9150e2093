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

/// A folder on a real disk. Everything happens relative to the folder as it was opened, whatever becomes of its path.
#[derive(Debug)]
pub struct Disk {
    folder: OwnedFd,
    access: Access,
    path: PathBuf,
    /// What the folder is called until it is in its place.
    unplaced: Mutex<Option<PathBuf>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    All,
    /// Whatever would change something fails, and files are opened so that reading them is allowed and no more.
    Read,
}

/// The owner's, and nobody else's.
const FOLDER_MODE: Mode = Mode::RWXU;
const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FILE_FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// A pipe of some file's name has nobody wait.
const READ_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

impl Disk {
    /// Opens the folder, and makes it first if it is not there. Its parent has to exist; a symbolic link is refused.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        match rustix::fs::mkdir(path, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Self::open_existing(path, Access::All)
    }

    /// Opens a folder that is there, only to read: nothing in it is changed, and it may be on a medium that cannot be written to. Locking it
    /// keeps those away who would write, and no others.
    pub fn open_to_read(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_existing(path.as_ref(), Access::Read)
    }

    fn open_existing(path: &Path, access: Access) -> io::Result<Self> {
        let flags = FOLDER_FLAGS | OFlags::NOFOLLOW;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { folder, access, path: path.to_owned(), unplaced: Mutex::new(None) })
    }

    /// Fails if nothing may be changed.
    fn to_change(&self) -> io::Result<()> {
        match self.access {
            Access::All => Ok(()),
            Access::Read => Err(Errno::ROFS.into()),
        }
    }

    /// The files' flags for opening one that is there.
    fn flags(&self) -> OFlags {
        match self.access {
            Access::All => FILE_FLAGS,
            Access::Read => READ_FLAGS,
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

    /// Keeps those away who would write. Makes no file, and writes nothing.
    fn try_lock_to_read(&self, name: &str) -> io::Result<Option<Lock>> {
        // Opened anew: a lock belongs to one opening of a folder.
        let folder = rustix::fs::openat(&self.folder, ".", FOLDER_FLAGS, Mode::empty())?;
        let Some(folder) = Locked::try_shared(folder.into())? else { return Ok(None) };
        let file = match self.open_file(name) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file = match file.map(Locked::try_shared).transpose()? {
            Some(None) => return Ok(None),
            file => file.flatten(),
        };
        Ok(Some(Lock::new((folder, file))))
    }

    /// Opens the folder if it is there. If it is not, it is made under another name beside its place, and gets into that place, together with
    /// what is in it by then, when it is [settled](Vfs::settle). If that never happens, dropping this removes it.
    pub(crate) fn open_or_prepare(path: impl AsRef<Path>) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = path.as_ref();
        let is_there = match rustix::fs::lstat(path) {
            Ok(_) => true,
            Err(Errno::NOENT) => false,
            Err(error) => return Err(error.into()),
        };
        let Some(name) = path.file_name().filter(|_| !is_there) else {
            return Self::open_existing(path, Access::All);
        };
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".unfinished-{}-{count}", std::process::id()));
            let temporary = path.with_file_name(temporary);
            match rustix::fs::mkdir(&temporary, FOLDER_MODE) {
                Ok(()) => {
                    let mut disk = Self::open_existing(&temporary, Access::All)?;
                    path.clone_into(&mut disk.path);
                    disk.unplaced = Mutex::new(Some(temporary));
                    return Ok(disk);
                }
                // Of a process with the same number that was killed.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Syncs the folders above one, up to where another file system begins: a folder that was made is in its parent only once that is synced,
/// and so on.
fn sync_above(folder: &OwnedFd) -> io::Result<()> {
    let identity = |folder: &OwnedFd| rustix::fs::fstat(folder).map(|stat| (stat.st_dev, stat.st_ino));
    let open_above = |folder: &OwnedFd| rustix::fs::openat(folder, "..", FOLDER_FLAGS, Mode::empty());
    let mut here = identity(folder)?;
    let mut above = open_above(folder);
    loop {
        let next = match above {
            Ok(next) => next,
            // Some folders may be passed through and not be read.
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

/// Syncs all of the file system that the folder is in.
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
        if let Some(temporary) = self.unplaced.get_mut() {
            // What is left of it is of no use, and does no harm.
            let _ = fs::remove_dir_all(temporary);
        }
    }
}

impl Vfs for Disk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.to_change()?;
        let flags = FILE_FLAGS | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::fs::openat(&self.folder, name, flags, FILE_MODE)?;
        Ok(Arc::new(DiskFile(fs::File::from(file))))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile(self.open_file(name)?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.to_change()?;
        Ok(rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.to_change()?;
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            // The log's own names are ASCII; whatever else lies here is not its business.
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    fn each_entry(&self, each: &mut dyn FnMut(&str)) -> io::Result<()> {
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

    fn settle(&self) -> io::Result<()> {
        self.to_change()?;
        let mut unplaced = self.unplaced.lock();
        if let Some(temporary) = &*unplaced {
            // Replaces nothing but an empty folder.
            rustix::fs::rename(temporary, &self.path)?;
            *unplaced = None;
        }
        sync_above(&self.folder)
    }

    /// Locks the folder itself, which stays the same folder whatever becomes of its path and of the files in it, and then
    /// the file, which says who has the folder, for messages only. The file is never removed.
    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
        if self.access == Access::Read {
            return self.try_lock_to_read(name);
        }
        // Opened anew: a lock belongs to one opening of a folder, and `self` may be opened on more than once.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = fs::File::from(rustix::fs::openat(&self.folder, ".", flags, Mode::empty())?);
        let Some(folder) = Locked::try_new(folder)? else { return Ok(None) };
        let file = rustix::fs::openat(&self.folder, name, FILE_FLAGS | OFlags::CREATE, FILE_MODE)?;
        let Some(mut file) = Locked::try_new(file.into())? else { return Ok(None) };
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

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// Unlocks the file or folder when it is dropped. Closing it would not do: a program that is being started has a copy of the
/// open file until it is executed.
#[derive(Debug)]
struct Locked {
    file: fs::File,
    /// The process that locked it. A forked child has a copy, and must not free what its parent still writes to.
    pid: u32,
}

impl Locked {
    /// `None` if somebody else has it locked.
    fn try_new(file: fs::File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, pid: std::process::id() })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// `None` if somebody has it for themselves alone.
    fn try_shared(file: fs::File) -> io::Result<Option<Self>> {
        let locked = file.try_lock_shared();
        if matches!(locked, Err(fs::TryLockError::WouldBlock)) {
            return Ok(None);
        }
        locked?;
        Ok(Some(Self { file, pid: std::process::id() }))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // Closing it is what is left if this fails.
            let _ = self.file.unlock();
        }
    }
}

/// One open file of the folder.
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

    fn cut(&self, length: u64) -> io::Result<()> {
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

    /// The folder of a backup was there, and empty, before anything was in it: a backup that was killed then could be opened as an empty log.
    #[test]
    fn p5_a_folder_that_is_prepared_gets_its_name_with_what_is_in_it() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("copy");
        let disk = Disk::open_or_prepare(&folder).unwrap();
        assert!(!folder.exists());
        disk.create("first").unwrap();
        assert!(!folder.exists());
        disk.settle().unwrap();
        assert_eq!(names(&folder), ["first"]);
        disk.create("second").unwrap();
        disk.settle().unwrap();
        drop(disk);
        assert_eq!(names(&folder).len(), 2);
        assert_eq!(names(base.path()), ["copy"]);
    }

    #[test]
    fn p5_a_folder_that_is_never_settled_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let disk = Disk::open_or_prepare(base.path().join("copy")).unwrap();
        disk.create("first").unwrap();
        drop(disk);
        assert!(names(base.path()).is_empty());
    }

    #[test]
    fn p5_a_prepared_folder_replaces_nothing() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("copy");
        let disk = Disk::open_or_prepare(&folder).unwrap();
        disk.create("first").unwrap();
        // Somebody else was quicker.
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("theirs"), "1").unwrap();
        assert!(disk.settle().is_err());
        assert_eq!(names(&folder), ["theirs"]);
        drop(disk);
        assert_eq!(names(base.path()), ["copy"]);
    }
}
