//! The file of a fence: lines that are appended, and now and then a shorter file in its place.

use std::io;
use std::sync::Arc;

use lessor_vfs::{File, Lock, Vfs};

use crate::file::error::{FenceError, failed, path};
use crate::file::line::Line;
use crate::file::names::{LOCK, LOG, NEXT};
use crate::file::reading;
use crate::table::{Accepted, Table};

/// The number of lines beyond twice the number of keys at which the file is replaced.
const SLACK: usize = 1024;

#[derive(Debug)]
pub(super) struct Log {
    vfs: Arc<dyn Vfs>,
    file: Arc<dyn File>,
    /// The length of the file, in bytes and in lines.
    end: u64,
    lines: usize,
    table: Table,
    /// True after a failed write, when the contents of the file are not known.
    is_broken: bool,
    _lock: Lock,
}

impl Log {
    pub(super) fn open(vfs: Arc<dyn Vfs>) -> Result<Self, FenceError> {
        let names = vfs.list().map_err(|error| failed(&*vfs, "listing", "", error))?;
        let is_own = |name: &String| [LOG, NEXT, LOCK].contains(&name.as_str());
        if !names.iter().any(|name| name == LOG) && !names.iter().all(is_own) {
            return Err(FenceError::Foreign { folder: vfs.describe() });
        }
        let lock = vfs.try_lock(LOCK).map_err(|error| failed(&*vfs, "locking", LOCK, error))?;
        let in_use = || FenceError::InUse { folder: vfs.describe(), process: vfs.lock_holder(LOCK) };
        let lock = lock.ok_or_else(in_use)?;
        let table = reading::read(&*vfs)?.unwrap_or_default();
        // The last line may be in the memory of the operating system only, and a sync may not write
        // it. So what was read is written and synced again, before anything relies on it.
        let (file, end) = write_next(&*vfs, &table)?;
        use_next(&*vfs)?;
        vfs.publish().map_err(|error| failed(&*vfs, "syncing", "", error))?;
        Ok(Self { file, end, lines: table.len(), table, is_broken: false, _lock: lock, vfs })
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Accepts or refuses a token. A new one is on the disk when this returns.
    pub(super) fn admit(&mut self, key: &str, token: u64) -> Result<(), FenceError> {
        self.check_whole()?;
        match self.table.judge(key, token)? {
            Accepted::Again => return Ok(()),
            Accepted::New if self.lines >= 2 * self.table.len() + SLACK => {
                self.rewrite(self.table.clone())?;
            }
            Accepted::New => {}
        }
        let mut line = Vec::new();
        Line::Token(token, key).write(&mut line);
        self.is_broken = true;
        self.file.write_all_at(&line, self.end).map_err(|error| failed(&*self.vfs, "writing", LOG, error))?;
        self.file.sync().map_err(|error| failed(&*self.vfs, "syncing", LOG, error))?;
        self.is_broken = false;
        self.end += line.len() as u64;
        self.lines += 1;
        self.table.raise(key, token);
        Ok(())
    }

    /// Forgets keys, and returns their number. They are gone from the disk when this returns.
    pub(super) fn forget_below(&mut self, floor: u64) -> Result<usize, FenceError> {
        self.check_whole()?;
        let mut next = self.table.clone();
        next.forget_below(floor);
        let forgotten = self.table.len() - next.len();
        if next.floor() > self.table.floor() {
            self.rewrite(next)?;
        }
        Ok(forgotten)
    }

    /// Replaces the file by one with this table. If writing that fails, the old one stays in use.
    fn rewrite(&mut self, table: Table) -> Result<(), FenceError> {
        let (file, end) = write_next(&*self.vfs, &table)?;
        self.is_broken = true;
        use_next(&*self.vfs)?;
        self.is_broken = false;
        (self.file, self.end, self.lines, self.table) = (file, end, table.len(), table);
        Ok(())
    }

    fn check_whole(&self) -> Result<(), FenceError> {
        match self.is_broken {
            true => Err(FenceError::Broken { path: path(&*self.vfs, LOG) }),
            false => Ok(()),
        }
    }
}

/// Writes a table to a new file and syncs it. Returns the file and its length.
fn write_next(vfs: &dyn Vfs, table: &Table) -> Result<(Arc<dyn File>, u64), FenceError> {
    let mut bytes = Vec::new();
    Line::FIRST.write(&mut bytes);
    Line::Floor(table.floor()).write(&mut bytes);
    table.iter().for_each(|(key, token)| Line::Token(token, key).write(&mut bytes));
    match vfs.remove(NEXT) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(vfs, "removing", NEXT, error));
        }
        _ => {}
    }
    let file = vfs.create(NEXT).map_err(|error| failed(vfs, "creating", NEXT, error))?;
    file.write_all_at(&bytes, 0).map_err(|error| failed(vfs, "writing", NEXT, error))?;
    file.sync().map_err(|error| failed(vfs, "syncing", NEXT, error))?;
    Ok((file, bytes.len() as u64))
}

/// Replaces the file in use by the new one.
fn use_next(vfs: &dyn Vfs) -> Result<(), FenceError> {
    vfs.rename(NEXT, LOG).map_err(|error| failed(vfs, "renaming", NEXT, error))?;
    vfs.sync_folder().map_err(|error| failed(vfs, "syncing", "", error))
}
