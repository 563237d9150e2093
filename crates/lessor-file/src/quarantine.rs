//! Copying the bytes that are removed from a log.

use std::io;

use lessor_vfs::{File, Vfs};

use crate::problem::Problem;

/// Copies the bytes of `file` from offset `from` on to a new file and syncs it. Does not sync the
/// folder. Returns the number of bytes up to the last one that is not zero. If all bytes are zero,
/// no file is created.
pub(crate) fn copy(vfs: &dyn Vfs, file: &dyn File, from: u64, name: &str) -> Result<u64, Problem> {
    let failed = |doing| move |error| Problem::io(vfs, name, doing, error);
    if vfs.list().map_err(failed("listing"))?.iter().any(|there| there == name) {
        // The file is left from an interrupted attempt.
        vfs.remove(name).map_err(failed("removing"))?;
    }
    let used = used(file, from).map_err(failed("copying to"))?;
    if used > 0 {
        let copy = vfs.create(name).map_err(failed("making"))?;
        let append = |at: u64, bytes: &[u8]| copy.write_all_at(bytes, at);
        let copied = each_chunk(file, from, used, append).map_err(failed("copying to"));
        if let Err(problem) = copied.and_then(|()| copy.sync().map_err(failed("syncing"))) {
            // An incomplete copy takes space that may be needed.
            let _ = vfs.remove(name);
            return Err(problem);
        }
    }
    Ok(used)
}

fn used(file: &dyn File, from: u64) -> io::Result<u64> {
    let mut used = 0;
    let length = file.len()?.saturating_sub(from);
    each_chunk(file, from, length, |at, bytes| {
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            used = at + last as u64 + 1;
        }
        Ok(())
    })?;
    Ok(used)
}

fn each_chunk(
    file: &dyn File,
    from: u64,
    length: u64,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    const CHUNK: u64 = 1 << 20;
    let mut buffer = vec![0; usize::try_from(CHUNK.min(length)).unwrap_or(0)];
    let mut at = 0;
    while at < length {
        let want = usize::try_from(CHUNK.min(length - at)).unwrap_or(0);
        let chunk = buffer.get_mut(..want).unwrap_or_default();
        let count = file.read_full_at(chunk, from + at)?;
        if count == 0 {
            break;
        }
        each(at, chunk.get(..count).unwrap_or_default())?;
        at += count as u64;
    }
    Ok(())
}
