//! Entries: a key and its record, as they are stored in a frame.
//!
//! ```text
//! LSN            varint, in checkpoints only
//! key            length (varint), UTF-8
//! length         length of the record (varint)
//! checksum       CRC32C of key and record, 4 bytes
//! record         as encoded by lessor-core
//! ```

use lessor_core::Key;

/// An entry that was read. The record is not decoded yet.
#[derive(Debug)]
pub(crate) struct Entry<'b> {
    /// The LSN of the write, in checkpoints only.
    pub(crate) lsn: Option<u64>,
    pub(crate) key: Key,
    pub(crate) checksum: u32,
    pub(crate) record: &'b [u8],
    /// The offset of the record in the bytes that were read.
    pub(crate) at: usize,
}

/// The offset of the record in an encoded entry, its length and its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    pub(crate) at: usize,
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

/// Appends an entry to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, lsn: Option<u64>, key: &Key, record: &[u8]) -> Encoded {
    let begin = out.len();
    if let Some(lsn) = lsn {
        varint(out, lsn);
    }
    varint(out, key.len() as u64);
    out.extend_from_slice(key.as_bytes());
    varint(out, record.len() as u64);
    let checksum = checksum(key, record);
    out.extend_from_slice(&checksum.to_le_bytes());
    let at = out.len() - begin;
    out.extend_from_slice(record);
    Encoded { at, length: u32::try_from(record.len()).unwrap_or(u32::MAX), checksum }
}

pub(crate) fn checksum(key: &Key, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), record)
}

/// Iterates over the entries of a frame. CheckpointSummary with an error if an entry does not fit.
pub(crate) struct Entries<'b> {
    bytes: &'b [u8],
    at: usize,
    with_lsn: bool,
}

impl<'b> Entries<'b> {
    pub(crate) fn new(bytes: &'b [u8], with_lsn: bool) -> Self {
        Self { bytes, at: 0, with_lsn }
    }

    fn take(&mut self, count: u64) -> Option<&'b [u8]> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn entry(&mut self) -> Option<Entry<'b>> {
        let lsn = if self.with_lsn { Some(self.varint()?) } else { None };
        let length = self.varint()?;
        let key = Key::from_stored(std::str::from_utf8(self.take(length)?).ok()?).ok()?;
        let length = self.varint()?;
        let checksum = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        let at = self.at;
        let record = self.take(length)?;
        Some(Entry { lsn, key, checksum, record, at })
    }
}

impl<'b> Iterator for Entries<'b> {
    type Item = Result<Entry<'b>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let entry = self.entry();
        if entry.is_none() {
            self.at = self.bytes.len();
        }
        Some(entry.ok_or("an entry of a frame does not fit"))
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
