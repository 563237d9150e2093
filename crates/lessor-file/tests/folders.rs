//! The rules for which folders a log is created in, and the errors for folders that cannot hold
//! one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, ErrorKind};
use lessor_file::{FileStore, Settings, check};
use tempfile::TempDir;

fn refusal(folder: &Path) -> (ErrorKind, String) {
    let mut settings = Settings::default();
    settings.lock_wait = Duration::from_millis(20);
    let error = FileStore::builder().settings(settings).open(folder).unwrap_err();
    (error.kind(), error.to_string())
}

/// Returns an empty folder inside of another one.
fn temporary() -> (TempDir, PathBuf) {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("log");
    fs::create_dir(&folder).unwrap();
    (base, folder)
}

fn names(folder: &Path) -> BTreeSet<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// Completes a key and closes the store.
fn complete(store: FileStore, key: &str) {
    let store = Arc::new(store);
    let engine = Engine::new(Arc::clone(&store) as _).unwrap();
    let Acquisition::Acquired(lease) = engine.acquire(key).wait().unwrap() else { panic!("{key} is taken") };
    lease.complete(&key).wait().unwrap();
    store.close().unwrap();
}

/// A log was created in whatever folder was named, even in one with other files, or in the root of
/// the file system. A mistyped path gave an empty log, in which all work was to be done again, and
/// files among others.
#[test]
fn p12_a_log_is_not_created_in_a_folder_with_other_files() {
    for (name, shown) in [
        (OsStr::new("notes.txt"), "notes.txt"),
        (OsStr::new(".hidden"), ".hidden"),
        (OsStr::from_bytes(b"\xff\xfe"), "\u{fffd}"),
        (OsStr::new("Lock"), "Lock"),
        (OsStr::new("superblock.old"), "superblock.old"),
        (OsStr::new("segment-1"), "segment-1"),
        // The file is left from a log that is gone. An empty log must not silently take its place.
        (OsStr::new("torn-0000000001-512"), "torn-0000000001-512"),
        (OsStr::new("cut-0000000001-512"), "cut-0000000001-512"),
    ] {
        let (_base, folder) = temporary();
        fs::write(folder.join(name), "mine").unwrap();
        let (kind, text) = refusal(&folder);
        assert_eq!(kind, ErrorKind::Misconfigured, "{name:?}: {text}");
        assert!(text.contains(shown) && text.contains("log/leases"), "{name:?}: {text}");
        assert_eq!(names(&folder), [name.to_owned()].into(), "nothing is made");
        assert_eq!(fs::read(folder.join(name)).unwrap(), b"mine");
    }
}

#[test]
fn p12_a_log_is_not_created_in_a_folder_with_a_folder_or_a_link() {
    for name in ["home", "lock", "superblock.new", "segment-0000000001"] {
        let (_base, folder) = temporary();
        fs::create_dir(folder.join(name)).unwrap();
        let (kind, text) = refusal(&folder);
        assert_eq!(kind, ErrorKind::Misconfigured, "{name}: {text}");
        assert!(text.contains(&format!("{name}/")), "{name}: {text}");
        assert_eq!(names(&folder), [name.into()].into(), "nothing is made");
    }
    let (_base, folder) = temporary();
    symlink("nowhere", folder.join("link")).unwrap();
    let (kind, text) = refusal(&folder);
    assert!(kind == ErrorKind::Misconfigured && text.contains("link"), "{text}");
}

#[test]
fn p12_the_first_of_many_other_names_is_reported() {
    let (_base, folder) = temporary();
    for number in 0..300 {
        fs::write(folder.join(format!("file-{number:03}")), "").unwrap();
    }
    let (_, text) = refusal(&folder);
    assert!(text.contains("file-000"), "{text}");
}

#[test]
fn p5_files_of_an_interrupted_creation_are_accepted() {
    for left in [&["lock"][..], &["superblock.new"], &["lock", "superblock.new"]] {
        let (_base, folder) = temporary();
        for name in left {
            fs::write(folder.join(name), "1234\n").unwrap();
        }
        complete(FileStore::open(&folder).unwrap(), "a");
        assert!(!folder.join("superblock.new").exists());
    }
}

#[test]
fn p9_a_log_with_other_files_beside_it_opens() {
    let (_base, folder) = temporary();
    complete(FileStore::open(&folder).unwrap(), "a");
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    fs::create_dir(folder.join("lost+found")).unwrap();
    let store = FileStore::open(&folder).unwrap();
    assert_eq!(store.len(), 1);
    complete(store, "b");
    assert_eq!(fs::read(folder.join("notes.txt")).unwrap(), b"mine");
}

/// A log without its superblock is damaged, whatever else the folder holds.
#[test]
fn p5_a_log_without_its_superblock_is_reported_as_damaged() {
    let (_base, folder) = temporary();
    complete(FileStore::open(&folder).unwrap(), "a");
    fs::remove_file(folder.join("superblock")).unwrap();
    fs::write(folder.join("a-note.txt"), "mine").unwrap();
    let (kind, text) = refusal(&folder);
    assert!(kind == ErrorKind::Broken && text.contains("superblock"), "{text}");
}

/// Folders were not noticed, and the backup was written beside them.
#[test]
fn p12_a_backup_is_not_written_to_a_folder_with_a_folder() {
    let (base, folder) = temporary();
    let store = FileStore::open(&folder).unwrap();
    let there = base.path().join("there");
    fs::create_dir_all(there.join("photos")).unwrap();
    let error = store.backup_to(&there).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("photos/"), "{error}");
    assert_eq!(names(&there), ["photos".into()].into());
    store.backup_to(base.path().join("new")).unwrap();
}

/// All of these errors were `Unavailable`, which suggests a later retry, but none of them passes by
/// itself.
#[test]
fn a_path_that_cannot_be_a_log_is_misconfigured_with_a_remedy() {
    let (base, folder) = temporary();
    let base = base.path();
    let file = base.join("file");
    fs::write(&file, "mine").unwrap();
    symlink(&folder, base.join("link")).unwrap();
    symlink("loop", base.join("loop")).unwrap();
    for (path, part) in [
        (file.clone(), "must be a folder"),
        (file.join("below"), "must be a folder"),
        (base.join("link"), "no symbolic link"),
        (base.join("loop"), "no symbolic link"),
        (base.join("loop/below"), "symbolic link"),
        (base.join("no/such"), "make its parent folder first"),
        (base.join("x".repeat(300)), "shorter"),
    ] {
        let (kind, text) = refusal(&path);
        assert_eq!(kind, ErrorKind::Misconfigured, "{}: {text}", path.display());
        assert!(text.contains(part), "{}: {text}", path.display());
    }
    for (path, part) in [
        (&file, "there is no folder"),
        (&base.join("no"), "there is no folder"),
        (&folder, "there is no log"),
    ] {
        let error = check::verify(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

const FOLDER: &str = "LESSOR_FOLDERS_OF_ANOTHER_USER";

/// Permissions do not stop the superuser, who therefore runs this test again as another user.
#[test]
fn a_folder_without_permission_is_misconfigured() {
    if let Some(base) = std::env::var_os(FOLDER).map(PathBuf::from) {
        return without_permission(&base);
    }
    let (base, _) = temporary();
    let base = base.path();
    for name in ["closed", "readable"] {
        complete(FileStore::open(base.join(name)).unwrap(), "a");
    }
    let set_mode = |name: &str, mode| {
        fs::set_permissions(base.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode("readable", 0o555);
    let files: Vec<PathBuf> =
        names(&base.join("readable")).iter().map(|name| base.join("readable").join(name)).collect();
    for file in &files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
    }
    set_mode("closed", 0o000);
    set_mode("", 0o555);
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["a_folder_without_permission_is_misconfigured", "--exact"]);
        match command.env(FOLDER, base).uid(65534).gid(65534).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) => eprintln!("SKIPPED: this program cannot be run by another user: {error}"),
        }
    } else {
        without_permission(base);
    }
    set_mode("", 0o755);
    set_mode("closed", 0o755);
    set_mode("readable", 0o755);
}

fn without_permission(base: &Path) {
    for name in ["new", "closed", "readable"] {
        let (kind, text) = refusal(&base.join(name));
        assert_eq!(kind, ErrorKind::Misconfigured, "{name}: {text}");
        assert!(text.contains("the right to"), "{name}: {text}");
    }
}
