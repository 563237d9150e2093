//! A folder on a real disk.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::vfs::{File, Lock, Vfs};

/// A folder on a real disk. Everything happens relative to the folder as it was opened, whatever becomes of its path.
#[derive(Debug)]
pub struct Disk {
    folder: OwnedFd,
    path: PathBuf,
}

/// The owner's, and nobody else's.
const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FILE_FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl Disk {
    /// Opens the folder, and makes it first if it is not there. Its parent has to exist; a symbolic link is refused.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        match rustix::fs::mkdir(path, FOLDER_MODE) {
            Ok(()) => sync_parent(path)?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { folder, path: path.to_owned() })
    }
}

/// A folder that was just made is in its parent only once that is synced.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()
}

impl Vfs for Disk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let flags = FILE_FLAGS | OFlags::CREATE | OFlags::EXCL;
        let file = rustix::fs::openat(&self.folder, name, flags, FILE_MODE)?;
        Ok(Arc::new(fs::File::from(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = rustix::fs::openat(&self.folder, name, FILE_FLAGS, Mode::empty())?;
        let file = fs::File::from(file);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(Arc::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            if entry.file_type() == FileType::Directory {
                continue;
            }
            // The log's own names are ASCII; whatever else lies here is not its business.
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
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

    /// Locks the folder itself, which stays the same folder whatever becomes of its path and of the files in it, and then
    /// the file, which says who has the folder, for messages only. The file is never removed.
    fn try_lock(&self, name: &str) -> io::Result<Option<Lock>> {
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
        let file = rustix::fs::openat(&self.folder, name, FILE_FLAGS, Mode::empty()).ok()?;
        let mut text = String::new();
        fs::File::from(file).take(32).read_to_string(&mut text).ok()?;
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
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // Closing it is what is left if this fails.
            let _ = self.file.unlock();
        }
    }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
