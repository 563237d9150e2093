//! Group commit: the writes that arrive while one frame is being synced form the next frame.
//!
//! A caller that changes a record adds an entry to the frame that is being gathered, under a short
//! lock, and waits for the LSN of that frame to become visible. One thread at a time is the leader.
//! It takes the frame and the [`Writer`](crate::log::staging::Writer) out of the staging area,
//! writes and syncs without holding the lock, returns the writer, and wakes the waiters. A blocking
//! caller leads if no other thread does. Futures must not block; the writer thread leads for them.

mod leader;
pub(crate) mod spares;
pub(crate) mod waiting;
