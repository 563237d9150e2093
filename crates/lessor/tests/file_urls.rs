//! The URLs of the file store: their folders, their durability, and refused URLs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::path::Path;
use std::process::Command;

use lessor::{Acquisition, Durability, Engine, ErrorKind};
use tempfile::TempDir;

fn temporary() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn refusal(url: &str) -> (ErrorKind, String) {
    let error = lessor::open(url).map(drop).unwrap_err();
    (error.kind(), error.to_string())
}

fn complete(engine: &Engine, key: &str) {
    let Acquisition::Acquired(lease) = engine.acquire(key).wait().unwrap() else { panic!("{key} is taken") };
    lease.complete(&1).wait().unwrap();
}

#[test]
fn one_slash_and_three_name_the_same_folder() {
    let base = temporary();
    let path = base.path().join("x");
    let path = path.to_str().unwrap();
    assert!(path.starts_with('/'));
    complete(&lessor::open(&format!("file:{path}")).unwrap(), "a");
    let engine = lessor::open(&format!("file://{path}")).unwrap();
    assert!(engine.result("a").wait().unwrap().is_some());
}

/// Runs itself in another process with another current folder, because the current folder belongs
/// to a process.
#[test]
fn a_relative_folder_is_below_the_current_one() {
    const INSIDE: &str = "LESSOR_FILE_URLS_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        complete(&lessor::open("file:./x").unwrap(), "a");
        assert!(lessor::open("file:x").unwrap().result("a").wait().unwrap().is_some());
        return;
    }
    let base = temporary();
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["a_relative_folder_is_below_the_current_one", "--exact"]).env(INSIDE, "1");
    let output = command.current_dir(base.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(base.path().join("x/superblock").is_file());
}

#[test]
fn p8_the_durability_follows_the_url() {
    let base = temporary();
    for (query, durability) in [
        ("", Durability::Disk),
        ("?", Durability::Disk),
        ("?sync=disk", Durability::Disk),
        ("?sync=process", Durability::Process),
    ] {
        let engine = lessor::open(&format!("file:{}{query}", base.path().join("x").display())).unwrap();
        assert_eq!(engine.durability(), durability, "{query}");
    }
}

#[test]
fn p12_invalid_settings_and_folders_are_refused_before_anything_is_created() {
    let base = temporary();
    let folder = base.path().join("x");
    for (query, named) in [
        ("?sync=never", "sync=never"),
        ("?cache=1", "cache=1"),
        ("?sync", "\"sync\""),
        ("?sync=disk&a=b", "a=b"),
    ] {
        let (kind, text) = refusal(&format!("file:{}{query}", folder.display()));
        assert_eq!(kind, ErrorKind::Invalid, "{query}");
        assert!(text.contains(named) && text.contains("sync=process"), "{query}: {text}");
    }
    for url in ["file:", "file://", "file:?sync=disk"] {
        let (kind, text) = refusal(url);
        assert_eq!(kind, ErrorKind::Invalid, "{url}");
        assert!(text.contains("file:./leases"), "{url}: {text}");
    }
    assert!(!folder.exists());
}

/// The last of two contradictory settings took effect, and an empty value or an invalid escape was
/// taken as a value. Each is refused with the name of the setting, and no folder is created.
#[test]
fn p12_contradictory_and_empty_settings_are_refused_with_their_name() {
    let base = temporary();
    let folder = base.path().join("x");
    for (query, named) in [
        ("?sync=disk&sync=process", "`sync` is set more than once"),
        ("?sync=process&sync=process", "`sync` is set more than once"),
        ("?sync=", "\"sync=\""),
        ("?Sync=disk", "Sync=disk"),
        ("?sync=disk&", "\"\""),
        ("?&sync=disk", "\"\""),
        ("?sync=disk?sync=process", "sync=disk?sync=process"),
        ("?sync=%zzdisk", "%zzdisk"),
        ("?sync=disk#sync=process", "%23"),
        ("?sync=disk\n", "line break"),
        (" ", "ends with a space"),
    ] {
        let (kind, text) = refusal(&format!("file:{}{query}", folder.display()));
        assert_eq!(kind, ErrorKind::Invalid, "{query:?}");
        assert!(text.contains(named), "{query:?}: {text}");
    }
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    let (kind, text) = refusal("memory:?sync=disk");
    assert!(kind == ErrorKind::Invalid && text.contains("takes no arguments"), "{text}");
}

#[test]
fn p12_escapes_in_a_path_are_decoded() {
    let base = temporary();
    complete(&lessor::open(&format!("file:{}/a%20%3f%25", base.path().display())).unwrap(), "a");
    assert!(base.path().join("a ?%/superblock").is_file());
}

/// `file:~/x` required the parent folder `~`, and `file:~` created a folder with that name.
/// `file:///` created a log in the root of the file system, and `file://x` one in the folder `x`,
/// although URLs have the name of a host there.
#[test]
fn p12_misleading_urls_are_refused_with_the_intended_form() {
    for (url, named) in [
        ("file:~", "file:/home/NAME/leases"),
        ("file:~/x", "file:./~/x"),
        ("file:~somebody/x", "file:/home/NAME/leases"),
        ("file:///", "the root of the file system"),
        ("file:/", "the root of the file system"),
        ("file:/..//.?sync=process", "the root of the file system"),
        ("file:%2F", "the root of the file system"),
        ("file://no-such-folder", "write `file:no-such-folder`"),
        ("file://localhost/tmp/x", "names a host"),
    ] {
        let (kind, text) = refusal(url);
        assert_eq!(kind, ErrorKind::Invalid, "{url}");
        assert!(text.contains(named), "{url}: {text}");
    }
    assert!(!Path::new("~").exists() && !Path::new("/superblock").exists());
}

#[test]
fn p12_an_impossible_folder_is_refused_with_advice() {
    let base = temporary();
    let (kind, text) = refusal(&format!("file:{}", base.path().join("no/such").display()));
    assert_eq!(kind, ErrorKind::Misconfigured);
    assert!(text.contains("no/such") && text.contains("make its parent folder first"), "{text}");
    let file = base.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let (kind, text) = refusal(&format!("file:{}", file.display()));
    assert_eq!(kind, ErrorKind::Misconfigured);
    assert!(text.contains("must be a folder"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn p9_a_folder_is_open_once_at_a_time_and_free_when_its_engine_is_dropped() {
    let base = temporary();
    let url = format!("file:{}", base.path().join("x").display());
    let engine = lessor::open(&url).unwrap();
    complete(&engine, "a");
    let (kind, text) = refusal(&url);
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    complete(&engine, "b");
    drop(engine);
    for _ in 0..3 {
        assert!(engine_with_both(&url).is_some());
    }
}

/// Opens the folder and checks its records. Returns `None` if the folder is open elsewhere.
fn engine_with_both(url: &str) -> Option<Engine> {
    let engine = lessor::open(url).ok()?;
    assert!(engine.result("a").wait().unwrap().is_some());
    assert!(engine.result("b").wait().unwrap().is_some());
    Some(engine)
}

/// Opening waits for a while until the previous owner releases the folder.
#[test]
fn p9_opening_waits_until_a_folder_is_released() {
    let base = temporary();
    let url = format!("file:{}", base.path().join("x").display());
    let engine = lessor::open(&url).unwrap();
    let second = std::thread::spawn({
        let url = url.clone();
        move || lessor::open(&url).map(drop)
    });
    drop(engine);
    second.join().unwrap().unwrap();
}

#[test]
fn p12_a_key_is_never_a_path() {
    let base = temporary();
    let folder = base.path().join("a/b/x");
    std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let engine = lessor::open(&format!("file:{}", folder.display())).unwrap();
    let keys =
        ["../../etc/passwd", "/etc/passwd", "..", ".", "superblock", "lock", "a/b", "a\\b", "~", "$HOME"];
    for key in keys {
        complete(&engine, key);
    }
    for key in keys {
        assert!(engine.result(key).wait().unwrap().is_some(), "{key}");
    }
    drop(engine);
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(base.path()), ["a"]);
    assert_eq!(names(&base.path().join("a")), ["b"]);
    assert_eq!(names(&base.path().join("a/b")), ["x"]);
    for name in names(&folder) {
        let is_known = ["lock", "superblock"].contains(&&*name) || name.starts_with("segment-");
        assert!(is_known, "{name}");
    }
}
