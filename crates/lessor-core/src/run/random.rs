//! Generates lease ids. No other file of the workspace draws random bits.

use std::cell::RefCell;
use std::fmt;
use std::io;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::data::cause::Cause;
use crate::data::error::Error;
use crate::data::lease_id::LeaseId;

impl LeaseId {
    /// Returns a new id with 128 random bits from the operating system.
    ///
    /// The engine draws the ids of its leases itself. A caller needs this only to choose an id
    /// before the request ([`AcquireRequest::lease_id`](crate::AcquireRequest::lease_id)), so that
    /// an acquire whose reply was lost can be repeated.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the operating system returns no random bits.
    pub fn random() -> Result<Self, Error> {
        os_random().map(Self::from_bytes)
    }
}

/// Generates lease ids without a system call for each: the output of a stream cipher per thread,
/// masked with a secret of the engine.
///
/// A forked child inherits the cipher's state, so the cipher alone would produce the same output in
/// both processes. The child cannot use the parent's engine, whose threads do not survive the fork.
/// An engine that the child creates has another mask, so the ids of the two processes differ and
/// remain unpredictable.
pub(crate) struct LeaseIds {
    mask: u128,
}

/// The number of ids after which the cipher is reseeded. It is also reseeded in another process.
const IDS_PER_SEED: u32 = 1 << 16;
/// The number of ids between two checks of the process id, each of which takes a system call.
const IDS_PER_CHECK: u32 = 64;

struct Stream {
    cipher: ChaCha12Rng,
    process: u32,
    drawn: u32,
}

thread_local! {
    static STREAM: RefCell<Option<Stream>> = const { RefCell::new(None) };
}

impl LeaseIds {
    pub(crate) fn new() -> Result<Self, Error> {
        os_random().map(|bytes| Self { mask: u128::from_ne_bytes(bytes) })
    }

    #[inline]
    pub(crate) fn draw(&self) -> Result<LeaseId, Error> {
        // A thread that is being torn down has no stream any more.
        STREAM
            .try_with(|stream| self.draw_from(&mut stream.borrow_mut()))
            .unwrap_or_else(|_| LeaseId::random())
    }

    fn draw_from(&self, slot: &mut Option<Stream>) -> Result<LeaseId, Error> {
        let stream = match slot {
            Some(stream) if !stream.needs_seed() => stream,
            _ => slot.insert(Stream {
                cipher: ChaCha12Rng::from_seed(os_random()?),
                process: std::process::id(),
                drawn: 0,
            }),
        };
        stream.drawn += 1;
        let mut bytes = [0; 16];
        stream.cipher.fill_bytes(&mut bytes);
        Ok(LeaseId::from_bytes((u128::from_ne_bytes(bytes) ^ self.mask).to_ne_bytes()))
    }
}

impl Stream {
    fn needs_seed(&self) -> bool {
        self.drawn >= IDS_PER_SEED
            || (self.drawn.is_multiple_of(IDS_PER_CHECK) && self.process != std::process::id())
    }
}

impl fmt::Debug for LeaseIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseIds(redacted)")
    }
}

fn os_random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "the home of randomness")]
    getrandom::fill(&mut bytes).map_err(|error| {
        let cause = Cause::new("the operating system gave no random bits");
        Error::Randomness(cause.with_source(io::Error::from(error)))
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(process: u32, drawn: u32) -> Option<Stream> {
        Some(Stream { cipher: ChaCha12Rng::from_seed([7; 32]), process, drawn })
    }

    /// After a fork, parent and child have the same stream. The child's own engine has another
    /// mask.
    #[test]
    fn ids_do_not_repeat_in_the_engine_of_a_forked_child() {
        let (parent, child) = (LeaseIds::new().unwrap(), LeaseIds::new().unwrap());
        let (mut one, mut two) = (stream(std::process::id(), 0), stream(std::process::id(), 0));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(parent.draw_from(&mut one).unwrap().to_bytes()));
            assert!(seen.insert(child.draw_from(&mut two).unwrap().to_bytes()));
        }
    }

    /// A stream that was seeded in another process is replaced at the next check.
    #[test]
    fn a_stream_of_another_process_is_reseeded() {
        let ids = LeaseIds::new().unwrap();
        let (mut ours, mut theirs) =
            (stream(std::process::id(), 0), stream(std::process::id().wrapping_add(1), 0));
        let differ = (0..IDS_PER_CHECK).any(|_| {
            ids.draw_from(&mut ours).unwrap().to_bytes() != ids.draw_from(&mut theirs).unwrap().to_bytes()
        });
        assert!(differ);
        assert_eq!(theirs.unwrap().process, std::process::id());
    }

    #[test]
    fn ids_do_not_repeat_within_and_across_sources() {
        let (one, two) = (LeaseIds::new().unwrap(), LeaseIds::new().unwrap());
        let mut seen = std::collections::HashSet::new();
        for _ in 0..IDS_PER_SEED + 10 {
            assert!(seen.insert(one.draw().unwrap().to_bytes()));
        }
        for _ in 0..1000 {
            assert!(seen.insert(two.draw().unwrap().to_bytes()));
        }
    }
}
