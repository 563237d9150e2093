//! P12: whatever a folder holds, opening it refuses it or shows records that can all be read, and still can after the
//! next opening.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/lessor-file/tests/support/recover.rs"]
mod recover;
#[path = "../../crates/lessor-file/tests/support/small.rs"]
mod small;

fuzz_target!(|bytes: &[u8]| {
    recover::recover(bytes);
});
