use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::{DecodeError, FORMAT_VERSION};
use crate::machine::tests::plain::{Plain, RETENTION, SEC, T, TTL, leb128};
use crate::machine::tests::walk::{play, steps};
use crate::record::{Ended, Record, Stage};

/// A record of each stage with every field that it can have, and the least one.
fn samples() -> [(&'static str, Plain); 6] {
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
                former: Some((Ended::Failed, None)),
                ..ended(Stage::Failed)
            },
        ),
        (
            "released",
            Plain {
                done: Some(T + 9 * SEC),
                former: Some((Ended::Released, Some("worker-2"))),
                ..ended(Stage::Released)
            },
        ),
        ("forgotten", crate::machine::tests::forgotten(&rich)),
    ]
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"))
}

/// Thirty-two bytes a line.
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

/// What one release has stored every later one has to read: these files are from the first release of format 1 and
/// never change. A new format gets new files beside them. `LESSOR_WRITE_GOLDEN=1 cargo test
/// -p lessor-core golden_records` writes them.
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
fn a_newer_format_is_refused_by_name() {
    for (name, plain) in samples() {
        for found in FORMAT_VERSION + 1..=u8::MAX {
            let mut bytes = plain.bytes();
            bytes[0] = found;
            let error = Record::decode(&bytes).unwrap_err();
            assert_eq!(error, DecodeError::NewerFormat { found }, "{name}");
            assert!(error.to_string().contains(&format!("format {found}")), "{error}");
        }
    }
    // Whatever a newer format looks like: its first byte is all that is read.
    assert_eq!(Record::decode(&[2]).unwrap_err(), DecodeError::NewerFormat { found: 2 });
    assert!(matches!(Record::decode(&[0]), Err(DecodeError::Damaged { at: 0, .. })));
}

#[test]
fn p12_every_truncation_and_every_byte_too_many_is_refused() {
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

/// Stores checksum whole records; what is theirs to find is a change of a number or a text, which leaves another record.
/// It must not leave a second way to write one, or records that are equal would differ as bytes.
#[test]
fn p12_every_flipped_bit_is_refused_or_makes_another_record_in_the_one_form_that_it_has() {
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

/// Results and checkpoints carry their SHA-256: of them, no bit can change unseen, nor of the hash.
#[test]
fn damage_to_a_result_or_checkpoint_is_always_found() {
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

/// A length is the first thing that damage would make huge.
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_the_machine_writes_is_read_back_as_it_was(steps in steps()) {
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

    /// Bytes that begin like a record get further than arbitrary ones.
    #[test]
    fn p12_records_with_bytes_replaced_never_panic(
        sample in 0..6_usize,
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
