//! The bytes of a file, in pages that copies share. Pages of zeros are left out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub(crate) const SECTOR: usize = 512;
const PAGE: usize = 4096;
const SECTORS_PER_PAGE: u64 = (PAGE / SECTOR) as u64;

pub(crate) type Sector = [u8; SECTOR];
type Page = [u8; PAGE];
static ZEROS: Page = [0; PAGE];

/// Bytes past `len` may be left from a sector that was written in full. They are never read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pages: Arc<BTreeMap<u64, Arc<Page>>>,
    pub(crate) len: u64,
}

impl Content {
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = buffer.len().min(to_usize(self.len.saturating_sub(offset)));
        for chunk in chunks(offset, count, PAGE) {
            let page = self.page(chunk.unit);
            if let Some(buffer) = buffer.get_mut(chunk.part.clone()) {
                buffer.copy_from_slice(slice(page, chunk.inside()));
            }
        }
        count
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; to_usize(self.len)];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Writes `bytes` into a sector, from byte `from` on. Does not change the length. Returns
    /// whether the sector changed.
    pub(crate) fn write_sector(&mut self, sector: u64, from: usize, bytes: &[u8]) -> bool {
        let start = to_usize(sector % SECTORS_PER_PAGE) * SECTOR + from;
        self.write_page(&Chunk { unit: sector / SECTORS_PER_PAGE, from: start, part: 0..bytes.len() }, bytes)
    }

    /// Returns whether the file has `bytes` at `offset`. Fast for zeros in an empty part of the
    /// file.
    pub(crate) fn has(&self, offset: u64, bytes: &[u8]) -> bool {
        chunks(offset, bytes.len(), PAGE)
            .all(|chunk| slice(self.page(chunk.unit), chunk.inside()) == slice(bytes, chunk.part))
    }

    pub(crate) fn sector(&self, sector: u64) -> Sector {
        let start = to_usize(sector % SECTORS_PER_PAGE) * SECTOR;
        let bytes = slice(self.page(sector / SECTORS_PER_PAGE), start..start + SECTOR);
        bytes.try_into().unwrap_or([0; SECTOR])
    }

    /// Sets the length to `len` bytes. All bytes past it become zero.
    pub(crate) fn resize(&mut self, len: u64) {
        self.len = len;
        let (last, inside) = (len / PAGE as u64, to_usize(len % PAGE as u64));
        let past = if inside == 0 { last } else { last + 1 };
        if self.pages.last_key_value().is_some_and(|(page, _)| *page >= past) {
            Arc::make_mut(&mut self.pages).split_off(&past);
        }
        let zeros = slice(&ZEROS, inside..PAGE);
        if inside > 0 && slice(self.page(last), inside..PAGE) != zeros {
            self.write_page(&Chunk { unit: last, from: inside, part: 0..zeros.len() }, zeros);
        }
    }

    /// Returns the pages that are not all zero.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().filter(|(_, page)| ***page != ZEROS).map(|(index, page)| (*index, page.as_slice()))
    }

    fn write_page(&mut self, chunk: &Chunk, bytes: &[u8]) -> bool {
        if slice(self.page(chunk.unit), chunk.inside()) == bytes {
            return false;
        }
        let page = Arc::make_mut(&mut self.pages).entry(chunk.unit).or_insert_with(|| Arc::new(ZEROS));
        if let Some(part) = Arc::make_mut(page).get_mut(chunk.inside()) {
            part.copy_from_slice(bytes);
        }
        true
    }

    fn page(&self, index: u64) -> &Page {
        self.pages.get(&index).map_or(&ZEROS, |page| page)
    }
}

/// A part of a byte range that lies in one page or one sector.
pub(crate) struct Chunk {
    /// The number of the page or sector.
    pub(crate) unit: u64,
    /// The offset of the part in the unit.
    pub(crate) from: usize,
    /// The range of the part in the bytes.
    pub(crate) part: Range<usize>,
}

impl Chunk {
    pub(crate) fn inside(&self) -> Range<usize> {
        self.from..self.from + self.part.len()
    }
}

/// Splits `len` bytes from `offset` on at the multiples of `unit`.
pub(crate) fn chunks(offset: u64, len: usize, unit: usize) -> impl Iterator<Item = Chunk> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let from = to_usize(at % unit as u64);
        let part = done..len.min(done + unit - from);
        done = part.end;
        (!part.is_empty()).then_some(Chunk { unit: at / unit as u64, from, part })
    })
}

pub(crate) fn slice(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}

pub(crate) fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
