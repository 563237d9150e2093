//! Damaged files.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use lessor_fence::{FenceError, FileFence};
use lessor_simdisk::SimDisk;

const LOG: &str = "fence.log";

fn on(disk: &SimDisk) -> Result<FileFence, FenceError> {
    FileFence::open_on(Arc::new(disk.clone()))
}

/// The contents of a file with appended lines, some of which cross a sector, and the tokens.
fn contents() -> (Vec<u8>, Vec<(String, u64)>) {
    let disk = SimDisk::new();
    let fence = on(&disk).unwrap();
    let keys =
        ["invoice:1".to_owned(), "ключ 2".to_owned(), "x y".repeat(80), "🦀".repeat(200), "last".to_owned()];
    let tokens: Vec<_> = keys.into_iter().zip(1_767_225_600_000_000..).collect();
    for (key, token) in &tokens {
        fence.check(key, *token).unwrap();
    }
    (disk.bytes(LOG), tokens)
}

fn opened(bytes: &[u8]) -> Result<FileFence, FenceError> {
    let disk = SimDisk::new();
    disk.put(LOG, bytes);
    on(&disk)
}

fn is_whole(fence: &FileFence, tokens: &[(String, u64)]) -> bool {
    tokens.iter().all(|(key, token)| fence.highest(key) == Some(*token))
}

/// A token that is lost silently lets a former holder through.
#[test]
fn no_flipped_bit_loses_a_token_silently() {
    let (bytes, tokens) = contents();
    assert!(bytes.len() > 1024);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match opened(&flipped) {
            Ok(fence) => assert!(is_whole(&fence, &tokens), "bit {bit}"),
            Err(FenceError::Damaged { offset, path, .. }) => {
                assert!(offset <= bit as u64 / 8 && path.ends_with(LOG), "bit {bit}: {offset} {path}");
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
}

#[test]
fn a_lost_sector_before_the_last_line_is_refused() {
    let (bytes, _) = contents();
    let last = bytes.iter().rposition(|byte| *byte == b'\n').unwrap();
    let last = bytes[..last].iter().rposition(|byte| *byte == b'\n').unwrap();
    for sector in 0..last / 512 {
        let mut lost = bytes.clone();
        lost[sector * 512..(sector + 1) * 512].fill(0);
        assert!(matches!(opened(&lost), Err(FenceError::Damaged { .. })), "sector {sector}");
    }
}

/// A truncated file looks like one whose last line was being written, so only whole lines before
/// count.
#[test]
fn a_file_that_ends_within_a_line_has_the_tokens_of_the_lines_before() {
    let (bytes, tokens) = contents();
    for length in 0..bytes.len() {
        let whole = bytes[..length].iter().filter(|byte| **byte == b'\n').count();
        match opened(&bytes[..length]) {
            Ok(fence) => {
                let kept = whole.checked_sub(2).map_or(0, |kept| kept.min(tokens.len()));
                assert_eq!(fence.len(), kept, "length {length}");
                assert!(is_whole(&fence, &tokens[..kept]));
            }
            // A line without its line feed was not acknowledged, but looks like a damaged one only
            // within the first line.
            Err(error) => assert!(whole == 0, "length {length}: {error}"),
        }
    }
}

#[test]
fn a_file_of_noise_is_refused() {
    for noise in [&b""[..], b"\n", b"hello\n", &[0; 600], &[0xff; 600]] {
        assert!(matches!(opened(noise), Err(FenceError::Damaged { offset: 0, .. })), "{noise:?}");
    }
    let (bytes, _) = contents();
    let appended = [&bytes[..], &[b'x'; 4096]].concat();
    assert!(matches!(opened(&appended), Err(FenceError::Damaged { .. })));
}

#[test]
fn a_file_of_a_newer_format_is_refused_by_its_number() {
    let text = "lessor-fence 2";
    let line = format!("{:08x}\t{text}\nanything", crc32c::crc32c(text.as_bytes()));
    let error = opened(line.as_bytes()).unwrap_err();
    assert!(matches!(error, FenceError::Incompatible { found: 2, .. }), "{error}");
    // The file is left as it is.
    let disk = SimDisk::new();
    disk.put(LOG, line.as_bytes());
    drop(on(&disk));
    assert_eq!(disk.bytes(LOG), line.as_bytes());
}
