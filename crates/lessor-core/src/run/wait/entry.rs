//! The registry's entry for a key, with the types of this engine.

use std::sync::Arc;

use super::registry::Watched;
use crate::data::key::Key;
use crate::data::snapshot::Snapshot;
use crate::data::store_error::StoreError;
use crate::sync::wakers::CallerWaker;

/// The result of reading a record.
pub(crate) type Reading = Result<Snapshot, StoreError>;
pub(super) type Entry = Arc<Watched<Key, Reading, CallerWaker>>;
