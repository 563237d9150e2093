//! Every interleaving, and every reordering that the memory model allows, of the code with which
//! waiters, readers and writers meet. The files under test are those that the library is built
//! from. Only their primitives are the model checker's.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p lessor-models --release --target-dir target/loom
//! ```

#![cfg(loom)]

#[allow(dead_code, reason = "the models use the part of the file that synchronises")]
#[path = "../../crates/lessor-core/src/run/wait/registry.rs"]
mod registry;
mod sync;

#[cfg(test)]
mod tests;
