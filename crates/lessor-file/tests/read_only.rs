//! Checking a log in a real folder changes nothing, needs no write access, and finds what an
//! opening finds.
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

use lessor_core::{Error, StoreError};
use lessor_file::check::{self, TruncateFrom, Verdict};
use logs::{complete, logs, open};

#[path = "support/logs.rs"]
mod logs;

/// The content of each file, and its times. The folder itself has no content.
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

/// The tool was documented to change nothing, but wrote its process id to `lock`, which it created
/// if necessary.
#[test]
fn p12_checking_a_log_changes_nothing_and_creates_no_lock() {
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
        assert!(check::plan(folder, TruncateFrom::Damage).unwrap().is_none());
        let plan = check::plan(folder, TruncateFrom::Lsn(1_000_000));
        assert!(matches!(plan, Ok(None)), "{plan:?}");
        assert!(state(folder) == before, "{}, lock: {has_lock}", folder.display());
        assert_eq!(folder.join("lock").exists(), has_lock);
    }
}

#[test]
fn p12_an_open_log_is_not_checked_and_a_log_can_be_checked_by_several_at_once() {
    let (_base, [folder, _]) = logs();
    let store = open(&folder).unwrap();
    let error = check::verify(&folder).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    store.close().unwrap();
    check::dump(&folder, |_| assert!(check::verify(&folder).unwrap().is_sound())).unwrap();
}

/// Verifying such a log reported it as sound, and opening it failed.
#[test]
fn p12_a_folder_in_the_place_of_a_file_is_found_by_verify_as_by_an_opening() {
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
                panic!("{name} is reported as sound")
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

/// Folders with other names are ignored.
#[test]
fn folders_with_other_names_are_ignored() {
    let (_base, [folder, _]) = logs();
    for name in ["notes", "segment-1", "checkpoint-x", "torn-0000000001-512"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    assert!(check::verify(&folder).unwrap().is_sound());
    open(&folder).unwrap().close().unwrap();
    assert!(folder.join("notes").is_dir());
}

/// The folder above may be traversable and not readable, so that it cannot be synced itself.
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
    let output_text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output_text}");
    assert!(folder.join("superblock").exists(), "{output_text}");
}
