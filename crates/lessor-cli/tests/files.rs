//! The commands for the files of a file store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::Value;
use support::{LESSOR, Place, acquire, ran};

/// Returns a folder with a log of one segment.
fn log() -> Place {
    let place = Place::file();
    let engine = place.engine();
    for number in 0..5 {
        acquire(&engine, &format!("key {number}")).complete(&number).wait().unwrap();
    }
    engine.close(std::time::Duration::from_secs(10)).wait().unwrap();
    place
}

/// Damages the log near the end of its last frame.
fn damage(place: &Place) {
    let segments = fs::read_dir(place.leases()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = segments.filter(|path| path.to_string_lossy().contains("segment-")).collect();
    segments.sort();
    let segment = segments.first().unwrap();
    let mut bytes = fs::read(segment).unwrap();
    let at = bytes.windows(5).position(|window| window == b"key 1").unwrap();
    bytes[at] ^= 1;
    fs::write(segment, bytes).unwrap();
}

/// The user has read access only. Root can write everywhere, so the program runs as another user.
#[test]
fn p12_a_read_only_copy_is_verified() {
    let place = log();
    let tool = place.folder.path().join("tool");
    fs::copy(LESSOR, &tool).unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(place.folder.path(), 0o755);
    mode(&tool, 0o755);
    for entry in fs::read_dir(place.leases()).unwrap() {
        mode(&entry.unwrap().path(), 0o444);
    }
    mode(&place.leases(), 0o555);
    for command in ["verify", "dump"] {
        let mut tool = std::process::Command::new(&tool);
        tool.args(["--store", &place.url, command]);
        if rustix::process::getuid().is_root() {
            tool.uid(65_534);
        }
        let ran = ran(&mut tool);
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
    }
    // The folder can be removed again.
    mode(&place.leases(), 0o755);
}

#[test]
fn verify_and_dump_report_a_sound_log() {
    let place = log();
    assert!(place.ok(&["verify"]).contains("sound; closed"));
    let report: Value = serde_json::from_str(&place.ok(&["verify", "--json"])).unwrap();
    assert_eq!(report["records"]["completed"], 5, "{report}");
    let lines = place.ok(&["dump"]);
    assert_eq!(lines.lines().count(), 5);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["key"], &first["stage"]), (&Value::from("key 0"), &Value::from("completed")));
}

#[test]
fn dump_shows_the_namespace_of_a_key_apart() {
    let place = Place::file();
    let engine = place.engine();
    let tenant = engine.namespace("tenant").quota(lessor::Quota::unlimited()).open().unwrap();
    acquire(&tenant, "job").complete("done").wait().unwrap();
    engine.close(std::time::Duration::from_secs(10)).wait().unwrap();
    drop((engine, tenant));
    let lines = place.ok(&["dump"]);
    let mut shown: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["namespace"].clone(), line["key"].clone()))
        .collect();
    shown.sort_by_key(|(_, key)| key.to_string());
    assert_eq!(shown, [("tenant", ""), ("tenant", "job")].map(|(name, key)| (name.into(), key.into())));
}

#[test]
fn a_damaged_log_is_refused_with_its_place_and_truncated_only_with_yes() {
    let place = log();
    damage(&place);
    let listed = place.run(&["list"]);
    assert!(listed.code == Some(9) && listed.err.contains("lessor truncate"), "{listed:?}");
    let verified = place.run(&["verify"]);
    assert!(verified.code == Some(9) && verified.out.contains("DAMAGED at segment-"), "{verified:?}");
    assert_eq!(place.run(&["dump"]).code, Some(9));

    let planned = place.run(&["truncate"]);
    assert!(planned.code == Some(11) && planned.out.contains("--yes"), "{planned:?}");
    assert_eq!(place.run(&["verify"]).code, Some(9), "nothing was changed");

    let cut = place.ok(&["truncate", "--yes"]);
    assert!(cut.contains("the log was truncated"), "{cut}");
    assert!(place.ok(&["verify"]).contains("sound"));
    assert!(place.ok(&["truncate"]).contains("nothing to truncate"));
    let left = place.ok(&["list", "--json"]);
    assert!(left.contains("\"key 0\"") && !left.contains("\"key 4\""), "{left}");
}

#[test]
fn a_backup_is_a_store_with_the_same_records() {
    let place = log();
    let text = place.ok(&["backup", "copy"]);
    assert!(text.starts_with("5 records"), "{text}");
    let copy = format!("file:{}", place.folder.path().join("copy").display());
    let listed = ran(support::lessor().args(["--store", &copy, "list", "--json"]));
    assert_eq!(listed.out, place.ok(&["list", "--json"]));
    assert_ne!(place.run(&["backup", "copy"]).code, Some(0), "a backup is never overwritten");
}
