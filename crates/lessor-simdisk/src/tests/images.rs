//! Enumerations of the disks after a crash.

use std::collections::HashMap;

use super::*;

/// Returns a disk with two versions of one sector, one of another, a length and a new file.
fn busy() -> SimDisk {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("ab"), 0).unwrap();
    file.sync().unwrap();
    file.write_at(&sectors("1"), 0).unwrap();
    file.write_at(&sectors("2"), 0).unwrap();
    file.write_at(&sectors("34"), 512).unwrap();
    disk.create("b").unwrap();
    disk
}

#[test]
fn the_enumeration_has_every_disk_exactly_once() {
    let disk = busy();
    let unsynced = disk.crash().unsynced();
    assert_eq!(unsynced, Unsynced { sectors: vec![2, 1, 1], lengths: 1, operations: 1 });
    assert_eq!((unsynced.choices(), unsynced.combinations()), (5, 3 * 2 * 2 * 2 * 2));

    // No choice is made for a sector past the end of a short file.
    let digests: Vec<u64> =
        disk.crash().images_exhaustive(6).unwrap().map(|image| image.content_digest()).collect();
    assert_eq!(digests.len(), 3 * 2 * (2 + 1) * 2);
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
    assert!(disk.crash().images_exhaustive(5).is_none());
    assert_eq!(SimDisk::new().crash().images_exhaustive(0).unwrap().count(), 1);
}

#[test]
fn everything_or_nothing_is_kept_on_demand() {
    let disk = busy();
    assert_eq!(disk.crash().image_kept().content_digest(), disk.content_digest());
    let lost = disk.crash().image_lost();
    assert_eq!((letters(&lost, "a"), lost.file_names()), ("ab".to_owned(), vec!["a".to_owned()]));
}

#[test]
fn an_image_is_durable_and_independent() {
    let disk = busy();
    disk.power_off();
    let image = disk.crash().image_kept();
    assert_eq!(image.crash().unsynced(), Unsynced::default());
    assert_eq!((image.calls(), image.mutations()), (0, 0));
    image.open("a").unwrap().write_at(b"!", 0).unwrap();
    image.remove("b").unwrap();
    assert_eq!(letters(&disk, "a"), "234");
    assert_eq!(disk.file_names(), ["a", "b"]);
}

#[test]
fn every_tear_is_enumerated() {
    let (disk, file) = with_file("a");
    file.write_at(&[b'0'; 600], 0).unwrap();
    file.sync().unwrap();
    file.write_at(b"abc", 510).unwrap();
    file.write_at(b"xy", 0).unwrap();
    let seen: BTreeSet<String> = disk
        .crash()
        .images_torn()
        .map(|image| {
            String::from_utf8([&image.bytes("a")[..2], &image.bytes("a")[510..513]].concat()).unwrap()
        })
        .collect();
    // The first write with everything else kept and with nothing else, and the second one. A single
    // byte cannot be torn.
    assert_eq!(seen, set(["00a0c", "00a00", "x0abc"]));
}

#[test]
fn sectors_before_the_tear_in_the_same_write_are_kept() {
    let (disk, file) = with_file("a");
    file.write_at(&sectors("abc"), 0).unwrap();
    file.sync().unwrap();
    file.write_at(&sectors("ABC"), 0).unwrap();
    let ends = |image: &SimDisk| [0, 511, 512, 1023, 1024, 1535].map(|at| char::from(image.bytes("a")[at]));
    let seen: BTreeSet<String> =
        disk.crash().images_torn().map(|image| ends(&image).iter().collect()).collect();
    assert_eq!(seen, set(["AaBBCC", "Aabbcc", "AABbCC", "AABbcc", "AABBCc"]));
}

#[test]
fn random_images_are_reproducible_and_reach_every_disk() {
    let disk = busy();
    let crash = disk.crash();
    let all: BTreeSet<u64> =
        crash.images_exhaustive(6).unwrap().map(|image| image.content_digest()).collect();
    let mut drawn: HashMap<u64, u32> = HashMap::new();
    for seed in 0..8000 {
        let digest = crash.image_random(seed).content_digest();
        *drawn.entry(digest).or_default() += 1;
    }
    assert_eq!(crash.image_random(1234).content_digest(), crash.image_random(1234).content_digest());
    assert!(all.iter().all(|digest| drawn.contains_key(digest)));
    assert!(drawn.len() > all.len(), "tears");
    for often in [crash.image_lost(), crash.image_kept()] {
        assert!(drawn[&often.content_digest()] > 400);
    }
}

#[test]
fn images_are_all_or_as_many_samples_as_requested() {
    let disk = busy();
    let crash = disk.crash();
    assert_eq!(crash.images(6, 7, 1).count(), 36);
    assert_eq!(crash.images(5, 7, 1).count(), 7);
}

#[test]
fn the_changes_up_to_a_moment_can_be_kept() {
    let disk = busy();
    let crash = disk.crash();
    let seen: Vec<String> = crash
        .times()
        .into_iter()
        .map(|time| {
            let image = crash.image(&mut |choice| choice.as_of(time));
            format!("{} {}", letters(&image, "a"), image.file_names().len())
        })
        .collect();
    assert_eq!(seen, ["1b 1", "2b 1", "234 1", "234 2"]);
}
