//! The file of the bare log: preallocated, filled with zeros and synced before the measurement,
//! then written from start to end repeatedly. A sync has to write nothing but the data.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Promise;

/// The sizes that lessor writes for a grant and for a completion, with a key of 24 bytes and a
/// result of 64 bytes.
pub(super) const GRANTED: usize = 72;
pub(super) const COMPLETED: usize = 172;

const HEAD: usize = 12;

pub(super) struct LogFile {
    file: File,
    at: u64,
    size: u64,
    promise: Promise,
}

impl LogFile {
    pub(super) fn create(path: &Path, size: u64, promise: Promise) -> Self {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("a new file");
        // Written in small pieces. Large writes are cached in large folios, and a later write of a
        // few bytes checks all blocks of its folio, which made writes four times and syncs a sixth
        // longer (Linux 6.18, ext4).
        let zeros = vec![0; 16 << 10];
        let size = size.next_multiple_of(zeros.len() as u64);
        for offset in (0..size).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset).expect("room");
        }
        file.sync_all().expect("sync");
        Self { file, at: 0, size, promise }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.at + bytes.len() as u64 > self.size {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at).expect("write");
        self.at += bytes.len() as u64;
        if self.promise == Promise::Disk {
            self.file.sync_data().expect("sync");
        }
    }
}

/// Appends a frame of `size` bytes: its length, a CRC32C over the rest, the key's and the body's
/// lengths, both, and zeros.
pub(super) fn frame(out: &mut Vec<u8>, key: &str, body: &[u8], size: usize) {
    let start = out.len();
    let size = size.max(HEAD + key.len() + body.len());
    out.extend_from_slice(&(size as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(body.len() as u16).to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(body);
    out.resize(start + size, 0);
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Passes the key and the body of each frame to `each`, up to the first invalid frame.
pub(super) fn replay(mut file: File, mut each: impl FnMut(&str, &[u8])) {
    let mut buffer = vec![0; 1 << 20];
    let mut filled = 0;
    loop {
        let count = file.read(&mut buffer[filled..]).expect("read");
        filled += count;
        let mut done = 0;
        while let Some((key, body, size)) = parse(&buffer[done..filled]) {
            each(key, body);
            done += size;
        }
        if count == 0 || done == 0 {
            return;
        }
        buffer.copy_within(done..filled, 0);
        filled -= done;
    }
}

fn parse(bytes: &[u8]) -> Option<(&str, &[u8], usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let size = word(0)? as usize;
    let checked = bytes.get(8..size)?;
    if crc32c::crc32c(checked) != word(4)? {
        return None;
    }
    let (key, body) = (half(8)?, half(10)?);
    let key_bytes = bytes.get(HEAD..HEAD + key)?;
    Some((std::str::from_utf8(key_bytes).ok()?, bytes.get(HEAD + key..HEAD + key + body)?, size))
}
