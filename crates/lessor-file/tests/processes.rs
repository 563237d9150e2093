//! One process at a time has the log open, only the owner has access to the files, and symbolic
//! links are not followed.
//!
//! A write from a forked child is not tested here: safe Rust cannot fork without executing another
//! program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, ErrorKind};
use lessor_file::vfs::{Disk, Vfs};
use lessor_file::{FileStore, Settings};
use rustix::fs::Mode;
use tempfile::TempDir;

const FOLDER: &str = "LESSOR_PROCESSES_FOLDER";

/// The child process. It has the folder open until its standard input ends. Not a test by itself.
#[test]
fn the_child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    rustix::process::umask(Mode::empty());
    let engine = engine(open(Path::new(&folder)).unwrap());
    complete(&engine, "by the child");
    std::io::stdout().write_all(b"\nready\n").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn child(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_child", "--exact", "--nocapture"]).env(FOLDER, folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "the child did not get to open the log");
    child
}

fn open(folder: &Path) -> Result<FileStore, Error> {
    let mut settings = Settings::default();
    settings.lock_wait = Duration::from_millis(20);
    FileStore::builder().settings(settings).open(folder)
}

fn engine(store: FileStore) -> Engine {
    Engine::new(Arc::new(store)).unwrap()
}

fn complete(engine: &Engine, key: &str) {
    let Acquisition::Acquired(lease) = engine.acquire(key).wait().unwrap() else { panic!("{key} is taken") };
    lease.complete(&key).wait().unwrap();
}

fn refusal(folder: &Path) -> (ErrorKind, String) {
    let error = open(folder).unwrap_err();
    (error.kind(), error.to_string())
}

/// Returns the path of a folder for a log that does not exist yet.
fn temporary() -> (TempDir, PathBuf) {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("log");
    (base, folder)
}

#[test]
fn p9_a_second_process_learns_which_one_has_the_log_and_gets_it_once_that_is_killed() {
    let (_base, folder) = temporary();
    let mut first = child(&folder);
    let (kind, text) = refusal(&folder);
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains(&format!("process {}", first.id())), "{text}");
    assert!(text.contains("only one at a time"), "{text}");
    first.kill().unwrap();
    first.wait().unwrap();
    let engine = engine(open(&folder).unwrap());
    assert!(engine.result("by the child").wait().unwrap().is_some());
    let (_, text) = refusal(&folder);
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
}

type Mishap = (&'static str, fn(&Path) -> PathBuf);

/// Changes of the file `lock` and of the name of the folder while a log is open. Each returns the
/// new name of the folder.
const MISHAPS: [Mishap; 5] = [
    ("the file is deleted", |folder| {
        fs::remove_file(folder.join("lock")).unwrap();
        folder.to_owned()
    }),
    ("the file is replaced by another", |folder| {
        fs::write(folder.join("lock.new"), "1\n").unwrap();
        fs::rename(folder.join("lock.new"), folder.join("lock")).unwrap();
        folder.to_owned()
    }),
    ("the file is renamed", |folder| {
        fs::rename(folder.join("lock"), folder.join("lock.old")).unwrap();
        folder.to_owned()
    }),
    ("the file is emptied", |folder| {
        fs::write(folder.join("lock"), "").unwrap();
        folder.to_owned()
    }),
    ("the folder is renamed, without the file", |folder| {
        fs::remove_file(folder.join("lock")).unwrap();
        let moved = folder.with_extension("moved");
        fs::rename(folder, &moved).unwrap();
        moved
    }),
];

/// Only the file `lock` was locked. Deleting or replacing it while the log was open let a second
/// process in. Both acknowledged operations on the same keys, and afterwards the log was refused as
/// damaged.
#[test]
fn p1_an_open_log_is_not_opened_again_whatever_happens_to_its_lock_file() {
    for (what, happen) in MISHAPS {
        let (_base, folder) = temporary();
        let mut first = child(&folder);
        let folder = happen(&folder);
        let refused = open(&folder).err().map(|error| error.to_string());
        assert!(
            refused.is_some_and(|text| text.contains("only one at a time")),
            "in another process, {what}"
        );
        first.kill().unwrap();
        first.wait().unwrap();

        let store = open(&folder).unwrap();
        let folder = happen(&folder);
        let refused = open(&folder).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("only one at a time")), "in one process, {what}");
        store.close().unwrap();
        let engine = engine(open(&folder).unwrap());
        assert!(engine.result("by the child").wait().unwrap().is_some(), "{what}");
    }
}

/// One disk can be given to several builders.
#[test]
fn p1_an_open_log_is_not_opened_again_with_the_same_disk() {
    let (_base, folder) = temporary();
    let disk: Arc<dyn Vfs> = Arc::new(Disk::open(&folder).unwrap());
    let builder = || {
        let mut settings = Settings::default();
        settings.lock_wait = Duration::ZERO;
        FileStore::builder().settings(settings).open_on(Arc::clone(&disk))
    };
    let store = builder().unwrap();
    fs::remove_file(folder.join("lock")).unwrap();
    assert!(builder().is_err());
    store.close().unwrap();
    builder().unwrap();
}

/// A child has the log for a moment, and another process waits for it.
#[test]
fn p9_a_process_that_waits_for_the_log_gets_it_when_the_process_before_ends() {
    let (_base, folder) = temporary();
    let mut first = child(&folder);
    let mut settings = Settings::default();
    settings.lock_wait = Duration::from_mins(1);
    let waiter = std::thread::spawn({
        let folder = folder.clone();
        move || FileStore::builder().settings(settings).open(folder).map(engine)
    });
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    let engine = waiter.join().unwrap().unwrap();
    assert!(engine.result("by the child").wait().unwrap().is_some());
}

/// A program that is being started has copies of all open files for a moment, and of the lock with
/// them. Closing the log did not release the folder then.
#[test]
fn p9_a_closed_log_is_free_at_once_while_other_programs_are_being_started() {
    let (_base, folder) = temporary();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("--list").stdout(Stdio::null()).status().unwrap();
            }
        });
        let mut settings = Settings::default();
        settings.lock_wait = Duration::ZERO;
        let refused =
            (0..40).find_map(|_| FileStore::builder().settings(settings.clone()).open(&folder).err());
        is_done.store(true, Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}

#[test]
fn p12_only_the_owner_has_access_to_the_files_even_with_an_empty_umask() {
    let (_base, folder) = temporary();
    // With a umask of 0.
    let mut child = child(&folder);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder), 0o700);
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(names.len() >= 3, "{names:?}");
    for path in names {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn p12_a_folder_that_is_a_symbolic_link_is_refused() {
    let (base, folder) = temporary();
    drop(open(&folder).unwrap());
    let link = base.path().join("link");
    symlink(&folder, &link).unwrap();
    let (kind, text) = refusal(&link);
    assert_eq!(kind, ErrorKind::Misconfigured);
    assert!(text.contains("no symbolic link"), "{text}");
    // A link to a missing folder creates nothing there.
    let nowhere = base.path().join("nowhere");
    symlink(base.path().join("elsewhere"), &nowhere).unwrap();
    assert!(open(&nowhere).is_err());
    assert!(!base.path().join("elsewhere").exists());
}

#[test]
fn p12_a_file_of_the_log_that_is_a_symbolic_link_is_refused_and_its_target_is_unchanged() {
    for name in ["superblock", "lock", "segment-0000000001"] {
        let (base, folder) = temporary();
        let store = Arc::new(open(&folder).unwrap());
        complete(&Engine::new(Arc::clone(&store) as _).unwrap(), "a");
        store.close().unwrap();
        let outside = base.path().join("outside");
        fs::rename(folder.join(name), &outside).unwrap();
        symlink(&outside, folder.join(name)).unwrap();
        let before = fs::read(&outside).unwrap();
        let (kind, text) = refusal(&folder);
        assert!(matches!(kind, ErrorKind::Misconfigured | ErrorKind::Broken), "{name}: {kind:?}");
        assert!(text.contains(name), "{name}: {text}");
        assert!(fs::read(&outside).unwrap() == before, "{name}");
        // With the original file the log opens.
        fs::remove_file(folder.join(name)).unwrap();
        fs::rename(&outside, folder.join(name)).unwrap();
        let engine = engine(open(&folder).unwrap());
        assert!(engine.result("a").wait().unwrap().is_some(), "{name}");
    }
}

/// The links are there before the log is created. Nothing is written through them.
#[test]
fn p12_symbolic_links_in_a_new_folder_are_not_followed() {
    for name in ["superblock", "superblock.new", "lock", "segment-0000000001"] {
        let (base, folder) = temporary();
        fs::create_dir(&folder).unwrap();
        let outside = base.path().join("outside");
        fs::write(&outside, "mine").unwrap();
        symlink(&outside, folder.join(name)).unwrap();
        let opened = open(&folder);
        assert!(opened.is_err() || name == "superblock.new", "{name}");
        drop(opened);
        assert_eq!(fs::read(&outside).unwrap(), b"mine", "{name}");
        fs::remove_file(&outside).unwrap();
        drop(open(&folder));
        assert!(!outside.exists(), "{name}");
    }
}

#[test]
fn p12_a_folder_without_a_parent_is_refused_with_a_remedy() {
    let (base, _) = temporary();
    let (kind, text) = refusal(&base.path().join("no/such"));
    assert_eq!(kind, ErrorKind::Misconfigured);
    assert!(text.contains("make its parent folder first"), "{text}");
    assert!(!base.path().join("no").exists());
}
