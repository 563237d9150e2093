//! The checks report damage and its position, and a truncation loses what it reports and nothing
//! else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/small.rs"]
mod small;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, ErrorKind, LeaseId};
use lessor_file::check::{self, TruncateFrom, Truncation, Verdict};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;
use small::{State, Story, dump, frames, open, state};

/// Returns a log of three openings, the second of them compacted.
fn whole() -> (SimDisk, ManualClock, std::collections::BTreeMap<u64, State>) {
    let mut story = Story::begin();
    story.some("1");
    let (disk, clock, mut states) = story.kill();
    let mut story = Story::on(disk, clock);
    story.some("2");
    story.compact();
    story.some("3");
    states.append(&mut story.states);
    let (disk, clock, mut more) = story.kill();
    states.append(&mut more);
    let mut story = Story::on(disk, clock);
    story.some("4");
    let (disk, clock, mut more) = story.kill();
    states.append(&mut more);
    (disk, clock, states)
}

#[test]
fn verify_finds_a_good_log_sound_and_changes_nothing() {
    let (disk, clock, states) = whole();
    let before = disk.content_digest();
    let report = check::verify_on(&disk).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.last_lsn, *states.keys().last().unwrap());
    assert_eq!(report.records.values().sum::<u64>(), states.values().last().unwrap().len() as u64);
    assert_eq!(disk.content_digest(), before);
    assert!(check::plan_on(&disk, TruncateFrom::Damage).unwrap().is_none());
    assert!(check::truncate_on(&disk, TruncateFrom::Damage).unwrap().is_none());
    assert_eq!(disk.content_digest(), before);

    open(&disk, &clock).close().unwrap();
    let report = check::verify_on(&disk).unwrap();
    assert!(
        matches!(report.verdict, Verdict::Sound { closed: true, torn: None, rewritten: 0, .. }),
        "{report}"
    );
}

#[test]
fn verify_names_the_process_that_has_the_log() {
    let disk = SimDisk::new();
    let store = open(&disk, &ManualClock::new());
    let error = check::verify_on(&disk).unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    store.close().unwrap();
    check::verify_on(&disk).unwrap();
    let error = check::verify_on(&SimDisk::new()).unwrap_err().to_string();
    assert!(error.contains("there is no log in"), "{error}");
}

/// An incomplete last frame is damage if the maintenance thread recorded it as synced before the
/// kill, and a torn tail otherwise. The superblock shows which of the two is the case. Logs are
/// made until both cases occurred, or one of them did often.
#[test]
fn verify_distinguishes_a_torn_tail_from_damage() {
    assert!((0..20).any(|_| torn_tail_is_reported()), "each maintenance was as quick as that");
}

/// Returns the highest `synced` of the two copies of the superblock.
fn noted(disk: &SimDisk) -> u64 {
    let bytes = disk.bytes("superblock");
    let synced = |copy: usize| u64::from_le_bytes(bytes[copy + 56..copy + 64].try_into().unwrap());
    synced(0).max(synced(4096))
}

/// Returns whether the last frame was reported as a torn tail, and not as damage.
fn torn_tail_is_reported() -> bool {
    let (disk, _, _) = whole();
    let (file, offset, lsn) = frames(&disk).into_iter().max_by_key(|(_, _, lsn)| *lsn).unwrap();
    // The frame is incomplete: its last sector has no mark.
    let mut bytes = disk.bytes(&file);
    bytes[usize::try_from(offset).unwrap() + 300..].fill(0);
    disk.put(&file, &bytes);
    let report = check::verify_on(&disk).unwrap();
    if noted(&disk) >= lsn {
        let Verdict::Damaged(damage) = &report.verdict else { panic!("{report}") };
        assert_eq!((&damage.at.file, damage.at.offset), (&file, offset));
        return false;
    }
    let Verdict::Sound { torn: Some(torn), .. } = &report.verdict else { panic!("{report}") };
    assert_eq!((&torn.file, torn.offset, report.last_lsn), (&file, offset, lsn - 1));
    true
}

#[test]
fn verify_finds_each_damage_at_its_place() {
    let (disk, _, _) = whole();
    let (lines, first) = dump(&disk);
    let read: BTreeSet<_> =
        first.files.iter().filter(|file| file.frames > 0).map(|file| file.name.clone()).collect();
    assert!(read.len() >= 4, "{first}");
    let mut planted = 0;
    for file in &read {
        for (sector, bytes) in disk.bytes(file).chunks(512).enumerate() {
            if bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            let damaged_disk = disk.fork();
            damaged_disk.flip_bit(file, sector as u64 * 4096 + 17 * 8);
            let report = check::verify_on(&damaged_disk).unwrap();
            let Verdict::Damaged(damage) = &report.verdict else {
                // Another segment replaces the frame.
                assert_eq!(dump(&damaged_disk).0, lines, "{file}, sector {sector}: {report}");
                continue;
            };
            assert_eq!(&damage.at.file, file);
            assert!(damage.at.offset <= sector as u64 * 512, "{file}, sector {sector}: {report}");
            assert!(small::try_open(&damaged_disk, &ManualClock::new()).is_err());
            planted += 1;
        }
    }
    println!("{planted} damaged sectors were found");
    assert!(planted > 30);
}

#[test]
fn p11_dump_shows_every_record_and_no_secret() {
    let disk = SimDisk::new();
    let clock = ManualClock::new();
    let store = open(&disk, &clock);
    let engine = Engine::new(Arc::clone(&store) as Arc<dyn lessor_core::Store>).unwrap();
    let lease_id = LeaseId::from_bytes([0xAB; 16]);
    let request = engine
        .acquire("order:1")
        .lease_id(lease_id)
        .metadata(&serde_json::json!({"of": "meta-secret"}))
        .holder("holder-1");
    let Acquisition::Acquired(lease) = request.wait().unwrap() else { panic!() };
    lease.checkpoint("checkpoint-secret").wait().unwrap();
    let token = lease.token().as_u64();
    lease.complete("result-secret").wait().unwrap();
    store.close().unwrap();
    let (lines, report) = dump(&disk);
    assert!(report.is_sound());
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.key.as_str(), line.stage, line.token, line.version), ("order:1", "completed", token, 3));
    assert_eq!((line.attempt, line.result_bytes), (1, Some("\"result-secret\"".len())));
    assert_eq!((line.file.as_str(), line.lsn), ("segment-0000000001", 3));
    let shown = format!("{}{line:?}{report}{report:?}", serde_json::to_string(line).unwrap());
    for secret in ["secret", "abab", "171, 171", "lease_"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn a_truncation_at_the_damage_loses_what_it_reports_and_nothing_else() {
    let (disk, clock, states) = whole();
    let last = *states.keys().last().unwrap();
    let full = &states[&last];
    let mut cuts = 0;
    for (file, offset, _) in frames(&disk) {
        let damaged_disk = disk.fork();
        damaged_disk.flip_bit(&file, (offset + 60) * 8);
        let report = check::verify_on(&damaged_disk).unwrap();
        let Verdict::Damaged(damage) = report.verdict else {
            // Another segment replaces this frame.
            continue;
        };
        assert_eq!((damage.at.file, damage.at.offset), (file.clone(), offset));
        let before = damaged_disk.content_digest();
        let plan = check::plan_on(&damaged_disk, TruncateFrom::Damage).unwrap().unwrap();
        assert_eq!(damaged_disk.content_digest(), before, "a plan changes nothing");
        let cut = check::truncate_on(&damaged_disk, TruncateFrom::Damage).unwrap().unwrap();
        assert_eq!(cut, plan);
        assert_eq!(cut.unreadable, [(cut.from_lsn, cut.from_lsn)], "{cut}");
        let left = states.range(..cut.from_lsn).next_back().unwrap().1;
        assert_is_left(&damaged_disk, &clock, left, &cut);
        let lost = assert_losses_reported(&cut, left);
        for (key, there) in full.iter().filter(|(key, there)| left.get(*key) != Some(there)) {
            // The damaged frame cannot be read, so its keys need not be reported.
            let reported = lost.contains(key) || states[&cut.from_lsn].get(key) == Some(there);
            assert!(reported, "{key} at {file}, byte {offset}: {cut}");
        }
        assert_quarantined(&disk, &damaged_disk, &cut);
        cuts += 1;
    }
    println!("{cuts} cuts at a damaged frame");
    assert!(cuts >= 20);
}

#[test]
fn a_truncation_at_a_frame_leaves_the_state_before_it() {
    let (disk, clock, states) = whole();
    let last = *states.keys().last().unwrap();
    let mut cuts = 0;
    for lsn in 1..=last {
        let cutting = disk.fork();
        let cut = match check::truncate_on(&cutting, TruncateFrom::Lsn(lsn)) {
            Ok(cut) => cut.unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                assert_eq!(cutting.content_digest(), disk.content_digest());
                continue;
            }
        };
        assert_eq!(
            (cut.from_lsn, &cut.unreadable[..], cut.frames.len() as u64),
            (lsn, &[][..], last + 1 - lsn)
        );
        let left = states.range(..lsn).next_back().unwrap().1;
        assert_is_left(&cutting, &clock, left, &cut);
        let lost: BTreeSet<_> = assert_losses_reported(&cut, left);
        let full = &states[&last];
        let really =
            full.iter().filter(|(key, there)| left.get(*key) != Some(there)).map(|(key, _)| key.clone());
        assert_eq!(lost, really.collect());
        cuts += 1;
    }
    assert!(check::truncate_on(&disk, TruncateFrom::Lsn(last + 1)).unwrap().is_none());
    println!("{cuts} cuts from a frame on");
    assert!(cuts > 10);
}

#[test]
fn a_missing_or_headless_segment_can_be_truncated() {
    let (disk, clock, states) = whole();
    let names: Vec<_> = disk.file_names().into_iter().filter(|name| name.starts_with("segment-")).collect();
    for (name, missing) in names.iter().flat_map(|name| [(name, true), (name, false)]) {
        let damaged_disk = disk.fork();
        if missing {
            damaged_disk.delete(name);
        } else {
            damaged_disk.flip_bit(name, 33 * 8);
        }
        let Verdict::Damaged(damage) = check::verify_on(&damaged_disk).unwrap().verdict else { continue };
        let cut = check::truncate_on(&damaged_disk, TruncateFrom::Damage)
            .unwrap()
            .unwrap_or_else(|| panic!("{damage:?}"));
        let left = states.range(..cut.from_lsn).next_back().unwrap().1;
        assert_is_left(&damaged_disk, &clock, left, &cut);
    }
}

#[test]
fn a_log_with_a_damaged_checkpoint_or_superblock_is_not_truncated() {
    let (disk, _, _) = whole();
    let checkpoint = disk.file_names().into_iter().find(|name| name.starts_with("checkpoint-")).unwrap();
    for file in [&*checkpoint, "superblock"] {
        let damaged_disk = disk.fork();
        damaged_disk.flip_bit(file, 600 * 8);
        if file == "superblock" {
            damaged_disk.put(file, &vec![7; 8192]);
        }
        let before = damaged_disk.content_digest();
        let error = check::truncate_on(&damaged_disk, TruncateFrom::Damage).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
        assert_eq!(damaged_disk.content_digest(), before);
    }
}

#[test]
fn an_interrupted_truncation_has_not_happened_or_can_be_repeated() {
    let (disk, clock, states) = whole();
    let all = frames(&disk);
    let of_last_opening = all.iter().rev().nth(12).unwrap();
    let damaged_disk = disk.fork();
    damaged_disk.flip_bit(&of_last_opening.0, (of_last_opening.1 + 60) * 8);
    let from = check::plan_on(&damaged_disk, TruncateFrom::Damage).unwrap().unwrap().from_lsn;
    let left = states.range(..from).next_back().unwrap().1;
    let full = states.values().last().unwrap();
    let mut images = 0;
    for (start, begin) in [(TruncateFrom::Damage, &damaged_disk), (TruncateFrom::Lsn(from), &disk)] {
        for call in 1.. {
            let cutting = begin.fork();
            let number = cutting.mutations() + call;
            cutting.power_off_during(number);
            let outcome = check::truncate_on(&cutting, start);
            for image in cutting.crash().images(4, 16, call) {
                images += 1;
                let again = image.fork();
                // A sound log opens with all records before the truncation, and with the remaining
                // ones after it.
                if check::verify_on(&image).unwrap().is_sound() {
                    let is = opened(&image, &clock);
                    assert!(
                        is == *left || (start != TruncateFrom::Damage && is == *full),
                        "call {call}: {is:?}"
                    );
                } else {
                    assert_eq!(start, TruncateFrom::Damage, "call {call}: a sound log was damaged");
                }
                // Another truncation leaves the remaining records in either case.
                match check::truncate_on(&again, start) {
                    Ok(_) => assert_eq!(opened(&again, &clock), *left, "call {call}"),
                    Err(error) => {
                        assert!(error.to_string().contains("the checkpoint stands for"), "{error}");
                        assert_eq!(opened(&again, &clock), *left, "call {call}");
                    }
                }
            }
            if outcome.is_ok() {
                break;
            }
        }
    }
    println!("{images} disks of interrupted cuts");
}

/// Returns the content of a log after an opening and a close.
fn opened(disk: &SimDisk, clock: &ManualClock) -> State {
    open(disk, clock).close().unwrap();
    let (state, report) = state(disk);
    assert!(report.is_sound(), "{report}");
    state
}

/// Checks that the log opens with this state, and that new writes persist with higher tokens than
/// all before.
fn assert_is_left(disk: &SimDisk, clock: &ManualClock, left: &State, cut: &Truncation) {
    assert_eq!(state(disk).0, *left, "{cut}");
    assert_eq!(cut.records, left.len() as u64);
    assert_eq!(opened(disk, clock), *left, "{cut}");
    let mut story = Story::on(disk.clone(), clock.clone());
    clock.advance(Duration::from_secs(3600));
    for key in left.keys() {
        if left[key].2 == "in_progress" || left[key].2 == "released" {
            let lease = story.acquire(key);
            assert!(lease.token().as_u64() > left[key].1);
            std::mem::forget(lease);
        }
    }
    story.done("after", "the cut");
    let expected = story.states.values().last().unwrap().clone();
    let (disk, ..) = story.close();
    assert_eq!(opened(&disk, &ManualClock::new()), expected);
}

/// Checks that the reported keys return to the state that remains.
fn assert_losses_reported(cut: &Truncation, left: &State) -> BTreeSet<String> {
    for lost in &cut.keys {
        let restored = lost.restored.as_ref().map(|back| (back.version, back.stage));
        assert_eq!(restored, left.get(lost.key.as_str()).map(|(version, _, stage)| (*version, *stage)));
    }
    cut.keys.iter().map(|lost| lost.key.to_string()).collect()
}

/// Checks that the removed bytes are in the reported files.
fn assert_quarantined(before: &SimDisk, after: &SimDisk, cut: &Truncation) {
    let name = cut.quarantine.first().unwrap();
    let from = usize::try_from(cut.at.offset).unwrap();
    let (was, is) = (before.bytes(&cut.at.file), after.bytes(name));
    // The flipped bit differs.
    assert_eq!(is[61..], was[from + 61..from + is.len()]);
    assert!(was[from + is.len()..].iter().all(|byte| *byte == 0));
}
