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

use super::args::Options;
use super::{CONTENDERS, Promise, contender, floor};
use crate::report::{median, time};
use crate::{Receipt, Told, key};

/// Who takes part unless the command line names others.
const DEFAULT: [&str; 4] = [floor::LEADER, "lessor", "sqlite", "redb"];
/// How often a store is opened; each time a copy is.
const OPENINGS: usize = 3;
const MARK: &str = "--child";

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Clean,
    Killed,
}

pub(super) fn all(options: &Options, folder: &Path) {
    let records = options.records;
    println!("\nopening {records} finished records, until the first answer; bytes per record");
    println!(
        "  {:<8} {:<8} {:>10} {:>26} {:>12} {:>12} {:>12}",
        "", "after", "open", "", "on disk", "allocated", "resident"
    );
    for contender in &CONTENDERS {
        let name = contender.name;
        let takes_part = options.chooses_contenders() || DEFAULT.contains(&name);
        if takes_part && options.has_contender(name) {
            for end in [End::Clean, End::Killed] {
                match measure(name, folder, records, end) {
                    Ok(line) => println!("{line}"),
                    Err(error) => println!("  {name} is left out: {error}"),
                }
            }
        }
    }
}

fn measure(name: &str, folder: &Path, records: u64, end: End) -> Result<String, String> {
    let root = tempfile::Builder::new().prefix("bench-").tempdir_in(folder).map_err(text)?;
    let filled = root.path().join("filled");
    fs::create_dir(&filled).map_err(text)?;
    Child { task: Task::Fill(end), name: name.to_owned(), folder: filled.clone(), records }.spawn()?;
    let (length, allocated) = size(&filled).map_err(text)?;
    let mut opened = Vec::new();
    for n in 0..OPENINGS {
        let copy = root.path().join(format!("copy-{n}"));
        copy_folder(&filled, &copy).map_err(text)?;
        let child = Child { task: Task::Open, name: name.to_owned(), folder: copy.clone(), records };
        opened.push(child.spawn()?);
        fs::remove_dir_all(copy).map_err(text)?;
    }
    let took = || opened.iter().map(|opened| opened.0);
    let resident = median(opened.iter().map(|opened| opened.1)).unwrap_or_default();
    let per_record = |bytes: u64| bytes as f64 / records as f64;
    let after = match end {
        End::Clean => "close",
        End::Killed => "kill -9",
    };
    Ok(format!(
        "  {name:<8} {after:<8} {:>10} {:>26} {:>12.0} {:>12.0} {:>12.0}",
        time(median(took()).unwrap_or_default()),
        format!("({} – {})", time(took().fold(f64::INFINITY, f64::min)), time(took().fold(0.0, f64::max))),
        per_record(length),
        per_record(allocated),
        resident / records as f64,
    ))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    Fill(End),
    Open,
}

const TASKS: [(&str, Task); 3] =
    [("fill", Task::Fill(End::Clean)), ("fill-and-die", Task::Fill(End::Killed)), ("open", Task::Open)];

/// What a process of its own is to do.
pub(super) struct Child {
    task: Task,
    name: String,
    folder: PathBuf,
    records: u64,
}

impl Child {
    pub(super) fn from_args(arguments: &[OsString]) -> Option<Self> {
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
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let mut told = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut told).map_err(text)?;
        if told.trim().is_empty() {
            let mut why = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut why).map_err(text)?;
            child.wait().map_err(text)?;
            return Err(why.trim().to_owned());
        }
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

    pub(super) fn run(&self) -> Result<(), String> {
        let contender = contender(&self.name).ok_or("there is no such contender")?;
        let (before, begun) = (resident(), Instant::now());
        // What is filled in is handed to the operating system; what is opened promises what stores promise by default.
        let promise = if self.task == Task::Open { Promise::Disk } else { Promise::Process };
        let guard = (contender.open)(&self.folder, promise)?;
        match self.task {
            Task::Open => {
                let last = key(0, self.records - 1);
                assert!(
                    matches!(guard.run(&last, &Receipt::new(0)), Told::Replayed(_)),
                    "the record is there"
                );
                tell(begun.elapsed(), resident() - before);
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
                std::thread::sleep(Duration::MAX);
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
