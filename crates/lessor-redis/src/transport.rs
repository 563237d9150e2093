//! Connections: bytes out, replies in. Nothing here knows what a lease is.

pub(crate) mod connection;
#[cfg(unix)]
mod driver;
#[cfg(unix)]
mod pending_reply;
#[cfg(unix)]
mod reply;
#[cfg(unix)]
mod reply_buffer;
#[cfg(unix)]
mod resp;
#[cfg(unix)]
mod socket;
#[cfg(all(test, unix))]
mod tests;
pub(crate) mod wake;
