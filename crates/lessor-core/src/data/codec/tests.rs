use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::{DecodeError, FORMAT_VERSION, KNOWN};
use crate::data::failure::Failure;
use crate::data::payload::Payload;
use crate::data::record::{GrantEnd, Record, Stage};
use crate::data::store_error::StoreError;
use crate::data::time::Timestamp;
use crate::rules::tests::plain::{HOLDER, OTHER, Plain, RETENTION, SEC, T, TTL, at, id, leb128};
use crate::rules::tests::walk::{play, steps};
use crate::rules::{Acquire, Command, Decision, HolderCommand, Resolution, decide};

const SAMPLES: usize = 9;

/// Returns a record of each stage with all fields that it can have, and one with the fewest.
fn samples() -> [(&'static str, Plain); SAMPLES] {
    let rich = Plain::rich();
    let ended = |stage| Plain { stage, version: 8, keep_until: T + TTL + RETENTION, ..rich.clone() };
    [
        ("least", Plain::granted()),
        ("in_progress", rich.clone()),
        (
            "completed",
            Plain {
                done: Some(T + TTL + 7 * SEC),
                keep_until: T + TTL + 7 * SEC + RETENTION,
                result: Some(r#"{"receipt":"é 7"}"#),
                word: Some("receipt 7"),
                ..ended(Stage::Completed)
            },
        ),
        (
            "failed",
            Plain {
                done: Some(T + 30 * SEC),
                expires: T + 30 * SEC,
                code: Some("declined"),
                detail: Some("the bank said no"),
                former: Some((GrantEnd::Failed, None)),
                ..ended(Stage::Failed)
            },
        ),
        (
            "released",
            Plain {
                done: Some(T + 9 * SEC),
                former: Some((GrantEnd::Released, Some("worker-2"))),
                ..ended(Stage::Released)
            },
        ),
        ("forgotten", crate::rules::tests::forgotten(&rich)),
        ("in_doubt", Plain { in_doubt: true, version: 8, expires: T + 20 * SEC, ..rich.clone() }),
        (
            "retryable",
            Plain {
                done: Some(T + 9 * SEC),
                code: Some("rate_limited"),
                retry_after: Some(1000 * SEC),
                ..ended(Stage::Failed)
            },
        ),
        ("history", Plain { history: Some(history()), ..rich.clone() }),
    ]
}

/// Returns a history with everything that it can have, written by hand.
fn history() -> &'static [u8] {
    let number = |number: u64| leb128(number);
    let parts = [
        // Renewals, checkpoints, the former grant and the end of the third grant.
        vec![15, 3],
        [number(5), number(20 * SEC), number(930 * SEC)].concat(),
        [number(2), number(925 * SEC)].concat(),
        // Abandoned.
        vec![2],
        // The second grant failed by an operator's word.
        [vec![2], number(600 * SEC), vec![7], number(300 * SEC), vec![5 + 16]].concat(),
        // The first one was renewed, and lapsed.
        [vec![1 + 4, 1], number(0), number(300), number(60 * SEC), vec![1]].concat(),
        [number(1), number(SEC), number(10 * SEC)].concat(),
        b"\x08worker-1".to_vec(),
    ];
    parts.concat().leak()
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"))
}

/// Returns hexadecimal digits, 32 bytes per line.
fn to_hex(bytes: &[u8]) -> String {
    bytes
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
        .collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// Every release must read the records of all earlier ones. These files never change. `in_doubt`,
/// `retryable` and `history` have fields that the first release of format 1 does not know. A new format gets
/// additional files.
/// `LESSOR_WRITE_GOLDEN=1 cargo test -p lessor-core golden_records` writes them.
#[test]
fn golden_records_are_read_and_written_byte_for_byte() {
    for (name, plain) in samples() {
        let record = plain.record();
        let path = golden(name);
        if std::env::var_os("LESSOR_WRITE_GOLDEN").is_some() {
            fs::write(&path, to_hex(&record.encode())).unwrap();
        }
        let stored = from_hex(&fs::read_to_string(&path).unwrap());
        assert_eq!(record.encode(), stored, "{name} is written otherwise");
        let read = Record::decode(&stored).unwrap();
        assert!(read == record, "{name} is read otherwise: {read:?}");
    }
}

#[test]
fn the_golden_files_are_those_of_the_samples() {
    let mut files: Vec<_> = fs::read_dir(golden("least").parent().unwrap())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut samples = samples().map(|(name, _)| format!("{name}.hex"));
    samples.sort();
    assert_eq!(files, samples);
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    for (name, plain) in samples() {
        for found in FORMAT_VERSION + 1..=u8::MAX {
            let mut bytes = plain.bytes();
            bytes[0] = found;
            let error = Record::decode(&bytes).unwrap_err();
            assert_eq!(error, DecodeError::NewerFormat { found }, "{name}");
            assert!(error.to_string().contains(&format!("format {found}")), "{error}");
        }
    }
    // Only the first byte of a newer format is read.
    assert_eq!(Record::decode(&[2]).unwrap_err(), DecodeError::NewerFormat { found: 2 });
    assert!(matches!(Record::decode(&[0]), Err(DecodeError::Damaged { at: 0, .. })));
}

/// Returns the sample's bytes with additional bits set in "fields present".
fn with_bits(plain: &Plain, bits: u64) -> Vec<u8> {
    let head = plain.head().len();
    let bytes = plain.bytes();
    let present = plain.present();
    let fields = head + leb128(present).len();
    [&bytes[..head], &leb128(present | bits), &bytes[fields..]].concat()
}

#[test]
fn an_unknown_required_field_is_refused_with_its_number_and_the_head_is_read() {
    assert_eq!(KNOWN, (1 << 14) - 1, "fields 0 to 13 are known");
    for (name, plain) in samples() {
        let known = Record::header(&plain.bytes()).unwrap();
        assert_eq!((known.unknown_field, known.purge_at()), (None, plain.record().purge_at()), "{name}");
        for number in 14..64 {
            // A higher unknown field and the contents of the fields make no difference.
            for bits in [1 << number, 1 << number | 1 << 63] {
                for behind in [&[][..], b"behind"] {
                    let bytes = [&with_bits(&plain, bits), behind].concat();
                    let error = Record::decode(&bytes).unwrap_err();
                    assert_eq!(error, DecodeError::UnknownField { number }, "{name}");
                    let StoreError::Incompatible(cause) = StoreError::undecodable("key \"k\"", error) else {
                        panic!("{name}: {error} is not incompatible")
                    };
                    let reason = cause.reason();
                    assert!(reason.contains(&format!("field {number},")), "{reason}");
                    assert!(reason.contains("key \"k\"") && reason.contains("upgrade"), "{reason}");
                    let outline = Record::header(&bytes).unwrap();
                    assert_eq!((outline.unknown_field, outline.purge_at()), (Some(number), Timestamp::MAX));
                    assert_eq!(super::RecordHeader { unknown_field: None, ..outline }, known, "{name}");
                }
            }
        }
    }
}

/// Equal records must have equal bytes.
#[test]
fn p12_skippable_fields_have_one_form() {
    let bytes = |fields: &'static [u8]| Plain { of_record: Some(fields), ..Plain::granted() }.bytes();
    for fields in [&b"\x00\x00"[..], b"\x00\x00\x02\x00", b"\x00\x02ab\x07\x01c", b"\x80\x01\x00"] {
        let bytes = bytes(fields);
        assert_eq!(Record::decode(&bytes).unwrap().encode(), bytes, "{fields:?}");
    }
    for (what, fields) in [
        ("none", &b""[..]),
        ("a tag without a length", b"\x00"),
        ("a field that is longer than all of them", b"\x00\x03ab"),
        ("a length of 2^63", b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        ("the same tag twice", b"\x04\x00\x04\x00"),
        ("a lower tag behind a higher one", b"\x04\x00\x03\x00"),
        ("a tag in a longer form", b"\x84\x00\x00"),
        ("a tag above 2^64", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x00"),
    ] {
        let error = Record::decode(&bytes(fields)).unwrap_err();
        assert!(matches!(error, DecodeError::Damaged { .. }), "{what}: {error}");
        let of_grant = Plain { of_grant: Some(fields), ..Plain::granted() }.bytes();
        assert!(Record::decode(&of_grant).is_err(), "{what}, of the grant");
    }
}

/// Returns a failed record with the given fields of the grant.
fn failed_with(of_grant: &'static [u8]) -> Vec<u8> {
    Plain { of_grant: Some(of_grant), retry_after: None, ..samples()[7].1.clone() }.bytes()
}

#[test]
fn the_wait_before_a_retry_is_a_skippable_field_among_others() {
    for fields in [
        &b"\x01\x01\x05"[..],
        b"\x00\x01a\x01\x01\x05",
        b"\x00\x00\x01\x01\x05\x02\x01b",
        b"\x01\x01\x05\x07\x00",
    ] {
        let bytes = failed_with(fields);
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(
            record.body().retry_at(),
            record.done_at().map(|at| at.saturating_add(Duration::from_micros(5)))
        );
        assert_eq!(record.encode(), bytes, "{fields:?}");
    }
}

#[test]
fn p12_a_wait_before_a_retry_has_one_form_and_belongs_to_a_failure() {
    for (what, fields) in [
        ("no number", &b"\x01\x00"[..]),
        ("a longer form", b"\x01\x02\x85\x00"),
        ("two numbers", b"\x01\x02\x05\x05"),
        ("2^53", b"\x01\x08\x80\x80\x80\x80\x80\x80\x80\x10"),
    ] {
        assert!(Record::decode(&failed_with(fields)).is_err(), "{what}");
    }
    let longest = failed_with(b"\x01\x08\xff\xff\xff\xff\xff\xff\xff\x0f");
    assert_eq!(Record::decode(&longest).unwrap().body().retry_at(), Some(Timestamp::MAX));
    for (name, plain) in samples().into_iter().filter(|(_, plain)| plain.stage != Stage::Failed) {
        let bytes = Plain { of_grant: Some(b"\x01\x01\x05"), ..plain }.bytes();
        assert!(Record::decode(&bytes).is_err(), "{name}");
    }
}

/// Returns the result of decoding a record with this history.
fn with_history(content: &[u8]) -> Result<Record, DecodeError> {
    let bytes = Plain { history: Some(content.to_vec().leak()), ..Plain::granted() }.bytes();
    let record = Record::decode(&bytes);
    if let Ok(record) = &record {
        assert_eq!(record.encode(), bytes, "{content:?}");
    }
    record
}

#[test]
fn p12_a_history_has_one_form() {
    for content in [
        &b"\x08\x01\x02"[..],
        b"\x02\x01\x09\x05",
        b"\x04\x01\x00\x00\x05\x01",
        b"\x00\x00\x01\x00\x00\x05\x01",
    ] {
        with_history(content).unwrap();
    }
    for (what, content) in [
        ("nothing", &b""[..]),
        ("an empty history", b"\x00"),
        ("an unknown flag", b"\x10\x01"),
        ("attempt 0", b"\x02\x00\x01\x05"),
        ("no checkpoints", b"\x02\x01\x00\x05"),
        ("an unknown end of the last grant", b"\x08\x01\x01"),
        ("no end of the last grant", b"\x08\x01\x00"),
        ("an unknown end of the former grant", b"\x04\x01\x00\x00\x05\x06"),
        ("a lapse by an operator", b"\x04\x01\x00\x00\x05\x11"),
        ("a flag of the last grant at an earlier one", b"\x00\x10\x01\x00\x00\x05\x01"),
        ("the holder of no earlier grant", b"\x00\x08\x01\x00\x00\x05\x01"),
        ("a part of a grant", b"\x00\x00\x01\x00"),
        ("a long label", &[&b"\x00\x04\x01\x00\x00\x05\x01\x41"[..], &[b'x'; 65]].concat()),
    ] {
        assert!(with_history(content).is_err(), "{what}");
    }
    let tombstone = Plain { history: Some(history()), ..crate::rules::tests::forgotten(&Plain::granted()) };
    assert!(Record::decode(&tombstone.bytes()).is_err(), "a forgotten record has no history");
}

#[test]
fn only_a_record_in_progress_can_be_in_doubt() {
    for (name, plain) in samples() {
        let marked = Record::decode(&Plain { in_doubt: true, ..plain.clone() }.bytes());
        assert_eq!(marked.is_ok(), plain.stage == Stage::InProgress, "{name}");
    }
}

#[test]
fn p12_every_truncation_and_every_extra_byte_is_refused() {
    let mut cases = 0;
    for (name, plain) in samples() {
        let bytes = plain.bytes();
        for length in 0..bytes.len() {
            assert!(Record::decode(&bytes[..length]).is_err(), "{name} cut to {length} bytes");
            cases += 1;
        }
        for byte in 0..=u8::MAX {
            let longer = [&bytes[..], &[byte]].concat();
            assert!(Record::decode(&longer).is_err(), "{name} with {byte} behind it");
            cases += 1;
        }
    }
    println!("{cases} truncated or lengthened records");
}

/// A flipped bit in a number or a text may produce another valid record, which the checksums of
/// stores detect. It must never produce a second encoding of a record, because equal records must
/// have equal bytes.
#[test]
fn p12_every_flipped_bit_is_refused_or_makes_another_record_in_its_only_form() {
    let (mut refused, mut others) = (0, 0);
    for (name, plain) in samples() {
        let bytes = plain.bytes();
        let original = plain.record();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match Record::decode(&flipped) {
                Err(_) => refused += 1,
                Ok(record) => {
                    assert_eq!(record.encode(), flipped, "{name}, bit {bit}");
                    assert!(record != original, "{name}, bit {bit} is not seen");
                    others += 1;
                }
            }
        }
    }
    println!("{refused} flips refused, {others} made another record");
    assert!(refused > 0 && others > 0);
}

/// Results and checkpoints are stored with their SHA-256, so every changed bit in the contents or
/// the hash is detected.
#[test]
fn damage_to_a_result_or_checkpoint_is_always_detected() {
    let [_, (_, in_progress), (_, completed), ..] = samples();
    let mut flips = 0;
    for (plain, content) in [
        (&completed, completed.result.unwrap()),
        (&completed, completed.checkpoint.unwrap()),
        (&in_progress, in_progress.checkpoint.unwrap()),
    ] {
        let bytes = plain.bytes();
        let found = |window: &[u8]| window == content.as_bytes();
        let at = bytes.windows(content.len()).position(found).unwrap();
        let from = at - leb128(content.len() as u64).len() - 32;
        for bit in from * 8..(at + content.len()) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Record::decode(&flipped).unwrap_err();
            let is_length = (from + 32..at).contains(&(bit / 8));
            assert!(is_length || error.to_string().contains("SHA-256"), "{error} at bit {bit}");
            flips += 1;
        }
    }
    println!("{flips} flips in contents, hashes and lengths");
}

#[test]
fn p12_numbers_have_one_form_and_stay_in_range() {
    let bytes = Plain::granted().bytes();
    let first_seen = leb128(T);
    assert_eq!(bytes[18..18 + first_seen.len()], first_seen);
    let with = |number: &[u8]| [&bytes[..18], number, &bytes[18 + first_seen.len()..]].concat();
    let mut longer = first_seen.clone();
    *longer.last_mut().unwrap() |= 0x80;
    longer.push(0);
    for (what, number) in [
        ("a longer form", longer),
        ("2^53", leb128(1 << 53)),
        ("2^64 - 1", leb128(u64::MAX)),
        ("2^64", [&[0x80; 9][..], &[2]].concat()),
        ("eleven bytes", [&[0x80; 10][..], &[1]].concat()),
    ] {
        assert!(Record::decode(&with(&number)).is_err(), "{what}");
    }
    assert!(Record::decode(&with(&first_seen)).is_ok());
}

/// Damage can turn a length into a huge number.
#[test]
fn p12_a_length_beyond_the_input_is_refused() {
    let plain = Plain { holder: Some("h"), ..Plain::granted() };
    let bytes = plain.bytes();
    let head = &bytes[..bytes.len() - 2];
    for length in [2, 1 << 20, 1 << 40, u64::MAX] {
        assert!(Record::decode(&[head, &leb128(length), b"h"].concat()).is_err(), "{length}");
    }
    assert!(Record::decode(&[head, &leb128(1), b"h"].concat()).is_ok());
}

/// Generates unknown skippable fields with arbitrary tags and contents, in their only form.
fn fields() -> impl Strategy<Value = Option<&'static [u8]>> {
    let tag = prop_oneof![0..200_u64, any::<u64>()].prop_filter("known", |tag| *tag != 1);
    let content = proptest::collection::vec(any::<u8>(), 0..300);
    proptest::collection::btree_map(tag, content, 0..6).prop_map(|fields| {
        let one =
            |(tag, content): (u64, Vec<u8>)| [leb128(tag), leb128(content.len() as u64), content].concat();
        let bytes: Vec<u8> = fields.into_iter().flat_map(one).collect();
        (!bytes.is_empty()).then(|| &*bytes.leak())
    })
}

/// Returns all kinds of changes of a record: their times, the commands, and whether they make a
/// grant.
fn changes() -> [(u64, Command, bool); 15] {
    let resolve = |resolution| Command::Resolve { resolution, force: true };
    let act = |act| Command::Holder(id(HOLDER), act);
    let ttl = Duration::from_micros(2 * TTL);
    let acquire = Command::Acquire(Acquire::new(id(OTHER), ttl));
    let failure = || Failure::new("declined", None).retry_after(ttl);
    let (live, late) = (T + SEC, T + 2 * TTL);
    [
        (live, act(HolderCommand::Extend { ttl }), false),
        (live, act(HolderCommand::Checkpoint(Payload::new(b"page 18"))), false),
        (live, act(HolderCommand::Complete(Payload::new(b"paid"), Some("word".into()))), false),
        (live, act(HolderCommand::Fail(failure())), false),
        (live, act(HolderCommand::Release), false),
        (live, act(HolderCommand::Abandon), false),
        (late, act(HolderCommand::Complete(Payload::new(b"paid"), None)), false),
        (late, act(HolderCommand::Fail(failure())), false),
        (late, act(HolderCommand::Release), false),
        (live, act(HolderCommand::Doubt), false),
        (late, act(HolderCommand::Doubt), false),
        (late, resolve(Resolution::Completed(Payload::new(b"paid"), None)), false),
        (late, resolve(Resolution::Released), false),
        (live, resolve(Resolution::Released), false),
        (late, acquire, true),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn unknown_skippable_fields_are_kept_byte_for_byte(
        sample in 0..SAMPLES,
        of_record in fields(),
        of_grant in fields(),
    ) {
        let plain = Plain { of_record, of_grant, retry_after: None, history: None, ..samples()[sample].1.clone() };
        let record = Record::decode(&plain.bytes()).unwrap();
        prop_assert_eq!(record.encode(), plain.bytes());
    }

    #[test]
    fn unknown_skippable_fields_are_kept_by_changes_and_those_of_a_grant_dropped_with_it(
        is_rich in any::<bool>(),
        of_record in fields(),
        of_grant in fields(),
    ) {
        let grant = if is_rich { Plain::rich() } else { Plain::granted() };
        let before = Plain { of_record, of_grant, ..grant }.bytes();
        for (now, command, is_grant) in changes() {
            let record = Record::decode(&before).unwrap();
            let decision = decide(Some(&record), &command, at(now), Duration::from_micros(RETENTION));
            let Decision::Write(write, _) = decision else { panic!("{decision:?}") };
            let next = Record::decode(&write.next.encode()).unwrap();
            let attributes = next.body().attributes();
            let kept = (attributes.of_record.as_deref(), attributes.of_grant.as_deref());
            let expected = (of_record, if is_grant { None } else { of_grant });
            prop_assert_eq!(kept, expected, "{:?}", command);
        }
    }

    #[test]
    fn every_record_of_the_rules_round_trips(steps in steps()) {
        for record in play(&steps) {
            let bytes = record.encode();
            let read = Record::decode(&bytes).unwrap();
            prop_assert!(read == record, "{read:?} is not {record:?}");
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn p12_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_canonical(&bytes)?;
    }

    #[test]
    fn p12_arbitrary_histories_are_refused_or_have_one_form(
        content in proptest::collection::vec(0..40_u8, 0..60),
    ) {
        let _ = with_history(&content);
    }

    /// Bytes that begin like a record reach more of the decoder than arbitrary ones.
    #[test]
    fn p12_records_with_bytes_replaced_never_panic(
        sample in 0..SAMPLES,
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = samples()[sample].1.bytes();
        for (place, byte) in places {
            *place.get_mut(&mut bytes) = byte;
        }
        check_canonical(&bytes)?;
    }
}

fn check_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(record) = Record::decode(bytes) {
        prop_assert_eq!(record.encode(), bytes);
    }
    Ok(())
}
