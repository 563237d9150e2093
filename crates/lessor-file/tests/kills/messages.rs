//! The messages from a child to its parent, one a line, and the payloads that both can compute.

use std::fmt;
use std::str::FromStr;

/// The state of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    InProgress,
    Lapsed,
    Released,
    Failed(String),
    /// Completed with the payload of this seed.
    Completed(u64),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::InProgress => f.write_str("in_progress"),
            Self::Lapsed => f.write_str("lapsed"),
            Self::Released => f.write_str("released"),
            Self::Failed(code) => write!(f, "failed:{code}"),
            Self::Completed(seed) => write!(f, "completed:{seed}"),
        }
    }
}

impl FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':').unwrap_or((text, "")) {
            ("absent", _) => Self::Absent,
            ("in_progress", _) => Self::InProgress,
            ("lapsed", _) => Self::Lapsed,
            ("released", _) => Self::Released,
            ("failed", code) => Self::Failed(code.to_owned()),
            ("completed", seed) => Self::Completed(seed.parse().map_err(|_| text.to_owned())?),
            _ => return Err(text.to_owned()),
        })
    }
}

/// A message from a child.
#[derive(Debug)]
pub(crate) enum Message {
    /// The log is open.
    Up,
    /// The key is about to change to this state.
    Try(String, State),
    /// The change was acknowledged. Version and token are 0 where the answer has none.
    Ack(String, u64, u64),
    /// The change was refused.
    Refused(String),
    /// The version was observed.
    See(String, u64),
    /// The child is done, after this number of calls to the disk.
    Done(u64),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Try(key, state) => write!(f, "try {key} {state}"),
            Self::Ack(key, version, token) => write!(f, "ack {key} {version} {token}"),
            Self::Refused(key) => write!(f, "nay {key}"),
            Self::See(key, version) => write!(f, "see {key} {version}"),
            Self::Done(calls) => write!(f, "done {calls}"),
        }
    }
}

impl Message {
    /// Parses a line. Returns `None` for lines that are not from the child itself.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut messages = line.split(' ');
        let first = messages.next()?;
        let mut next = || messages.next().map(str::to_owned);
        let number = |text: Option<String>| text?.parse().ok();
        Some(match first {
            "up" => Self::Up,
            "try" => Self::Try(next()?, next()?.parse().ok()?),
            "ack" => Self::Ack(next()?, number(next())?, number(next())?),
            "nay" => Self::Refused(next()?),
            "see" => Self::See(next()?, number(next())?),
            "done" => Self::Done(number(next())?),
            _ => return None,
        })
    }
}

/// Returns a payload of up to three sectors that depends on the seed.
pub(crate) fn payload(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let length = random.below(1_500);
    (0..length).map(|_| random.next().to_le_bytes()[0]).collect()
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
