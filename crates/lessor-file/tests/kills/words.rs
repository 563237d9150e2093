//! What a child tells its parent, line by line, and what both know of payloads.

use std::fmt;
use std::str::FromStr;

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    InProgress,
    Lapsed,
    Released,
    Failed(String),
    /// With the payload of this seed.
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

/// One line from a child.
#[derive(Debug)]
pub(crate) enum Word {
    /// The log is open.
    Up,
    /// The key will be sent into this state.
    Try(String, State),
    /// It is there. The version and the token are 0 where the answer does not tell them.
    Ack(String, u64, u64),
    /// It stayed as it was.
    Nay(String),
    /// Its version was seen.
    See(String, u64),
    /// All is done, with so many calls to the disk.
    Done(u64),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Try(key, state) => write!(f, "try {key} {state}"),
            Self::Ack(key, version, token) => write!(f, "ack {key} {version} {token}"),
            Self::Nay(key) => write!(f, "nay {key}"),
            Self::See(key, version) => write!(f, "see {key} {version}"),
            Self::Done(calls) => write!(f, "done {calls}"),
        }
    }
}

impl Word {
    /// `None` for lines that are none of the child's own.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let first = words.next()?;
        let mut next = || words.next().map(str::to_owned);
        let number = |text: Option<String>| text?.parse().ok();
        Some(match first {
            "up" => Self::Up,
            "try" => Self::Try(next()?, next()?.parse().ok()?),
            "ack" => Self::Ack(next()?, number(next())?, number(next())?),
            "nay" => Self::Nay(next()?),
            "see" => Self::See(next()?, number(next())?),
            "done" => Self::Done(number(next())?),
            _ => return None,
        })
    }
}

/// From nothing to three sectors, and each its own.
pub(crate) fn payload(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let length = dice.below(1_500);
    (0..length).map(|_| dice.next().to_le_bytes()[0]).collect()
}

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
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
