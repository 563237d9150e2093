//! Kills and power losses at every call to the disk.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lessor_fence::{FenceError, FileFence};
use lessor_simdisk::SimDisk;

fn on(disk: &SimDisk) -> Result<FileFence, FenceError> {
    FileFence::open_on(Arc::new(disk.clone()))
}

/// The accepted tokens and the floor of a run, and those that were tried.
#[derive(Default)]
struct Seen {
    accepted: BTreeMap<String, u64>,
    tried: BTreeMap<String, u64>,
    floor_tried: u64,
}

/// Uses a fence until a call fails. The disk may fail at any call.
fn work(disk: &SimDisk, first: u64, seen: &mut Seen) {
    let Ok(fence) = on(disk) else { return };
    let long = "k".repeat(250);
    for (key, token) in
        [("a", 1_u64), ("b", 2), (&*long, 3), ("a", 4), ("c", 5), ("a", 6), (&*long, 7), ("a", 8), ("d", 9)]
    {
        let token = first + token;
        if token == first + 6 {
            seen.floor_tried = first + 3;
            if fence.forget_below(first + 3).is_err() {
                return;
            }
        }
        seen.tried.insert(key.to_owned(), token);
        match fence.check(key, token) {
            Ok(()) => seen.accepted.insert(key.to_owned(), token),
            Err(_) => return,
        };
    }
}

/// Checks a fence after a crash. Returns `false` if the disk failed again.
fn check(disk: &SimDisk, seen: &Seen, place: &str) -> bool {
    let fence = match on(disk) {
        Ok(fence) => fence,
        Err(FenceError::Io { .. }) => return false,
        Err(error) => panic!("{place}: {error}"),
    };
    for (key, token) in &seen.accepted {
        let stale = fence.check(key, token - 1);
        assert!(
            matches!(stale, Err(FenceError::Stale(_))),
            "{place}: {key} forgets token {token}: {stale:?}"
        );
    }
    for (key, token) in &seen.tried {
        let next = fence.check(key, (*token).max(seen.floor_tried));
        assert!(!matches!(next, Err(FenceError::Stale(_))), "{place}: {key} makes up a token: {next:?}");
    }
    true
}

/// Runs the work, and returns the number of mutating calls.
fn mutations() -> u64 {
    let disk = SimDisk::in_new_folder();
    let mut seen = Seen::default();
    work(&disk, 100, &mut seen);
    assert_eq!(seen.accepted, seen.tried);
    disk.mutations()
}

#[test]
fn no_power_loss_at_any_call_makes_a_fence_accept_a_stale_token() {
    let mut images = 0_u64;
    for mutation in 1..=mutations() + 1 {
        for during in [false, true] {
            let disk = SimDisk::in_new_folder();
            match during {
                true => disk.power_off_during(mutation),
                false => disk.power_off_at(mutation),
            }
            let mut seen = Seen::default();
            work(&disk, 100, &mut seen);
            let crash = disk.crash();
            for image in crash.images_torn() {
                images += 1;
                assert!(check(&image, &seen, &format!("torn at mutation {mutation}")));
            }
            for image in crash.images(6, 16, mutation) {
                images += 1;
                // The opening is interrupted by another power loss, at any of its calls.
                for again in 1..7 {
                    let second = image.fork();
                    second.power_off_during(again);
                    drop(on(&second));
                    for after in second.crash().images(4, 4, again) {
                        check(&after, &seen, &format!("mutation {mutation}, then {again}"));
                    }
                }
                assert!(check(&image, &seen, &format!("mutation {mutation}")));
            }
        }
    }
    assert!(images > 500, "{images}");
}

/// A killed process leaves writes in the memory of the operating system. They can be read, and a
/// power loss can still lose them.
#[test]
fn no_kill_at_any_call_followed_by_a_power_loss_makes_a_fence_accept_a_stale_token() {
    for mutation in 1..=mutations() + 1 {
        let disk = SimDisk::in_new_folder();
        disk.power_off_during(mutation);
        let mut seen = Seen::default();
        work(&disk, 100, &mut seen);
        // The next process accepts the same tokens again, and higher ones.
        let next = disk.fork();
        {
            let fence = on(&next).unwrap();
            for (key, token) in seen.tried.clone() {
                let token = token.max(seen.floor_tried);
                fence.check(&key, token).unwrap();
                seen.accepted.insert(key, token);
            }
        }
        for image in next.crash().images(8, 64, mutation) {
            assert!(check(&image, &seen, &format!("kill at mutation {mutation}")));
        }
    }
}
