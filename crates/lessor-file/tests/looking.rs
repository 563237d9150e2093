//! Looking at a log in a real folder changes nothing, needs no right to change anything, and finds what an opening finds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, StoreError};
use lessor_file::check::{self, Start, Verdict};
use lessor_file::{FileStore, Settings};
use tempfile::TempDir;

const TOOL: &str = env!("CARGO_BIN_EXE_lessor-file");

fn open(folder: &Path) -> Result<Arc<FileStore>, Error> {
    let mut settings = Settings::default();
    settings.first_segment = 4 << 10;
    settings.max_segment = 8 << 10;
    settings.lock_wait = Duration::from_millis(20);
    FileStore::builder().settings(settings).open(folder).map(Arc::new)
}

fn complete(store: &Arc<FileStore>, number: u32) {
    let engine = Engine::new(Arc::clone(store) as _).unwrap();
    for number in 0..number {
        let key = format!("key {number}");
        let Acquisition::Acquired(lease) = engine.acquire(&key).wait().unwrap() else { panic!("{key}") };
        lease.complete(&"x".repeat(200)).wait().unwrap();
    }
}

/// A folder with a log that was closed, and one that looks as if its process had been killed.
fn logs() -> (TempDir, [PathBuf; 2]) {
    let base = tempfile::tempdir().unwrap();
    let [closed, killed] = ["closed", "killed"].map(|name| base.path().join(name));
    let store = open(&closed).unwrap();
    complete(&store, 20);
    store.compact().unwrap();
    complete(&store, 0);
    fs::create_dir(&killed).unwrap();
    for entry in fs::read_dir(&closed).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), killed.join(entry.file_name())).unwrap();
    }
    store.close().unwrap();
    (base, [closed, killed])
}

/// Content, and when it and everything else about the file was changed last. The folder itself has no content.
type State = BTreeMap<PathBuf, (Vec<u8>, [i64; 5])>;

fn state(folder: &Path) -> State {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let times = |path: &Path| {
        let found = fs::symlink_metadata(path).unwrap();
        [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec(), found.size().cast_signed()]
    };
    let mut state: State =
        names.map(|path| (path.clone(), (fs::read(&path).unwrap(), times(&path)))).collect();
    state.insert(folder.to_owned(), (Vec::new(), times(folder)));
    state
}

/// The tool said that it changes nothing, and wrote its process id to `lock`, which it made if it was not there.
#[test]
fn p12_looking_at_a_log_changes_nothing_and_makes_no_lock() {
    let (_base, folders) = logs();
    for (folder, has_lock) in folders.iter().flat_map(|folder| [(folder, true), (folder, false)]) {
        if !has_lock {
            fs::remove_file(folder.join("lock")).unwrap();
        }
        let before = state(folder);
        assert!(check::verify(folder).unwrap().is_sound());
        let mut records = 0;
        check::dump(folder, |_| records += 1).unwrap();
        assert_eq!(records, 20);
        assert!(check::plan(folder, Start::Damage).unwrap().is_none());
        let plan = check::plan(folder, Start::Lsn(1_000_000));
        assert!(matches!(plan, Ok(None)), "{plan:?}");
        assert!(state(folder) == before, "{}, lock: {has_lock}", folder.display());
        assert_eq!(folder.join("lock").exists(), has_lock);
    }
}

#[test]
fn p12_a_log_that_is_open_is_not_looked_at_and_one_that_is_looked_at_may_be_looked_at_again() {
    let (_base, [folder, _]) = logs();
    let store = open(&folder).unwrap();
    let error = check::verify(&folder).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    store.close().unwrap();
    check::dump(&folder, |_| assert!(check::verify(&folder).unwrap().is_sound())).unwrap();
}

/// This user may read the folder, and nothing else. Root may do everything, so it becomes another user.
#[test]
fn p12_a_copy_that_can_only_be_read_is_verified() {
    let (base, folders) = logs();
    let tool = base.path().join("tool");
    fs::copy(TOOL, &tool).unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(base.path(), 0o755);
    mode(&tool, 0o755);
    for folder in &folders {
        for entry in fs::read_dir(folder).unwrap() {
            mode(&entry.unwrap().path(), 0o444);
        }
        mode(folder, 0o555);
        for command in ["verify", "dump"] {
            let mut tool = Command::new(&tool);
            if rustix::process::getuid().is_root() {
                tool.uid(65_534);
            }
            let output = tool.arg(command).arg(folder).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command}: {said}");
        }
        // So that it can be removed.
        mode(folder, 0o755);
    }
}

/// Verifying such a log called it sound, and opening it failed.
#[test]
fn p12_a_folder_in_the_place_of_a_file_is_found_by_verifying_as_by_opening() {
    let (_base, folders) = logs();
    for folder in &folders {
        let segments = fs::read_dir(folder).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix("segment-")?.parse::<u64>().ok()
        });
        let last = segments.max().unwrap();
        let names = [
            format!("segment-{:010}", last + 1),
            format!("segment-{:010}", last + 7),
            "segment-0000000000".to_owned(),
            "checkpoint-0000000099".to_owned(),
            "superblock.new".to_owned(),
        ];
        for name in names {
            let path = folder.join(&name);
            fs::create_dir(&path).unwrap();
            let Verdict::Damaged(damage) = check::verify(folder).unwrap().verdict else {
                panic!("{name} is said to be sound")
            };
            assert_eq!(damage.at.file, name);
            assert!(damage.reason.contains("it is a folder"), "{}", damage.reason);
            match open(folder) {
                Err(Error::Store(StoreError::Corrupt { place, .. })) => {
                    assert!(place.contains(&name), "{place}");
                }
                other => panic!("{name}: {other:?}"),
            }
            fs::remove_dir(&path).unwrap();
        }
        assert!(check::verify(folder).unwrap().is_sound());
        open(folder).unwrap().close().unwrap();
    }
}

/// A folder of some other name is nobody's business.
#[test]
fn a_folder_that_the_log_has_no_use_for_is_left_alone() {
    let (_base, [folder, _]) = logs();
    for name in ["notes", "segment-1", "checkpoint-x", "torn-0000000001-512"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    assert!(check::verify(&folder).unwrap().is_sound());
    open(&folder).unwrap().close().unwrap();
    assert!(folder.join("notes").is_dir());
}

/// The folder above may be passed through and not be read, so it cannot be synced by itself.
#[test]
fn p5_a_log_below_a_folder_that_cannot_be_read_opens() {
    const FOLDER: &str = "LESSOR_LOOKING_FOLDER";
    const NAME: &str = "p5_a_log_below_a_folder_that_cannot_be_read_opens";
    if let Some(folder) = std::env::var_os(FOLDER) {
        complete(&open(Path::new(&folder)).unwrap(), 1);
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let (program, above) = (base.path().join("program"), base.path().join("above"));
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let folder = above.join("log");
    fs::create_dir_all(&folder).unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(base.path(), 0o755);
    mode(&program, 0o755);
    let mut child = Command::new(&program);
    child.args([NAME, "--exact", "--nocapture"]).env(FOLDER, &folder).current_dir("/");
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(&folder, Some(65_534), None).unwrap();
        child.uid(65_534);
    }
    mode(&above, 0o311);
    let output = child.output().unwrap();
    mode(&above, 0o755);
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(folder.join("superblock").exists(), "{said}");
}
