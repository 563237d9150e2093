//! Reading a file in large pieces.

use std::io;

use lessor_vfs::File;

/// The number of bytes to read at once, unless more are requested.
const PIECE: u64 = 1 << 20;

/// The part of a file that was read last. It is addressed by offsets in the file, in any order.
#[derive(Debug)]
pub(crate) struct Window<'f> {
    file: &'f dyn File,
    /// The end of the part of the file that may be read.
    end: u64,
    /// The offset of `bytes` in the file.
    origin: u64,
    bytes: Vec<u8>,
}

impl<'f> Window<'f> {
    pub(crate) fn new(file: &'f dyn File, end: u64) -> Self {
        Self { file, end, origin: 0, bytes: Vec::new() }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Returns `size` bytes from offset `at` on, or `None` if there are fewer.
    pub(crate) fn view(&mut self, at: u64, size: u64) -> io::Result<Option<&[u8]>> {
        if at.checked_add(size).is_none_or(|upto| upto > self.end) {
            return Ok(None);
        }
        if self.part(at, size).is_none() {
            self.read(at, size.max(PIECE).min(self.end - at))?;
        }
        Ok(self.part(at, size))
    }

    fn part(&self, at: u64, size: u64) -> Option<&[u8]> {
        let begin = usize::try_from(at.checked_sub(self.origin)?).ok()?;
        let end = begin.checked_add(usize::try_from(size).ok()?)?;
        self.bytes.get(begin..end)
    }

    fn read(&mut self, at: u64, length: u64) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.resize(usize::try_from(length).unwrap_or(0), 0);
        self.origin = at;
        let count = match self.file.read_full_at(&mut self.bytes, at) {
            Ok(count) => count,
            Err(error) => {
                self.bytes.clear();
                return Err(error);
            }
        };
        self.bytes.truncate(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use lessor_simdisk::{CallKind, Fault, SimDisk, When};
    use lessor_vfs::Vfs;

    /// Returns the byte at an offset. Each byte identifies its offset.
    fn byte(at: u64) -> u8 {
        u8::try_from(at % 251).unwrap()
    }

    fn file(length: u64) -> (SimDisk, std::sync::Arc<dyn File>) {
        let disk = SimDisk::new();
        disk.put("file", &(0..length).map(byte).collect::<Vec<_>>());
        let file = disk.open("file").unwrap();
        (disk, file)
    }

    fn check(window: &mut Window<'_>, at: u64, size: u64) {
        let seen = window.view(at, size).unwrap().unwrap();
        assert_eq!(seen.len() as u64, size, "{size} bytes at {at}");
        assert!(seen.iter().zip(at..).all(|(seen, at)| *seen == byte(at)), "{size} bytes at {at}");
    }

    #[test]
    fn p12_a_view_shows_the_bytes_of_the_file_wherever_the_window_was_before() {
        let length = 3 * PIECE + 100;
        let (_disk, file) = file(length);
        let mut window = Window::new(&*file, length);
        let mut state = 7_u64;
        let mut draw = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        for edge in [0, PIECE, 2 * PIECE, 3 * PIECE] {
            for at in [edge.saturating_sub(512), edge.saturating_sub(1), edge, edge + 1] {
                check(&mut window, at, 90);
            }
        }
        for round in 0..200 {
            let at = draw(length);
            let most = if round % 20 == 0 { length } else { 5_000 };
            check(&mut window, at, draw(most.min(length - at) + 1));
        }
    }

    #[test]
    fn p12_a_view_past_the_end_is_refused() {
        let (_disk, file) = file(PIECE + 10);
        // The file is shorter than the given end.
        for end in [PIECE + 10, 2 * PIECE] {
            let mut window = Window::new(&*file, end);
            for (at, size) in [(PIECE + 1, 10), (PIECE + 10, 1), (2 * PIECE, 1), (1, u64::MAX), (u64::MAX, 1)]
            {
                assert!(window.view(at, size).unwrap().is_none(), "{size} bytes at {at}");
            }
            check(&mut window, PIECE, 10);
        }
    }

    #[test]
    fn a_failed_read_is_repeated() {
        let (disk, file) = file(PIECE);
        let mut window = Window::new(&*file, PIECE);
        disk.fail(When::nth(CallKind::Read, disk.calls_of(CallKind::Read) + 1), Fault::Io);
        assert!(window.view(0, 512).is_err());
        check(&mut window, 0, 512);
    }
}
