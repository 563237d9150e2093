//! The data that a power loss loses and keeps.

use super::*;

#[test]
fn synced_data_survives_every_crash() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("ab"), 0).unwrap();
    file.write_at(&sectors("AB"), 0).unwrap();
    file.sync().unwrap();
    disk.create("other").unwrap().write_at(b"open", 0).unwrap();

    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), set(["AB"]));
    assert_eq!(disk.durable_bytes("a"), sectors("AB"));
    for seed in 0..200 {
        assert_eq!(letters(&disk.crash().image_random(seed), "a"), "AB");
    }
}

#[test]
fn an_unsynced_sector_may_be_any_version_since_the_last_sync() {
    let (disk, file) = with_file("a");
    for letters in ["0", "1", "2"] {
        file.write_at(&sectors(letters), 0).unwrap();
        if letters == "0" {
            file.sync().unwrap();
        }
    }
    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), set(["0", "1", "2"]));
    assert_eq!(disk.crash().unsynced(), Unsynced { sectors: vec![2], lengths: 0, operations: 0 });
}

#[test]
fn sectors_are_lost_independently_of_each_other() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("abc"), 0).unwrap();
    file.sync().unwrap();
    file.write_at(&sectors("ABC"), 0).unwrap();

    let expected = set(["abc", "abC", "aBc", "aBC", "Abc", "AbC", "ABc", "ABC"]);
    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), expected);
}

#[test]
fn a_partly_written_sector_is_lost_or_kept_as_a_whole() {
    let (disk, file) = with_file("a");
    file.write_at(&[0; 1024], 0).unwrap();
    file.sync().unwrap();
    file.write_at(b"xyz", 511).unwrap();

    let seen = after_each_crash(&disk, |image| image.bytes("a")[511..514].to_vec());
    assert_eq!(seen, [*b"\0\0\0", *b"x\0\0", *b"\0yz", *b"xyz"].map(Vec::from).into());
}

#[test]
fn a_torn_sector_begins_with_new_bytes_and_ends_with_old_ones() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("0"), 0).unwrap();
    file.sync().unwrap();
    file.write_at(&sectors("1"), 0).unwrap();
    file.write_at(&sectors("2"), 0).unwrap();
    let torn = |number, end, under| {
        disk.crash()
            .image(&mut |choice| match choice {
                Choice::Sector { .. } => number,
                Choice::Torn { .. } => end,
                Choice::Under { .. } => under,
                _ => panic!("nothing else is open"),
            })
            .bytes("a")
    };

    assert_eq!(torn(2, 3, 1), [&[b'2'; 3][..], &[b'1'; 509][..]].concat());
    assert_eq!(torn(2, 511, 0), [&[b'2'; 511][..], b"0"].concat());
    assert_eq!(torn(1, 1, 0), [b"1", &[b'0'; 511][..]].concat());
    // An answer above the highest one counts as the highest, and a tear at either end of a sector
    // has no effect.
    assert_eq!(torn(1, 1, 7), torn(1, 1, 0));
    assert_eq!(torn(9, 512, 0), sectors("2"));
    assert_eq!(torn(2, 0, 0), sectors("2"));
}

#[test]
fn an_unsynced_file_may_have_any_length() {
    let (disk, file) = with_file("a");
    file.write_at(b"abc", 0).unwrap();
    let crash = disk.crash();
    let cut = |len| {
        crash.image(&mut |choice| match choice {
            Choice::Length { durable: 0, visible: 3, .. } => len,
            choice => choice.kept(),
        })
    };
    for len in 0..=3 {
        assert_eq!(cut(len as u64).bytes("a"), b"abc"[..len]);
    }
    assert_eq!(cut(4).bytes("a"), b"abc");
}

#[test]
fn a_grown_file_is_at_least_as_long_as_at_its_last_sync() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("a"), 0).unwrap();
    file.sync().unwrap();
    file.write_at(&sectors("bc"), 512).unwrap();
    file.write_at(&sectors("d"), 3 * 512).unwrap();

    let lengths: BTreeSet<u64> = (0..500).map(|seed| disk.crash().image_random(seed).total_len()).collect();
    assert_eq!((lengths.first(), lengths.last()), (Some(&512), Some(&2048)));
    assert!(lengths.contains(&1536), "the length between the two writes");
    assert!(lengths.iter().any(|len| len % 512 != 0), "{lengths:?}");
}

#[test]
fn bytes_past_a_lost_length_are_zero_when_the_file_grows_again() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("abc"), 0).unwrap();
    let image = disk.crash().image(&mut |choice| match choice {
        Choice::Length { .. } => 5,
        choice => choice.kept(),
    });
    image.open("a").unwrap().write_at(b"!", 1000).unwrap();
    let bytes = image.bytes("a");
    assert_eq!(bytes[..5], *b"aaaaa");
    assert!(bytes[5..1000].iter().all(|byte| *byte == 0));
}

#[test]
fn a_sync_does_not_cover_writes_during_it() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("a"), 0).unwrap();
    let during = file.clone();
    disk.on_call(Some(Arc::new(move |call| {
        if call.kind == CallKind::Sync {
            during.write_at(&sectors("AB"), 0).unwrap();
        }
    })));
    file.sync().unwrap();
    disk.on_call(None);

    assert_eq!(disk.durable_bytes("a"), sectors("a"));
    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), set(["a", "A", "a.", "aB", "A.", "AB"]));
    file.sync().unwrap();
    assert_eq!(after_each_crash(&disk, |image| letters(image, "a")), set(["AB"]));
}

#[test]
fn a_lost_length_frees_its_space() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("abc"), 0).unwrap();
    assert_eq!(after_each_crash(&disk, SimDisk::used), [0, 3 * 512].into());
}

#[test]
fn a_crash_is_not_changed_by_later_calls() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("a"), 0).unwrap();
    let crash = disk.crash();
    file.write_at(&sectors("bb"), 0).unwrap();
    file.sync().unwrap();
    disk.remove("a").unwrap();
    disk.sync_folder().unwrap();
    assert_eq!(letters(&crash.image_kept(), "a"), "a");
}
