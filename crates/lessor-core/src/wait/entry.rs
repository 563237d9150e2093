//! A key that somebody waits for, with the readings of its record.

use std::sync::Arc;

use super::registry::Watched;
use crate::key::Key;
use crate::notifier::CallerWaker;
use crate::store::error::StoreError;
use crate::store::types::Snapshot;

/// The result of a reading of a record.
pub(crate) type Reading = Result<Snapshot, StoreError>;
pub(super) type Entry = Arc<Watched<Key, Reading, CallerWaker>>;
