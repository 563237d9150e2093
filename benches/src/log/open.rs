//! Opening a store with many finished records: how long until it gives its first answer, what it holds in memory then, and
//! what it takes on the disk. After a clean close, and after the process was killed while the store was open.
//!
//! Each store is filled by one process and opened by another, so that nothing is left over in memory. The files are in
//! the system's cache.

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

/// A store with so many finished records, to be opened again and again.
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

    /// Opens a copy. Returns the seconds that took, and the bytes of memory that it holds.
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

/// What a process of its own is to do.
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

    /// Runs it in a process of its own, and gives back the seconds and the bytes that it tells.
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
        let mut told = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut told).map_err(text)?;
        if self.task == Task::Fill(End::Killed) {
            child.kill().map_err(text)?;
        }
        child.wait().map_err(text)?;
        let numbers: Vec<f64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [seconds, bytes] => Ok((seconds, bytes)),
            _ => Err(format!("the process said {told:?}")),
        }
    }

    pub(crate) fn run(&self) -> Result<(), String> {
        let (before, begun) = (resident(), Instant::now());
        // What is filled in is handed to the operating system; what is opened promises what stores promise by default.
        let promise = if self.task == Task::Open { Promise::Disk } else { Promise::Process };
        let guard = super::open(&self.name, &self.folder, promise)?;
        match self.task {
            Task::Open => {
                let last = self.records - 1;
                assert_eq!(guard.shown(&key(last)), Some(result(last)), "the record is there");
                tell(begun.elapsed(), resident().saturating_sub(before));
            }
            Task::Fill(End::Clean) => {
                guard.fill(self.records);
                drop(guard);
                tell(begun.elapsed(), 0);
            }
            Task::Fill(End::Killed) => {
                guard.fill(self.records);
                // What runs in the background comes to its end, so that an idle store is killed.
                std::thread::sleep(Duration::from_secs(2));
                tell(begun.elapsed(), 0);
                // Until it is killed, or whoever wanted to do that is gone.
                let _ = std::io::stdin().read(&mut [0]);
            }
        }
        Ok(())
    }
}

fn tell(took: Duration, bytes: u64) {
    println!("{} {bytes}", took.as_secs_f64());
}

/// This process's resident bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// The files' lengths and what they have allocated.
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
            // Or whoever opens it would pay for the copying with its first sync.
            File::open(target)?.sync_all()?;
        }
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// lessor with its log, which is closed in the end.
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
    /// Many at once, who share commits.
    fn fill(&self, count: u64) {
        const AT_ONCE: usize = 4096;
        let all: Vec<u64> = (0..count).collect();
        for some in all.chunks(AT_ONCE) {
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
