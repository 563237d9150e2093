//! Calls that fail, wait or find no space.

use std::sync::mpsc;
use std::thread;

use parking_lot::Mutex;

use super::*;

#[test]
fn a_chosen_call_fails_once_or_from_then_on() {
    let (disk, file) = with_file("a");
    disk.fail(When::call(disk.calls() + 2), Fault::Io);
    file.len().unwrap();
    assert_errno(file.write_at(b"x", 0), EIO);
    assert_eq!(disk.bytes("a"), b"");
    file.write_at(b"x", 0).unwrap();

    disk.fail(When::nth(CallKind::Write, 4).from_then_on(), Fault::Full);
    file.write_at(b"y", 0).unwrap();
    assert_errno(file.write_at(b"z", 0), ENOSPC);
    assert_errno(file.write_at(b"z", 0), ENOSPC);
    file.sync().unwrap();
    assert_eq!(disk.bytes("a"), b"y");
    disk.clear_faults();
    file.write_at(b"z", 0).unwrap();
    assert_eq!(disk.calls_of(CallKind::Write), 6);
}

#[test]
fn every_call_can_fail_without_an_effect() {
    let (disk, file) = with_file("a");
    file.write_at(b"x", 0).unwrap();
    let before = disk.content_digest();
    disk.fail(When::call(0).from_then_on(), Fault::Io);
    assert_errno(disk.create("b"), EIO);
    assert_errno(disk.open("a"), EIO);
    assert_errno(disk.remove("a"), EIO);
    assert_errno(disk.rename("a", "b"), EIO);
    assert_errno(disk.list(), EIO);
    assert_errno(disk.sync_folder(), EIO);
    assert_errno(disk.try_lock("LOCK"), EIO);
    assert_errno(file.read_at(&mut [0], 0), EIO);
    assert_errno(file.write_at(b"y", 0), EIO);
    assert_errno(file.sync(), EIO);
    assert_errno(file.len(), EIO);
    assert_eq!(disk.content_digest(), before);
    assert_eq!(disk.crash().unsynced().choices(), 2);
    assert_eq!(CallKind::ALL.map(|kind| disk.calls_of(kind)).iter().sum::<u64>(), disk.calls());
    disk.clear_faults();
    assert!(disk.try_lock("LOCK").unwrap().is_some());
}

#[test]
fn a_short_call_handles_half_and_reports_it() {
    let (disk, file) = with_file("a");
    disk.fail(When::nth(CallKind::Write, 1), Fault::Short);
    disk.fail(When::nth(CallKind::Read, 1), Fault::Short);
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    assert_eq!(disk.bytes("a"), b"abc");
    assert_eq!(file.read_at(&mut [0; 4], 0).unwrap(), 2);
    file.write_all_at(b"def", 3).unwrap();
    let mut buffer = [0; 8];
    disk.fail(When::nth(CallKind::Read, 3), Fault::Interrupted);
    assert_eq!(file.read_full_at(&mut buffer, 0).unwrap(), 6);
    assert_eq!(buffer, *b"abcdef\0\0");
}

#[test]
fn a_write_may_fail_after_half() {
    let (disk, file) = with_file("a");
    disk.fail(When::nth(CallKind::Write, 1), Fault::HalfThenIo);
    assert_errno(file.write_at(b"abcdef", 0), EIO);
    assert_eq!(disk.bytes("a"), b"abc");
}

#[test]
fn a_full_disk_writes_what_fits() {
    let (disk, file) = with_file("a");
    disk.set_capacity(Some(3 * 512));
    file.write_at(&sectors("ab"), 0).unwrap();
    assert_eq!(disk.used(), 1024);
    assert_eq!(file.write_at(&sectors("BCD"), 512).unwrap(), 1024);
    assert_errno(file.write_at(b"d", 3 * 512), ENOSPC);
    assert_eq!(letters(&disk, "a"), "aBC");

    // Existing bytes can be overwritten.
    assert_eq!(file.write_at(&sectors("xyz"), 0).unwrap(), 3 * 512);
    // A removed file frees its space, although it is open.
    let other = disk.create("b").unwrap();
    assert_errno(other.write_at(b"b", 0), ENOSPC);
    disk.remove("a").unwrap();
    other.write_at(b"b", 0).unwrap();
    assert_eq!(file.write_at(&sectors("much more"), 0).unwrap(), 9 * 512);
    assert_eq!(disk.used(), 512);

    // Zeros take space like other bytes, also on the disk after a crash.
    disk.sync_folder().unwrap();
    assert_eq!(other.write_at(&[0; 4096], 0).unwrap(), 3 * 512);
    assert_errno(disk.crash().image_kept().open("b").unwrap().write_at(b"x", 2048), ENOSPC);
    disk.set_capacity(None);
    assert_eq!(other.write_at(&[0; 4096], 0).unwrap(), 4096);
}

#[test]
fn written_sectors_take_space_and_gaps_do_not() {
    let (disk, file) = with_file("a");
    for (sector, used) in [(8, 1), (2, 2), (4, 3), (3, 4), (3, 4), (20, 5)] {
        file.write_at(b"x", sector * 512).unwrap();
        assert_eq!(disk.used(), used * 512);
    }
    file.write_at(&sectors("twelve letters"), 1).unwrap();
    assert_eq!(disk.used(), (15 + 1) * 512);
}

#[test]
fn after_a_power_failure_no_call_has_an_effect() {
    let run = |disk: &SimDisk| -> io::Result<()> {
        let file = disk.create("a")?;
        disk.sync_folder()?;
        file.write_at(&sectors("a"), 0)?;
        file.sync()?;
        file.len()?;
        disk.rename("a", "b")
    };
    let whole = SimDisk::new();
    run(&whole).unwrap();
    assert_eq!((whole.mutations(), whole.calls()), (5, 6));

    for (mutation, left) in [(1, 1), (2, 2), (3, 1), (4, 3), (5, 1)] {
        let disk = SimDisk::new();
        disk.power_off_at(mutation);
        assert_errno(run(&disk), EIO);
        assert_errno(disk.list(), EIO);
        assert_errno(disk.try_lock("LOCK"), EIO);
        assert_eq!(disk.crash().images_exhaustive(10).unwrap().count(), left, "before call {mutation}");
    }
    for (mutation, left) in [(1, 2), (2, 2), (3, 3), (4, 3), (5, 2)] {
        let disk = SimDisk::new();
        disk.power_off_during(mutation);
        assert_errno(run(&disk), EIO);
        assert_errno(disk.list(), EIO);
        assert_eq!(disk.crash().images_exhaustive(10).unwrap().count(), left, "during call {mutation}");
    }
    whole.power_off();
    assert_errno(whole.open("b"), EIO);
    assert!(whole.crash().image_kept().open("b").is_ok());
}

#[test]
fn the_hook_is_called_before_each_call() {
    let disk = SimDisk::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (looked, log) = (disk.clone(), seen.clone());
    disk.on_call(Some(Arc::new(move |call| log.lock().push((call, looked.file_names())))));
    let file = disk.create("a").unwrap();
    file.write_at(b"x", 0).unwrap();
    disk.rename("a", "b").unwrap();
    disk.on_call(None);
    disk.sync_folder().unwrap();

    let call = |number, kind| Call { number, kind, file: "a".to_owned() };
    let there = vec!["a".to_owned()];
    let expected = [
        (call(1, CallKind::Create), vec![]),
        (call(2, CallKind::Write), there.clone()),
        (call(3, CallKind::Rename), there),
    ];
    assert_eq!(*seen.lock(), expected);
}

#[test]
fn a_blocked_call_does_not_block_others() {
    let (disk, file) = with_file("a");
    let (reached, wait_until_reached) = mpsc::channel();
    let (release, wait_for_release) = mpsc::channel();
    let wait_for_release = Mutex::new(wait_for_release);
    disk.on_call(Some(Arc::new(move |call| {
        if call.kind == CallKind::Sync {
            reached.send(()).unwrap();
            wait_for_release.lock().recv().unwrap();
        }
    })));
    file.write_at(b"x", 0).unwrap();
    let syncing = file.clone();
    let thread = thread::spawn(move || syncing.sync());
    wait_until_reached.recv().unwrap();
    file.write_at(b"y", 512).unwrap();
    assert_eq!(disk.durable_bytes("a"), b"");
    release.send(()).unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(disk.durable_bytes("a"), b"x");
}
