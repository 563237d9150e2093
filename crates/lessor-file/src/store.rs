//! The public store, and the implementation of the `Store` contract on an open log.

mod attempt;
mod builder;
mod file_store;
mod handle;
mod read_back;
mod swaps;

pub use builder::Builder;
pub use handle::FileStore;
