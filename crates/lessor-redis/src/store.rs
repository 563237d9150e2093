//! The store itself: records read, written, listed and purged through the connection manager.

mod budget;
mod encoded_change;
mod key_walk;
mod purge;
mod purge_pass;
pub(crate) mod redis_store;
mod scan;
mod shared;
mod writes;
