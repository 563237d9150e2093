//! The configuration by the application: the store's settings, the server's address and the prefix
//! of the record names.

pub(crate) mod address;
pub(crate) mod prefix;
pub(crate) mod settings;
