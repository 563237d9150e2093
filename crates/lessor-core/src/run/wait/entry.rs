//! A key that somebody waits for, with the readings of its record.

use std::sync::Arc;

use super::registry::Watched;
use crate::data::key::Key;
use crate::data::snapshot::Snapshot;
use crate::data::store_error::StoreError;
use crate::sync::wakers::CallerWaker;

/// The result of a reading of a record.
pub(crate) type Reading = Result<Snapshot, StoreError>;
pub(super) type Entry = Arc<Watched<Key, Reading, CallerWaker>>;
