//! Fences, which refuse the effects of a former holder at the sink.
//!
//! A lease separates two holders in time, as long as both check it. A holder that is suspended
//! right before its effect cannot check it, and acts after another one has taken over. So the
//! effect carries the *token* of its grant, and the sink remembers the highest token of each key. A
//! lower token belongs to a former holder and is refused. An equal token belongs to the same
//! holder, which may cause several effects.
//!
//! | sink | fence |
//! |---|---|
//! | the memory of one process | [`MemoryFence`] |
//! | files, or anything else that one process changes, across crashes | `FileFence` (feature `file`) |
//! | a database | the statements in [`sql`], in the transaction of the effect |
//!
//! # Check and effect belong together
//!
//! A sink that first checks the token and then causes the effect has the gap that the fence should
//! close:
//!
//! ```text
//! alice   fence.check(key, 7)  accepted
//! bob                                    fence.check(key, 8)  accepted, and writes
//! alice                                                                           writes
//! ```
//!
//! [`MemoryFence::run`], [`MemoryFence::run_async`] and `FileFence::run` therefore run the effect
//! while no other effect of the key can run. In a database the transaction does the same. Use
//! `check` only if the effect is ordered by other means, such as a single thread.
//!
//! # Forgetting keys
//!
//! A fence keeps an entry of about the size of the key for each key that it has seen. Tokens are
//! microseconds since 1970, so entries can be forgotten by age: see [`MemoryFence::forget_below`].
//!
//! # What a fence does not do
//!
//! It keeps a former holder from acting *after* a newer one. It does not know whether the former
//! holder acted *before*. If a second effect is harmful even in the right order, the sink has to be
//! idempotent, or the outcome has to be written in the transaction of the effect.

mod memory;
pub mod sql;
mod stale;
mod table;
mod turns;

#[cfg(feature = "file")]
mod file;

#[cfg(feature = "file")]
pub use file::error::FenceError;
#[cfg(feature = "file")]
pub use file::fence::FileFence;
pub use memory::MemoryFence;
pub use stale::StaleToken;

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<MemoryFence>();
};
