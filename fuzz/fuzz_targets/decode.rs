//! P12: whatever bytes a record is decoded from, there is a record that encodes to exactly these bytes, or an error.

#![no_main]

use lessor_core::{DecodeError, Key, LeaseId, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let outline = Record::header(bytes);
    match Record::decode(bytes) {
        Ok(record) => {
            assert_eq!(record.encode(), bytes);
            assert_eq!(outline.unwrap().purge_at(), record.purge_at());
        }
        Err(DecodeError::UnknownField { number }) => {
            assert_eq!(outline.unwrap().unknown_field, Some(number));
        }
        Err(_) => {}
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = Key::from_stored(text) {
            assert_eq!(key.as_str(), text);
        }
        if let Ok(lease_id) = text.parse::<LeaseId>() {
            assert_eq!(lease_id.reveal(), text.to_ascii_lowercase());
        }
    }
});
