use std::path::Path;

use super::*;
use crate::check::{grants_each_key_once, refuses_then_replays};

/// Passes each contender's guard, on a new folder, to `with`.
macro_rules! each {
    ($with:ident) => {
        let folders: Vec<_> = (0..7).map(|_| tempfile::tempdir().expect("a folder")).collect();
        let at = |n: usize| folders[n].path();
        let disk = Promise::Disk;
        $with!(engine(log(at(0), disk).expect("it opens"), |_| {}).expect("an engine"));
        $with!(sqlite::Sqlite::open(at(1), disk, None));
        $with!(ByHand::new(redb::Redb::open(at(2), disk)));
        $with!(ByHand::new(fjall::Fjall::open(at(3), disk)));
        $with!(ByHand::new(sled::Sled::open(at(4), disk)));
        $with!(ByHand::new(lmdb::Lmdb::open(at(5), disk)));
    };
}

#[test]
fn every_contender_grants_each_key_once_and_replays_and_refuses_it() {
    macro_rules! check {
        ($guard:expr) => {
            refuses_then_replays(&$guard)
        };
    }
    each!(check);
}

#[test]
fn each_key_is_granted_once_to_many_threads() {
    macro_rules! check {
        ($guard:expr) => {
            grants_each_key_once($guard)
        };
    }
    each!(check);
    let folder = tempfile::tempdir().expect("a folder");
    grants_each_key_once(bare_log::BareLog::<group::Leader>::open(folder.path(), Promise::Disk));
}

#[test]
fn filled_records_are_present_after_reopening() {
    for contender in &CONTENDERS {
        let folder = tempfile::tempdir().expect("a folder");
        let fill =
            |folder: &Path| open(contender.name, folder, Promise::Process).expect("it opens").fill(5000);
        fill(folder.path());
        let guard = open(contender.name, folder.path(), Promise::Disk).expect("it was open before");
        for n in [0, 4999] {
            assert_eq!(guard.shown(&key(n)), Some(result(n)), "{}", contender.name);
        }
        assert_eq!(guard.shown(&key(5000)), None, "{}", contender.name);
    }
}

#[test]
fn a_result_has_64_bytes_and_a_key_24() {
    assert_eq!((result(7).len(), key(u64::from(u32::MAX)).len()), (64, 24));
}
