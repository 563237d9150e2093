//! Names after a power loss.

use super::*;

fn names_after_each_crash(disk: &SimDisk) -> BTreeSet<String> {
    after_each_crash(disk, |image| image.file_names().join(" "))
}

#[test]
fn a_name_is_lost_without_a_folder_sync() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(names_after_each_crash(&disk), set(["", "a"]));
    disk.sync_folder().unwrap();
    assert_eq!(names_after_each_crash(&disk), set(["a"]));
    assert_eq!(disk.crash().image_lost().bytes("a"), b"x");
}

#[test]
fn a_removed_file_may_come_back_until_the_folder_is_synced() {
    let (disk, file) = with_file("a");
    file.write_at(b"x", 0).unwrap();
    file.sync().unwrap();
    disk.remove("a").unwrap();
    assert_eq!(disk.file_names(), [""; 0]);
    assert_eq!(names_after_each_crash(&disk), set(["", "a"]));
    assert_eq!(disk.crash().image_lost().bytes("a"), b"x");
    disk.sync_folder().unwrap();
    assert_eq!(names_after_each_crash(&disk), set([""]));
}

#[test]
fn a_sync_of_the_folder_does_not_cover_operations_during_it() {
    let disk = SimDisk::new();
    let during = disk.clone();
    disk.create("a").unwrap();
    disk.on_call(Some(Arc::new(move |call| {
        if call.kind == CallKind::SyncFolder {
            during.remove("a").unwrap();
            during.create("b").unwrap();
        }
    })));
    disk.sync_folder().unwrap();
    disk.on_call(None);
    assert_eq!(names_after_each_crash(&disk), set(["", "a", "b", "a b"]));
}

#[test]
fn a_rename_either_happened_or_not() {
    let disk = SimDisk::new();
    disk.put("a", b"old");
    disk.put("tmp", b"new");
    disk.rename("tmp", "a").unwrap();
    assert_eq!(disk.bytes("a"), b"new");
    let seen = after_each_crash(&disk, |image| (image.file_names().join(" "), image.bytes("a")));
    let expected = [("a".to_owned(), b"new".to_vec()), ("a tmp".to_owned(), b"old".to_vec())];
    assert_eq!(seen, expected.into());
    disk.sync_folder().unwrap();
    assert_eq!(names_after_each_crash(&disk), set(["a"]));
}

#[test]
fn a_rename_cannot_have_happened_if_the_file_was_not_created() {
    let disk = SimDisk::new();
    disk.create("tmp").unwrap();
    disk.rename("tmp", "a").unwrap();
    assert_eq!(names_after_each_crash(&disk), set(["", "tmp", "a"]));
    assert_eq!(disk.crash().images_exhaustive(2).unwrap().count(), 3);
}

#[test]
fn operations_on_different_names_are_lost_independently() {
    let disk = SimDisk::new();
    disk.put("a", b"");
    disk.create("b").unwrap();
    disk.remove("a").unwrap();
    disk.create("a").unwrap().write_at(b"other", 0).unwrap();
    assert_eq!(names_after_each_crash(&disk), set(["", "a", "b", "a b"]));
    let contents = after_each_crash(&disk, |image| image.total_len());
    assert_eq!(contents, [0, 5].into());
}

#[test]
fn handles_of_removed_and_replaced_files_stay_readable_and_writable() {
    let (disk, file) = with_file("a");
    let second = disk.open("a").unwrap();
    file.write_at(b"abc", 0).unwrap();
    disk.remove("a").unwrap();
    disk.sync_folder().unwrap();
    file.write_at(b"B", 1).unwrap();
    file.sync().unwrap();
    let mut buffer = [0; 9];
    assert_eq!(second.read_at(&mut buffer, 0).unwrap(), 3);
    assert_eq!(buffer[..3], *b"aBc");

    let fresh = disk.create("a").unwrap();
    disk.create("b").unwrap();
    disk.rename("b", "a").unwrap();
    fresh.write_at(b"unreachable", 0).unwrap();
    assert_eq!(fresh.len().unwrap(), 11);
    assert_eq!(disk.bytes("a"), b"");
}

#[test]
fn an_unreachable_file_is_forgotten() {
    let (disk, file) = with_file("a");
    disk.remove("a").unwrap();
    disk.sync_folder().unwrap();
    assert_eq!(disk.state.lock().inodes.len(), 1);
    assert_eq!(disk.fork().state.lock().inodes.len(), 0);
    drop(file);
    assert_eq!(disk.state.lock().inodes.len(), 0);

    disk.create("b").unwrap();
    disk.remove("b").unwrap();
    assert_eq!(disk.state.lock().inodes.len(), 1);
    disk.sync_folder().unwrap();
    assert_eq!(disk.state.lock().inodes.len(), 0);
}

#[test]
fn names_behave_as_on_a_real_disk() {
    let (disk, _file) = with_file("a");
    assert_eq!(disk.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.open("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.remove("b").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.rename("b", "c").unwrap_err().kind(), io::ErrorKind::NotFound);
    disk.rename("a", "a").unwrap();
    assert_eq!(disk.crash().unsynced().operations, 0);
    assert_eq!(disk.list().unwrap(), ["a"]);
}

#[test]
fn the_lock_is_exclusive_and_a_crash_or_a_fork_frees_it() {
    let disk = SimDisk::new();
    let lock = disk.try_lock("LOCK").unwrap().unwrap();
    assert!(disk.clone().try_lock("LOCK").unwrap().is_none());
    assert_eq!(disk.lock_holder("LOCK"), Some(std::process::id()));
    for other in [disk.fork(), disk.crash().image_kept()] {
        assert!(other.try_lock("LOCK").unwrap().is_some());
    }
    drop(lock);
    assert_eq!(disk.lock_holder("LOCK"), None);
    assert!(disk.try_lock("LOCK").unwrap().is_some());
}
