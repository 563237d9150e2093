//! The in-memory store of *lessor*. Its records are lost when the process ends.
//!
//! Use it for guards within one process, for tests and for benchmarks. All engines over one
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

mod copies;
mod index;
mod nodes;
mod store;
mod table;

pub use store::MemoryStore;

/// The README's code is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
