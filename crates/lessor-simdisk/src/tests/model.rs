//! A comparison of the disk with a simple model that keeps whole copies of files.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const FILES: [&str; 3] = ["a", "b", "c"];
/// A little more than three pages.
const LEN: usize = 13_000;

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Remove(usize),
    Rename(usize, usize),
    Write { file: usize, offset: usize, len: usize, byte: u8 },
    Sync { file: usize, lost: bool },
    SyncFolder,
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0..FILES.len();
    let len = prop_oneof![1..600_usize, 3000..9000_usize];
    prop_oneof![
        2 => file().prop_map(Step::Create),
        1 => file().prop_map(Step::Remove),
        1 => (file(), file()).prop_map(|(from, to)| Step::Rename(from, to)),
        8 => (file(), 0..LEN, len, 0..4_u8)
            .prop_map(|(file, offset, len, byte)| Step::Write { file, offset, len, byte }),
        2 => (file(), prop::bool::weighted(0.2)).prop_map(|(file, lost)| Step::Sync { file, lost }),
        1 => Just(Step::SyncFolder),
    ]
}

#[derive(Clone, Default)]
struct Plain {
    /// All states of the file since the last sync, the current one last. Lengths only grow.
    since_sync: Vec<Vec<u8>>,
    /// A sync failed, so that more states are possible than the model has.
    lost: bool,
}

impl Plain {
    fn now(&self) -> &[u8] {
        self.since_sync.last().map_or(&[], Vec::as_slice)
    }

    fn sector(bytes: &[u8], sector: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = bytes.iter().skip(sector * 512).take(512).copied().collect();
        bytes.resize(512, 0);
        bytes
    }

    /// Returns whether this is a possible state of the file after a crash.
    fn may_be(&self, found: &[u8]) -> bool {
        let shortest = self.since_sync.first().map_or(0, Vec::len);
        (shortest..=self.now().len()).contains(&found.len())
            && (0..found.len().div_ceil(512)).all(|sector| {
                let found = &found[sector * 512..found.len().min(sector * 512 + 512)];
                let versions: Vec<_> =
                    self.since_sync.iter().map(|bytes| Self::sector(bytes, sector)).collect();
                versions.iter().enumerate().any(|(number, new)| {
                    let same = found.iter().zip(new).take_while(|(found, new)| found == new).count();
                    let goes_on =
                        |old: &Vec<u8>| same == found.len() || found[same..] == old[same..found.len()];
                    versions[..=number].iter().any(goes_on)
                })
            })
    }
}

/// Runs the steps on the disk and the model.
fn run(steps: &[Step]) -> (SimDisk, BTreeMap<String, Plain>) {
    let disk = SimDisk::new();
    let mut plain: BTreeMap<String, Plain> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Create(file) => {
                let made = disk.create(FILES[*file]).is_ok();
                assert_eq!(made, !plain.contains_key(FILES[*file]));
                plain
                    .entry(FILES[*file].to_owned())
                    .or_insert_with(|| Plain { since_sync: vec![vec![]], lost: false });
            }
            Step::Remove(file) => {
                assert_eq!(disk.remove(FILES[*file]).is_ok(), plain.remove(FILES[*file]).is_some());
            }
            Step::Rename(from, to) => {
                let moved = plain.remove(FILES[*from]);
                assert_eq!(disk.rename(FILES[*from], FILES[*to]).is_ok(), moved.is_some());
                plain.extend(moved.map(|moved| (FILES[*to].to_owned(), moved)));
            }
            Step::Write { file, offset, len, byte } => {
                let Some(plain) = plain.get_mut(FILES[*file]) else { continue };
                let bytes = vec![*byte; *len];
                disk.open(FILES[*file]).unwrap().write_all_at(&bytes, *offset as u64).unwrap();
                let mut now = plain.now().to_vec();
                now.resize(now.len().max(offset + len), 0);
                now[*offset..offset + len].copy_from_slice(&bytes);
                plain.since_sync.push(now);
            }
            Step::Sync { file, lost } => {
                let Some(plain) = plain.get_mut(FILES[*file]) else { continue };
                let file = disk.open(FILES[*file]).unwrap();
                if *lost {
                    disk.fail(When::call(disk.calls() + 1), Fault::SyncLost);
                    assert_errno(file.sync(), EIO);
                    plain.lost |= plain.since_sync.len() > 1;
                } else {
                    file.sync().unwrap();
                    let settled = if plain.lost { 0 } else { plain.since_sync.len() - 1 };
                    plain.since_sync.drain(..settled);
                }
            }
            Step::SyncFolder => disk.sync_folder().unwrap(),
        }
    }
    (disk, plain)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_agrees_with_a_simple_model(steps in prop::collection::vec(step(), 0..30)) {
        let (disk, plain) = run(&steps);
        prop_assert_eq!(disk.file_names(), plain.keys().cloned().collect::<Vec<_>>());
        let kept = disk.crash().image_kept();
        prop_assert_eq!(kept.file_names(), disk.file_names());
        for (name, plain) in &plain {
            prop_assert!(disk.bytes(name) == plain.now());
            prop_assert!(kept.bytes(name) == plain.now());
            prop_assert!(disk.fork().bytes(name) == plain.now());
        }
    }

    #[test]
    fn a_crash_leaves_of_each_file_what_it_may(
        steps in prop::collection::vec(step(), 0..30),
        seed in any::<u64>(),
    ) {
        let (disk, plain) = run(&steps);
        disk.sync_folder().unwrap();
        let crash = disk.crash();
        let drawn = (0..8).map(|sample| crash.image_random(seed.wrapping_add(sample)));
        for image in drawn.chain([crash.image_lost(), crash.image_kept()]).chain(crash.images_torn().take(8)) {
            for (name, plain) in &plain {
                let found = image.bytes(name);
                prop_assert!(plain.may_be(&found), "{name} has become what it never was");
            }
        }
        for (name, plain) in &plain {
            prop_assert!(plain.lost || disk.durable_bytes(name) == plain.since_sync[0]);
        }
    }
}
