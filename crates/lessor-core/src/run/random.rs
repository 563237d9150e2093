//! The drawing of lease ids. No other file of the workspace draws random bits.

use std::cell::RefCell;
use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::data::error::Error;
use crate::data::lease_id::LeaseId;

impl LeaseId {
    /// Draws a new id from the operating system. The engine draws its own; a caller needs this only to choose the id
    /// before the request, so that an acquire whose reply was lost can be sent again.
    pub fn random() -> Result<Self, Error> {
        os_random().map(Self::from_bytes)
    }
}

/// Draws lease ids without a system call each: the thread's stream cipher, masked with a secret of this source.
///
/// A forked child inherits the thread's cipher state, so the cipher alone could repeat itself there. A child cannot use
/// the parent's engine (its threads did not survive the fork); an engine that it makes has its own mask, so the ids of
/// the two differ and stay unpredictable.
pub(crate) struct LeaseIds {
    mask: u128,
}

/// The cipher is seeded anew after so many ids, and whenever the process turns out to be another one.
const IDS_PER_SEED: u32 = 1 << 16;
/// Asking for the process id is a system call; it is made once per this many ids.
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
        // A thread that is being torn down has lost its stream; the operating system still answers.
        STREAM
            .try_with(|stream| self.draw_from(&mut stream.borrow_mut()))
            .unwrap_or_else(|_| LeaseId::random())
    }

    fn draw_from(&self, slot: &mut Option<Stream>) -> Result<LeaseId, Error> {
        let stream = match slot {
            Some(stream) if !stream.is_due() => stream,
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
    fn is_due(&self) -> bool {
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
    getrandom::fill(&mut bytes).map_err(|error| Error::Randomness { reason: error.to_string() })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(process: u32, drawn: u32) -> Option<Stream> {
        Some(Stream { cipher: ChaCha12Rng::from_seed([7; 32]), process, drawn })
    }

    /// After a fork, parent and child have the same stream. The child makes an engine of its own, with a mask of its own.
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

    /// A stream that was begun in another process is noticed at the next check, and left.
    #[test]
    fn a_stream_of_another_process_is_seeded_anew() {
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
