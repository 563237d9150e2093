//! Reading back records that are not in memory: on the caller's thread if it may block, and on the
//! log's reading thread if not.

use std::sync::Arc;

use lessor_core::store::may_block;
use lessor_core::{Key, Record, StoreError};

use crate::format::{entry, frame};
use crate::index::location::Location;
use crate::log::Log;
use crate::problem::from_io;

/// A record that was read back, with the LSN of its write.
pub(super) type ReadRecord = Option<(u64, Record)>;

/// Reads the record at `location`. Returns `None` if it was moved meanwhile. The record is cached
/// again if the cache has space for it.
pub(super) async fn read_back(
    log: &Arc<Log>,
    key: &Key,
    lsn: u64,
    location: Location,
) -> Result<ReadRecord, StoreError> {
    if may_block() {
        return restore(log, key, lsn, &location);
    }
    let (shared, key) = (Arc::clone(log), key.clone());
    log.reader.run(&log.notifier, move || restore(&shared, &key, lsn, &location))?.await
}

fn restore(log: &Log, key: &Key, lsn: u64, location: &Location) -> Result<ReadRecord, StoreError> {
    let Some(bytes) = read(log, key, lsn, location)? else { return Ok(None) };
    let record =
        Record::decode(&bytes).map_err(|error| StoreError::undecodable(format!("key {key:?}"), error))?;
    let visible = log.committer.visible();
    log.index.write(key).restore(key, lsn, &record, visible);
    Ok(Some((lsn, record)))
}

/// Reads an encoded record. Returns `None` if it was moved since its slot was looked at.
fn read(log: &Log, key: &Key, lsn: u64, location: &Location) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(frame) = log.catalog.find(location.file_ref, lsn) else { return Ok(None) };
    let describe = || format!("{}/{}, byte {}", log.vfs.describe(), frame.name, frame.offset);
    let bytes = frame::read_part(&*frame.file, frame.offset, location.position.into(), location.length)
        .map_err(|error| from_io(&format!("reading {} failed", describe()), error))?;
    if entry::checksum(key, &bytes) != location.checksum {
        return Err(StoreError::corrupt(describe(), "a record does not match its checksum"));
    }
    Ok(Some(bytes))
}
