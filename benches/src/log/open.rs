//! Opening a store with many completed records: the time until its first answer, its memory then,
//! and its size on the disk. After a clean close, and after the process was killed while the store
//! was open.
//!
//! Each store is filled by one process and opened by another, so that nothing remains in memory.
//! The files are in the system's cache.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Filled, Promise, key, result};
use crate::lessor::{engine, log};
use crate::suite::cases::End;

const MARK: &str = "--child";

/// A store with completed records, to be opened repeatedly.
pub(crate) struct Full {
    name: String,
    folder: PathBuf,
    records: u64,
    /// Bytes on the disk.
    pub(crate) allocated: u64,
}

impl Full {
    pub(crate) fn make(name: &str, folder: &Path, records: u64, end: End) -> Result<Self, String> {
        let filled = folder.join("filled");
        fs::create_dir(&filled).map_err(text)?;
        Child { task: Task::Fill(end), name: name.to_owned(), folder: filled.clone(), records }.spawn()?;
        let (_, allocated) = size(&filled).map_err(text)?;
        Ok(Self { name: name.to_owned(), folder: folder.to_owned(), records, allocated })
    }

    /// Opens a copy. Returns the time in seconds, and the bytes of memory that the store takes.
    pub(crate) fn open(&self) -> Result<(f64, f64), String> {
        let (filled, copy) = (self.folder.join("filled"), self.folder.join("copy"));
        copy_folder(&filled, &copy).map_err(text)?;
        let (name, records) = (self.name.clone(), self.records);
        let opened = Child { task: Task::Open, name, folder: copy.clone(), records }.spawn()?;
        fs::remove_dir_all(copy).map_err(text)?;
        Ok(opened)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    Fill(End),
    Open,
}

const TASKS: [(&str, Task); 3] =
    [("fill", Task::Fill(End::Clean)), ("fill-and-die", Task::Fill(End::Killed)), ("open", Task::Open)];

/// A task for a separate process.
pub(crate) struct Child {
    task: Task,
    name: String,
    folder: PathBuf,
    records: u64,
}

impl Child {
    pub(crate) fn from_args(arguments: &[OsString]) -> Option<Self> {
        let [mark, task, name, folder, records] = arguments else { return None };
        let (_, task) = TASKS.iter().find(|(word, _)| task == word)?;
        let (name, folder) = (name.to_str()?.to_owned(), folder.into());
        (mark == MARK).then_some(Self { task: *task, name, folder, records: records.to_str()?.parse().ok()? })
    }

    /// Runs the task in a separate process. Returns the seconds and the bytes that it prints.
    fn spawn(&self) -> Result<(f64, f64), String> {
        let word = TASKS.iter().find(|(_, task)| *task == self.task).map(|(word, _)| *word).expect("a task");
        let own = std::env::current_exe().map_err(text)?;
        let mut child = Command::new(own)
            .args([MARK, word, &self.name])
            .arg(&self.folder)
            .arg(self.records.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(text)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).map_err(text)?;
        if self.task == Task::Fill(End::Killed) {
            child.kill().map_err(text)?;
        }
        child.wait().map_err(text)?;
        let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [seconds, bytes] => Ok((seconds, bytes)),
            _ => Err(format!("the process printed {line:?}")),
        }
    }

    pub(crate) fn run(&self) -> Result<(), String> {
        let (before, begun) = (resident(), Instant::now());
        // Filling only passes the data to the operating system. An opened store has the default
        // durability.
        let promise = if self.task == Task::Open { Promise::Disk } else { Promise::Process };
        let guard = super::open(&self.name, &self.folder, promise)?;
        match self.task {
            Task::Open => {
                let last = self.records - 1;
                assert_eq!(guard.shown(&key(last)), Some(result(last)), "the record is there");
                print(begun.elapsed(), resident().saturating_sub(before));
            }
            Task::Fill(End::Clean) => {
                guard.fill(self.records);
                drop(guard);
                print(begun.elapsed(), 0);
            }
            Task::Fill(End::Killed) => {
                guard.fill(self.records);
                // Wait for background work to finish, so that an idle store is killed.
                std::thread::sleep(Duration::from_secs(2));
                print(begun.elapsed(), 0);
                // Wait to be killed, or for the parent process to end.
                let _ = std::io::stdin().read(&mut [0]);
            }
        }
        Ok(())
    }
}

fn print(took: Duration, bytes: u64) {
    println!("{} {bytes}", took.as_secs_f64());
}

/// Returns the resident bytes of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Returns the total of the files' lengths and of their allocated bytes.
fn size(folder: &Path) -> std::io::Result<(u64, u64)> {
    let (mut length, mut allocated) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        let (more, more_allocated) =
            if about.is_dir() { size(&entry.path())? } else { (about.len(), about.blocks() * 512) };
        length += more;
        allocated += more_allocated;
    }
    Ok((length, allocated))
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            // Otherwise the first sync of the opened store would include the copying.
            File::open(target)?.sync_all()?;
        }
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// lessor with its log, which is closed when this is dropped.
pub(super) struct Lessor(lessor::Engine, std::sync::Arc<lessor::FileStore>);

impl Lessor {
    pub(super) fn open(folder: &Path, promise: Promise) -> Result<Self, String> {
        let store = log(folder, promise)?;
        Ok(Self(engine(store.clone(), |_| {})?, store))
    }
}

impl Drop for Lessor {
    fn drop(&mut self) {
        self.1.close().expect("the log can be closed");
    }
}

impl Filled for Lessor {
    /// Completes many keys concurrently, which share commits.
    fn fill(&self, count: u64) {
        const RECORDS_PER_TRANSACTION: usize = 4096;
        let all: Vec<u64> = (0..count).collect();
        for some in all.chunks(RECORDS_PER_TRANSACTION) {
            let keys: Vec<String> = some.iter().map(|n| key(*n)).collect();
            let asked: Vec<_> = keys.iter().map(|key| self.0.acquire(key).send()).collect();
            let granted = |answer| match answer {
                Ok(lessor::Acquisition::Acquired(lease)) => lease,
                other => panic!("{other:?}"),
            };
            let leases: Vec<lessor::Lease> = asked.into_iter().map(|asked| granted(asked.wait())).collect();
            let done: Vec<_> =
                leases.iter().zip(some).map(|(lease, n)| lease.complete_bytes(&result(*n))).collect();
            done.into_iter().for_each(|done| assert!(done.wait().is_ok()));
        }
    }

    fn shown(&self, key: &str) -> Option<Vec<u8>> {
        let view = self.0.result(key).wait().expect("read")?;
        view.result_bytes().map(<[u8]>::to_vec)
    }
}
