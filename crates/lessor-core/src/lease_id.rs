//! Lease ids, and the one place of the workspace that draws random bits.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use subtle::ConstantTimeEq;

use crate::error::Error;

const PREFIX: &str = "lease_";

/// The secret that makes its bearer the holder of one grant: `lease_` and 128 random bits.
///
/// `Debug` shows nothing of it, there is no `Display`, and comparing takes constant time.
/// [`reveal`](Self::reveal) spells it out, to hand it to a holder on the other side of a boundary.
#[derive(Clone, Copy)]
pub struct LeaseId([u8; 16]);

impl LeaseId {
    /// Draws a new id from the operating system. The engine draws its own; a caller needs this only to choose the id
    /// before the request, so that an acquire whose reply was lost can be sent again.
    pub fn random() -> Result<Self, Error> {
        os_random().map(Self)
    }

    /// The id's 16 bytes, as a record stores them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The id that `bytes` are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The secret in words: `lease_` and 32 hexadecimal digits. Keep it out of logs.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut text = String::with_capacity(PREFIX.len() + 32);
        text.push_str(PREFIX);
        crate::fingerprint::push_hex(&mut text, &self.0);
        text
    }
}

impl PartialEq for LeaseId {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // As one number: byte by byte would cost as much as the rest of an operation.
        u128::from_ne_bytes(self.0).ct_eq(&u128::from_ne_bytes(other.0)).into()
    }
}

impl Eq for LeaseId {}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseId(redacted)")
    }
}

/// The text is not a lease id. What it was is not repeated: it may be most of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lease id; one is `lease_` followed by 32 hexadecimal digits")]
pub struct LeaseIdError;

impl FromStr for LeaseId {
    type Err = LeaseIdError;

    fn from_str(text: &str) -> Result<Self, LeaseIdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(LeaseIdError)?;
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(LeaseIdError);
        }
        u128::from_str_radix(digits, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| LeaseIdError)
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
        Ok(LeaseId((u128::from_ne_bytes(bytes) ^ self.mask).to_ne_bytes()))
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

    #[test]
    fn p11_debug_shows_nothing_and_the_text_form_round_trips() {
        let id = LeaseId::random().unwrap();
        assert_eq!(format!("{id:?}"), "LeaseId(redacted)");
        assert_eq!(id.reveal().parse::<LeaseId>().unwrap(), id);
        assert_eq!(id.reveal().len(), 38);
    }

    #[test]
    fn p12_malformed_ids_are_refused() {
        for bad in
            ["", "lease_", "lease_0", "lease_+123456789abcdef0123456789abcdef", "x", &"lease_é".repeat(9)]
        {
            assert_eq!(bad.parse::<LeaseId>(), Err(LeaseIdError));
        }
    }

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
