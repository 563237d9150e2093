//! Reads the file, and tells an end that a crash tore from damage.

use std::io;
use std::iter;

use lessor_vfs::Vfs;

use crate::file::error::{FenceError, failed, path};
use crate::file::line::{self, Line, MAX_LINE};
use crate::file::names::LOG;
use crate::table::Table;

/// Disks write whole sectors, front to back.
const SECTOR: usize = 512;

/// Returns what the file says, or `None` if there is no file. A torn end is ignored: a crash
/// interrupted the write of the last line, so its token was never accepted.
pub(super) fn read(vfs: &dyn Vfs) -> Result<Option<Table>, FenceError> {
    let file = match vfs.open(LOG) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(vfs, "opening", LOG, error)),
    };
    let reading = |error| failed(vfs, "reading", LOG, error);
    let length = usize::try_from(file.len().map_err(reading)?).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|error| reading(io::Error::other(error)))?;
    bytes.resize(length, 0);
    let read = file.read_full_at(&mut bytes, 0).map_err(reading)?;
    bytes.truncate(read);
    table(&bytes).map(Some).map_err(|(offset, problem)| match problem {
        Problem::Damage(reason) => FenceError::Damaged { path: path(vfs, LOG), offset, reason },
        Problem::Format(found) => FenceError::Incompatible { path: path(vfs, LOG), found },
    })
}

enum Problem {
    Damage(&'static str),
    Format(u64),
}

/// Returns the table in the bytes of a file, or the first problem and its offset.
fn table(bytes: &[u8]) -> Result<Table, (u64, Problem)> {
    let mut table = Table::default();
    let mut offset = 0_usize;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let at = offset as u64;
        let end = rest.iter().position(|byte| *byte == b'\n');
        let body = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let text = match (end, line::verify(body)) {
            (Some(_), Ok(text)) => text,
            // The first line was synced before the file got its name.
            _ if offset > 0 && is_torn(rest, offset) => return Ok(table),
            (_, Err(reason)) => return Err((at, Problem::Damage(reason))),
            (None, Ok(_)) => return Err((at, Problem::Damage("the line feed is missing"))),
        };
        match line::parse(text).map_err(|reason| (at, Problem::Damage(reason)))? {
            Line::Format(format) if offset == 0 && line::is_known(format) => {}
            Line::Format(format) if offset == 0 => return Err((at, Problem::Format(format))),
            Line::Format(_) => return Err((at, Problem::Damage("the first line is repeated"))),
            _ if offset == 0 => return Err((at, Problem::Damage("the first line is missing"))),
            Line::Floor(floor) => table.forget_below(floor),
            Line::Token(token, key) => table.raise(key, token),
        }
        offset += body.len() + 1;
    }
    match offset {
        0 => Err((0, Problem::Damage("the file is empty"))),
        _ => Ok(table),
    }
}

/// Returns whether `tail`, which begins at `offset` and extends to the end of the file, can be a
/// line whose write was interrupted.
///
/// Each line is synced before the next one is written, so at most one line is unfinished. A file
/// that ends within the line is unfinished. In a file that has the full length, some sector was
/// written only up to some byte, and has zeros from there on. Anything else is damage.
fn is_torn(tail: &[u8], offset: usize) -> bool {
    let feed = tail.iter().position(|byte| *byte == b'\n');
    match (feed, tail.split_last()) {
        _ if tail.len() > MAX_LINE => false,
        (None, Some((0, _))) => true,
        // The line is complete except for its last byte, so that byte is damaged.
        (None, Some((_, before))) => line::verify(before).is_err(),
        (Some(feed), Some((_, before))) => feed == before.len() && has_unwritten_sector(tail, offset),
        (_, None) => false,
    }
}

fn has_unwritten_sector(tail: &[u8], offset: usize) -> bool {
    let (first, others) = tail.split_at((SECTOR - offset % SECTOR).min(tail.len()));
    iter::once(first).chain(others.chunks(SECTOR)).any(|part| part.last() == Some(&0))
}
