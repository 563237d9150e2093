//! The file log of *lessor*: leases that survive `kill -9` and power loss, in one folder, without a server.

mod settings;
pub mod vfs;

pub use settings::{Settings, Sync};
