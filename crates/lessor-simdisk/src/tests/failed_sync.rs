//! Failed syncs, and the effect of later ones.

use super::*;

/// Returns a disk with a file whose second write was lost by a failed sync.
fn after_a_failed_sync() -> (SimDisk, Arc<dyn File>) {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("ab"), 0).unwrap();
    file.sync().unwrap();
    file.write_at(&sectors("AB"), 0).unwrap();
    disk.fail(When::nth(CallKind::Sync, 2), Fault::SyncLost);
    assert_errno(file.sync(), EIO);
    (disk, file)
}

#[test]
fn a_failed_sync_leaves_pages_clean_but_lost() {
    let (disk, file) = after_a_failed_sync();
    assert_eq!(letters(&disk, "a"), "AB");
    file.sync().unwrap();
    assert_eq!(letters(&disk, "a"), "AB");
    assert_eq!(letters(&disk.crash().image_lost(), "a"), "ab");
    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), set(["ab", "aB", "Ab", "AB"]));
}

#[test]
fn lost_data_is_synced_once_it_is_written_again() {
    let (disk, file) = after_a_failed_sync();
    file.write_at(&sectors("A"), 0).unwrap();
    file.write_at(b"B", 700).unwrap();
    file.sync().unwrap();
    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), set(["AB"]));
}

#[test]
fn lost_data_stays_lost_when_the_process_is_killed() {
    let (disk, _file) = after_a_failed_sync();
    let survivor = disk.fork();
    let file = survivor.open("a").unwrap();
    file.sync().unwrap();
    survivor.sync_folder().unwrap();
    assert_eq!(letters(&survivor, "a"), "AB");
    assert_eq!(letters(&survivor.crash().image_lost(), "a"), "ab");
}

#[test]
fn lost_data_may_become_invisible() {
    let (disk, file) = after_a_failed_sync();
    file.write_at(b"C", 512).unwrap();
    disk.evict_lost();
    assert_eq!(disk.bytes("a")[..512], sectors("a"));
    assert_eq!(disk.bytes("a")[512..514], *b"CB");
    disk.fail(When::nth(CallKind::Sync, 3), Fault::SyncLost);
    file.write_at(&sectors("c"), 1024).unwrap();
    assert_errno(file.sync(), EIO);
    disk.evict_lost();
    assert_eq!(letters(&disk, "a"), "ab");
}

#[test]
fn a_lost_length_comes_back_when_it_is_written_again() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("abc"), 0).unwrap();
    disk.fail(When::nth(CallKind::Sync, 1), Fault::SyncLost);
    assert_errno(file.sync(), EIO);
    file.sync().unwrap();
    assert_eq!(disk.durable_bytes("a"), b"");
    file.write_at(&sectors("ab"), 0).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.durable_bytes("a"), sectors("ab"));
    assert_eq!(file.len().unwrap(), 3 * 512);
}

#[test]
fn writes_during_a_failed_sync_are_not_lost() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("abc"), 0).unwrap();
    let during = file.clone();
    disk.on_call(Some(Arc::new(move |call| {
        if call.kind == CallKind::Sync {
            during.write_at(&sectors("B"), 512).unwrap();
        }
    })));
    disk.fail(When::nth(CallKind::Sync, 1), Fault::SyncLost);
    assert_errno(file.sync(), EIO);
    disk.on_call(None);
    file.sync().unwrap();
    let lost =
        disk.crash().image(&mut |choice| choice.kept() * u64::from(!matches!(choice, Choice::Sector { .. })));
    assert_eq!(letters(&lost, "a"), ".B.");
}

#[test]
fn a_write_repeated_during_a_sync_waits_for_the_next_one() {
    let (disk, file) = after_a_failed_sync();
    let during = file.clone();
    disk.on_call(Some(Arc::new(move |call| {
        if call.kind == CallKind::Sync {
            during.write_at(&sectors("AB"), 0).unwrap();
        }
    })));
    file.sync().unwrap();
    disk.on_call(None);
    assert_eq!(disk.durable_bytes("a"), sectors("ab"));
    file.sync().unwrap();
    assert_eq!(disk.durable_bytes("a"), sectors("AB"));
}

#[test]
fn a_sync_that_fails_with_eio_at_once_loses_nothing() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("a"), 0).unwrap();
    disk.fail(When::nth(CallKind::Sync, 1), Fault::Io);
    assert_errno(file.sync(), EIO);
    file.sync().unwrap();
    assert_eq!(disk.durable_bytes("a"), sectors("a"));
}

#[test]
fn a_failed_sync_of_the_folder_leaves_its_operations_undecided() {
    let disk = SimDisk::new();
    disk.put("old", b"");
    disk.create("new").unwrap();
    disk.remove("old").unwrap();
    disk.fail(When::nth(CallKind::SyncFolder, 1), Fault::SyncLost);
    assert_errno(disk.sync_folder(), EIO);
    disk.sync_folder().unwrap();
    assert_eq!(disk.file_names(), ["new"]);
    assert_eq!(after_each_crash(&disk, SimDisk::file_names).len(), 4);

    // A later operation on the same names is synced again.
    disk.rename("new", "newer").unwrap();
    disk.create("old").unwrap();
    disk.sync_folder().unwrap();
    assert_eq!(
        after_each_crash(&disk, SimDisk::file_names),
        [vec!["newer".to_owned(), "old".to_owned()]].into()
    );
}

#[test]
fn a_file_has_one_name_after_a_failed_sync_of_the_folder() {
    let disk = SimDisk::new();
    disk.put("a", b"x");
    disk.rename("a", "b").unwrap();
    disk.fail(When::nth(CallKind::SyncFolder, 1), Fault::SyncLost);
    assert_errno(disk.sync_folder(), EIO);
    assert_eq!(after_each_crash(&disk, |image| image.file_names().concat()), set(["a", "b"]));
    disk.rename("b", "c").unwrap();
    disk.sync_folder().unwrap();
    assert_eq!(after_each_crash(&disk, |image| image.file_names().concat()), set(["c"]));
}
