//! The highest token of each key.

use std::collections::HashMap;
use std::time::Duration;

use crate::stale::StaleToken;

/// The highest token of each key, and the floor that stands for all forgotten keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    highest: HashMap<Box<str>, u64>,
    /// The lowest token that is accepted for a key without an entry.
    floor: u64,
    /// The highest token of all keys, or the floor if that is higher.
    newest: u64,
}

/// The effect of an accepted token on the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// The token is the highest one already.
    Again,
    /// The token has to be stored.
    New,
}

impl Table {
    /// Returns whether the token is accepted, without changing the table.
    pub(crate) fn judge(&self, key: &str, token: u64) -> Result<Accepted, StaleToken> {
        let known = self.highest.get(key).copied();
        let highest = known.unwrap_or(self.floor);
        match token {
            _ if token < highest => Err(StaleToken { token, highest }),
            _ if known == Some(token) => Ok(Accepted::Again),
            _ => Ok(Accepted::New),
        }
    }

    /// Stores a token that was accepted.
    pub(crate) fn raise(&mut self, key: &str, token: u64) {
        self.newest = self.newest.max(token);
        match self.highest.get_mut(key) {
            Some(highest) => *highest = token.max(*highest),
            None => {
                self.highest.insert(key.into(), token);
            }
        }
    }

    /// Removes the keys whose highest token is below `floor`, and raises the floor to it.
    pub(crate) fn forget_below(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        self.newest = self.newest.max(floor);
        self.highest.retain(|_, highest| *highest >= floor);
        self.highest.shrink_to_fit();
    }

    /// Returns the floor that forgets what is older than `age`, counted back from the newest token.
    pub(crate) fn floor_of(&self, age: Duration) -> u64 {
        self.newest.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn get(&self, key: &str) -> Option<u64> {
        self.highest.get(key).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.highest.len()
    }

    #[cfg(feature = "file")]
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    #[cfg(feature = "file")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.highest.iter().map(|(key, highest)| (&**key, *highest))
    }
}
