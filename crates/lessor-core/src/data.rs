//! The values that are stored and returned: keys, times, records, and the errors about them.

pub(crate) mod cause;
pub(crate) mod codec;
pub(crate) mod error;
pub(crate) mod error_kind;
pub(crate) mod failure;
pub(crate) mod fingerprint;
pub(crate) mod granted;
pub(crate) mod hash;
pub(crate) mod key;
pub(crate) mod key_part;
pub(crate) mod lease_id;
pub(crate) mod out_of_range;
pub(crate) mod payload;
pub(crate) mod record;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod store_error;
pub(crate) mod time;
pub(crate) mod value;
pub(crate) mod view;
pub(crate) mod write;
