//! The commands, one file each.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod dump;
pub(crate) mod explain;
pub(crate) mod forget;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod namespaces;
pub(crate) mod purge;
pub(crate) mod resolve;
pub(crate) mod run;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod truncate;
pub(crate) mod verify;
pub(crate) mod watch;
