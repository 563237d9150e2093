//! Checks all interleavings, and all reorderings that the memory model allows, of the code that
//! synchronises waiters, readers and writers. The tested files are those of the library. Only their
//! primitives are replaced by those of the model checker.
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
