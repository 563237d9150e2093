//! Whoever is compared does the same work.

use std::path::Path;

use super::{CONTENDERS, Contender, Promise};
use crate::{Guard, Receipt, Told, key};

#[test]
fn every_contender_does_the_work_once_replays_it_and_refuses_what_is_held() {
    for contender in &CONTENDERS {
        for promise in [Promise::Disk, Promise::Process] {
            let folder = tempfile::tempdir().expect("a folder");
            let Some(guard) = open(contender, folder.path(), promise) else { continue };
            assert_eq!(guard.run("one", &Receipt::new(1)), Told::Done, "{}", contender.name);
            assert_eq!(
                guard.run("one", &Receipt::new(2)),
                Told::Replayed(Receipt::new(1)),
                "{}",
                contender.name
            );
            guard.hold("two");
            assert!(matches!(guard.run("two", &Receipt::new(2)), Told::Refused(_)), "{}", contender.name);
        }
    }
}

#[test]
fn what_was_filled_in_is_there_when_the_store_is_opened_again() {
    for contender in &CONTENDERS {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(guard) = open(contender, folder.path(), Promise::Process) else { continue };
        guard.fill(5000);
        drop(guard);
        let guard = open(contender, folder.path(), Promise::Disk).expect("it was open before");
        for n in [0, 4999] {
            let told = guard.run(&key(0, n), &Receipt::new(0));
            assert_eq!(told, Told::Replayed(Receipt::new(n)), "{}", contender.name);
        }
        assert_eq!(guard.run(&key(0, 5000), &Receipt::new(0)), Told::Done, "{}", contender.name);
    }
}

#[test]
fn many_threads_share_commits_and_each_gets_its_own() {
    for contender in &CONTENDERS {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(guard) = open(contender, folder.path(), Promise::Disk) else { continue };
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let guard = &guard;
                scope.spawn(move || {
                    for n in 0..20 {
                        assert_eq!(guard.run(&key(thread, n), &Receipt::new(n)), Told::Done);
                        assert_eq!(
                            guard.run(&key(thread, n), &Receipt::new(0)),
                            Told::Replayed(Receipt::new(n))
                        );
                    }
                });
            }
        });
    }
}

#[test]
fn a_result_has_64_bytes() {
    for n in [0, 1, 999_999_999, u64::MAX] {
        assert_eq!(serde_json::to_vec(&Receipt::new(n)).expect("JSON").len(), 64);
    }
}

/// `None` for a store that this build of lessor does not have.
fn open(contender: &Contender, folder: &Path, promise: Promise) -> Option<Box<dyn Guard>> {
    match (contender.open)(folder, promise) {
        Ok(guard) => Some(guard),
        Err(error) if error.contains("there is no store for the scheme") => None,
        Err(error) => panic!("{}: {error}", contender.name),
    }
}
