//! A decoder that trusted lengths in its input would try to allocate terabytes for a few damaged
//! bytes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lessor_core::{Acquisition, Engine, Key, Record, Store};
use lessor_memory::MemoryStore;

/// The maximum size of a decoded record, its optional fields and their headers, beyond the input.
const CONSTANT: usize = 640;

/// Returns the number of all allocated bytes, including those that are freed again.
fn allocated(bytes: &[u8]) -> usize {
    let counted = allocation_counter::measure(|| drop(Record::decode(bytes)));
    usize::try_from(counted.bytes_total).unwrap()
}

fn check(bytes: &[u8], what: &str) -> usize {
    let allocated = allocated(bytes);
    let most = bytes.len() + CONSTANT;
    assert!(allocated <= most, "{what}: {allocated} bytes allocated for {} of input", bytes.len());
    allocated
}

fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).unwrap();
        let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let bytes = digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect();
        (file.file_name().into_string().unwrap(), bytes)
    };
    fs::read_dir(folder).unwrap().map(|file| read(file.unwrap())).collect()
}

#[test]
fn p12_decoding_never_allocates_more_than_the_input_is_long_plus_a_constant() {
    // Lengths that fit nothing, in the encoding of the format.
    let huge: [&[u8]; 5] = [
        &[0xff],
        &[0xff, 0xff, 0x03],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    let (mut cases, mut most) = (0, 0);
    let mut count = |bytes: &[u8], what: &str| {
        most = most.max(check(bytes, what));
        cases += 1;
    };
    let samples = golden();
    assert!(!samples.is_empty());
    for (name, bytes) in &samples {
        count(bytes, name);
        for at in 0..bytes.len() {
            count(&bytes[..at], &format!("{name} cut at {at}"));
            for number in huge {
                let inserted = [&bytes[..at], number, &bytes[at + 1..]].concat();
                count(&inserted, &format!("{name} with {number:02x?} at {at}"));
            }
        }
    }
    assert!(most > 0, "the allocations are not counted");
    println!("{cases} inputs; at most {most} bytes allocated for any");
}

#[test]
fn a_large_record_is_copied_once() {
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::new(store.clone()).unwrap();
    let Acquisition::Acquired(lease) = engine.acquire("large").wait().unwrap() else { unreachable!() };
    lease.checkpoint_bytes(&vec![1; 1 << 20]).wait().unwrap();
    let in_progress = store.load(&Key::new("large").unwrap()).wait().unwrap().record.unwrap().encode();
    lease.complete_bytes(&vec![2; 1 << 20]).wait().unwrap();
    let completed = store.load(&Key::new("large").unwrap()).wait().unwrap().record.unwrap().encode();
    for bytes in [in_progress, completed] {
        assert!(bytes.len() > 1 << 20);
        assert!(check(&bytes, "large") > 1 << 20);
    }
}
