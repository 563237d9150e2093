//! Damage, forks and inspection.

use super::*;

#[test]
fn a_fork_has_the_same_content_and_is_independent() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("a"), 0).unwrap();
    disk.power_off();
    let fork = disk.fork();
    assert_eq!(fork.calls(), 0);
    assert_eq!(fork.content_digest(), disk.content_digest());
    assert_eq!(fork.crash().unsynced(), disk.crash().unsynced());

    let other = fork.open("a").unwrap();
    other.write_at(&sectors("A"), 0).unwrap();
    assert_eq!(after_each_crash(&fork, |image| letters(image, "a")), set(["", ".", "a", "A"]));
    other.sync().unwrap();
    assert_eq!(fork.durable_bytes("a"), sectors("A"));
    fork.remove("a").unwrap();
    assert_eq!(letters(&disk, "a"), "a");
    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), set(["", ".", "a"]));
}

#[test]
fn writes_of_a_killed_process_are_covered_by_the_next_sync() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("a"), 0).unwrap();
    let fork = disk.fork();
    fork.open("a").unwrap().sync().unwrap();
    assert_eq!(letters(&fork.crash().image_lost(), "a"), "a");
    assert_eq!(letters(&disk.crash().image_lost(), "a"), "");
}

#[test]
fn clones_share_the_disk() {
    let (disk, file) = with_file("a");
    let clone = disk.clone();
    file.write_at(b"x", 0).unwrap();
    assert_eq!(clone.bytes("a"), b"x");
    assert_eq!(clone.calls(), disk.calls());
}

#[test]
fn put_is_durable() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    file.write_at(b"old", 0).unwrap();
    disk.put("a", b"new");
    assert_eq!(disk.crash().unsynced(), Unsynced::default());
    assert_eq!(disk.crash().image_lost().bytes("a"), b"new");
    file.write_at(b"OLD", 0).unwrap();
    assert_eq!(disk.bytes("a"), b"new");
    disk.delete("a");
    assert_eq!(disk.crash().image_lost().file_names(), [""; 0]);
}

#[test]
fn a_bit_is_flipped_in_every_version() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("a"), 0).unwrap();
    file.sync().unwrap();
    file.write_at(&sectors("A"), 0).unwrap();
    disk.flip_bit("a", 8 * 3 + 1);
    assert_eq!(disk.bytes("a")[..5], *b"AAACA");
    assert_eq!(after_each_crash(&disk, |image| image.bytes("a")[3]), [b'C', b'c'].into());
    let before = disk.content_digest();
    disk.flip_bit("a", 8 * 512);
    assert_eq!(disk.content_digest(), before);
    disk.flip_bit("a", 8 * 511 + 7);
    assert_ne!(disk.content_digest(), before);
    disk.flip_bit("a", 8 * 511 + 7);
    assert_eq!(disk.content_digest(), before);
}

#[test]
fn a_truncated_file_is_durable() {
    let (disk, file) = with_file("a");
    file.write_at(&[b'x'; 5000], 0).unwrap();
    disk.truncate("a", 4097);
    assert_eq!(disk.crash().image_lost().bytes("a"), [b'x'; 4097]);
    disk.truncate("a", 4096);
    disk.truncate("a", 10_000);
    assert_eq!(disk.bytes("a"), [&[b'x'; 4096][..], &[0; 5904][..]].concat());
    assert_eq!(disk.total_len(), 10_000);
}

#[test]
#[should_panic(expected = "the simulated disk has no file named \"a\"")]
fn inspecting_a_missing_file_panics() {
    let _ = SimDisk::new().bytes("a");
}

#[test]
fn zeros_take_no_memory_and_leave_only_the_length_undecided() {
    let (disk, file) = with_file("a");
    file.write_at(&vec![0; 1 << 20], 0).unwrap();
    assert_eq!(disk.crash().unsynced(), Unsynced { lengths: 1, ..Unsynced::default() });
    let pages = || disk.state.lock().files().map(|(_, inode)| inode.visible.pages().count()).sum::<usize>();
    assert_eq!(pages(), 0);
    assert_eq!(disk.used(), 1 << 20);
    file.write_at(b"x", 9000).unwrap();
    assert_eq!(pages(), 1);
    file.write_at(b"\0", 9000).unwrap();
    assert_eq!(pages(), 0);
    assert_eq!(disk.bytes("a"), vec![0; 1 << 20]);
}

#[test]
fn the_digest_distinguishes_names_lengths_and_bytes() {
    let disk = |files: &[(&str, &[u8])]| {
        let disk = SimDisk::new();
        files.iter().for_each(|(name, bytes)| disk.put(name, bytes));
        disk.content_digest()
    };
    let digests = [
        disk(&[]),
        disk(&[("a", b"")]),
        disk(&[("b", b"")]),
        disk(&[("a", b"\0")]),
        disk(&[("a", b"x")]),
        disk(&[("a", b"\0x")]),
        disk(&[("a", b"x"), ("b", b"")]),
        disk(&[("a", b""), ("b", b"x")]),
    ];
    assert_eq!(BTreeSet::from(digests).len(), digests.len());
    assert_eq!(disk(&[("a", b"x"), ("b", b"y")]), disk(&[("b", b"y"), ("a", b"x")]));
}

#[test]
fn reads_end_at_the_end_of_the_file() {
    let (_disk, file) = with_file("a");
    file.write_at(b"abc", 5000).unwrap();
    let mut buffer = [9; 6000];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 5003);
    assert_eq!(buffer[4999..5004], *b"\0abc\x09");
    assert_eq!(file.read_at(&mut buffer, 5003).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, u64::MAX).unwrap(), 0);
    assert_errno(file.write_at(b"x", u64::MAX), 27);
}
