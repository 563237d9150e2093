//! The fence in a file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use lessor_fence::{FenceError, FileFence};
use lessor_simdisk::{CallKind, Fault, SimDisk, When};

fn on(disk: &SimDisk) -> Result<FileFence, FenceError> {
    FileFence::open_on(Arc::new(disk.clone()))
}

#[test]
fn a_reopened_fence_refuses_what_it_refused_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("fence");
    let fence = FileFence::open(&folder).unwrap();
    assert_eq!(fence.run("a", 5_u64, || 1).unwrap(), 1);
    fence.check("b", 7_u64).unwrap();
    drop(fence);
    let fence = FileFence::open(&folder).unwrap();
    assert_eq!((fence.highest("a"), fence.highest("b"), fence.len()), (Some(5), Some(7), 2));
    let refused = fence.run("a", 4_u64, || panic!("a stale effect runs"));
    assert!(matches!(refused, Err(FenceError::Stale(stale)) if stale.highest == 5));
    fence.check("a", 5_u64).unwrap();
}

#[test]
fn a_second_opening_is_refused_with_the_process_until_the_first_one_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let fence = FileFence::open(folder.path()).unwrap();
    let error = FileFence::open(folder.path()).unwrap_err();
    assert!(matches!(&error, FenceError::InUse { .. }), "{error}");
    let text = error.to_string();
    let process = std::process::id().to_string();
    assert!(text.contains(&process) && text.contains(&*folder.path().to_string_lossy()), "{text}");
    drop(fence);
    FileFence::open(folder.path()).unwrap();
}

#[test]
fn a_fence_is_not_created_beside_other_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other"), "1").unwrap();
    assert!(matches!(FileFence::open(folder.path()), Err(FenceError::Foreign { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Each thread is one holder after another of each key, with tokens that rise over all threads.
#[test]
fn no_effect_follows_one_with_a_higher_token_on_racing_threads() {
    const KEYS: usize = 4;
    let fence = on(&SimDisk::new()).unwrap();
    let next = AtomicU64::new(1);
    // The tokens whose effects ran, in the order in which they ran.
    let effects: [Mutex<Vec<u64>>; KEYS] = Default::default();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..400 {
                    let key = round % KEYS;
                    let token = next.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                    let effect = || effects[key].lock().unwrap().push(token);
                    match fence.run(&format!("key {key}"), token, effect) {
                        Ok(()) | Err(FenceError::Stale(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    for (key, effects) in effects.into_iter().enumerate() {
        let effects = effects.into_inner().unwrap();
        assert!(effects.is_sorted() && effects.last().copied() == fence.highest(&format!("key {key}")));
    }
}

#[test]
fn keys_that_are_not_valid_are_refused() {
    let fence = on(&SimDisk::new()).unwrap();
    for key in ["", "a\nb", "a\tb", "a\0b", &"x".repeat(257)] {
        assert!(matches!(fence.check(key, 1_u64), Err(FenceError::Key(_))), "{key:?}");
    }
    fence.check(&"🦀".repeat(256), 1_u64).unwrap();
}

#[test]
fn only_the_first_effect_of_a_grant_writes() {
    let disk = SimDisk::new();
    let fence = on(&disk).unwrap();
    fence.check("a", 5_u64).unwrap();
    let before = disk.mutations();
    fence.check("a", 5_u64).unwrap();
    assert!(fence.check("a", 4_u64).is_err());
    assert_eq!(disk.mutations(), before);
    fence.check("a", 6_u64).unwrap();
    assert_eq!(disk.mutations(), before + 2);
}

#[test]
fn the_file_does_not_grow_with_the_number_of_tokens() {
    let disk = SimDisk::new();
    let fence = on(&disk).unwrap();
    for token in 1..20_000_u64 {
        fence.check("a", token).unwrap();
    }
    let length = disk.bytes("fence.log").len();
    assert!(length < 64 << 10, "{length}");
    drop(fence);
    assert_eq!(on(&disk).unwrap().highest("a"), Some(19_999));
    assert!(disk.bytes("fence.log").len() < 200);
}

#[test]
fn forgotten_keys_leave_the_file_and_the_floor_stays() {
    let disk = SimDisk::new();
    let fence = on(&disk).unwrap();
    for (key, token) in [("old", 10_u64), ("new", 20)] {
        fence.check(key, token).unwrap();
    }
    assert_eq!(fence.forget_below(15_u64).unwrap(), 1);
    let text = String::from_utf8(disk.durable_bytes("fence.log")).unwrap();
    assert!(!text.contains("old") && text.contains("floor\t15") && text.contains("new"), "{text}");
    drop(fence);
    let fence = on(&disk).unwrap();
    assert!(fence.check("old", 14_u64).is_err());
    assert_eq!(fence.forget_below(5_u64).unwrap(), 0);
    assert!(fence.check("old", 14_u64).is_err());
    fence.check("old", 15_u64).unwrap();
}

#[test]
fn a_failed_write_ends_the_fence_and_runs_no_effect_and_the_error_names_the_file() {
    for (kind, fault) in [
        (CallKind::Write, Fault::Full),
        (CallKind::Write, Fault::HalfThenIo),
        (CallKind::Sync, Fault::SyncLost),
    ] {
        let disk = SimDisk::new();
        let fence = on(&disk).unwrap();
        fence.check("a", 5_u64).unwrap();
        disk.fail(When::nth(kind, disk.calls_of(kind) + 1), fault);
        let error = fence.run("a", 6_u64, || panic!("the effect runs")).unwrap_err();
        assert!(error.to_string().contains("fence.log failed") && error.source().is_some(), "{error}");
        for (key, token) in [("a", 5_u64), ("a", 7), ("b", 1)] {
            let again = fence.run(key, token, || panic!("the effect runs")).unwrap_err();
            assert!(matches!(again, FenceError::Broken { .. }), "{again}");
        }
        assert!(matches!(fence.forget_below(9_u64), Err(FenceError::Broken { .. })));
        drop(fence);
        let fence = on(&disk).unwrap();
        assert!(fence.check("a", 4_u64).is_err());
        fence.check("a", 6_u64).unwrap();
    }
}

/// A full disk must not end a fence that only tries to shrink its file.
#[test]
fn a_fence_stays_usable_if_its_shorter_file_cannot_be_written() {
    let disk = SimDisk::new();
    let fence = on(&disk).unwrap();
    fence.check("a", 5_u64).unwrap();
    disk.fail(When::nth(CallKind::Create, disk.calls_of(CallKind::Create) + 1), Fault::Full);
    let error = fence.forget_below(6_u64).unwrap_err();
    assert!(error.to_string().contains("fence.next"), "{error}");
    assert_eq!(fence.highest("a"), Some(5));
    fence.check("a", 6_u64).unwrap();
    drop(fence);
    assert_eq!(on(&disk).unwrap().highest("a"), Some(6));
}
