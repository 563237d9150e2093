//! The in-memory store of *lessor*. Its records are gone with the process.
//!
//! The store is for guards within one process, for tests and for benchmarks. All engines over one
//! `Arc<MemoryStore>` share its records.
//!
//! ```
//! use std::sync::Arc;
//! use lessor_core::Engine;
//! use lessor_memory::MemoryStore;
//!
//! let engine = Engine::new(Arc::new(MemoryStore::new()))?;
//! # Ok::<(), lessor_core::Error>(())
//! ```

mod index;
mod nodes;
mod sightings;
mod store;
mod table;

pub use store::MemoryStore;

/// The README's code is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
