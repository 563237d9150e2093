//! Pauses between two looks at a store or a file.

use std::time::Duration;

/// Blocks the thread.
#[expect(clippy::disallowed_methods, reason = "a program that waits for nothing else has to sleep")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
