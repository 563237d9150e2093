//! Which keys are asked for.

use std::fmt;
use std::sync::Arc;

use crate::faulty::splitmix;

/// How many draws there are before they begin again, in the same order.
const DRAWS: usize = 1 << 20;

/// Keys, and the order in which they are asked for. The same for everybody who is measured with them. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    names: Arc<[String]>,
    draws: Arc<[u32]>,
}

impl Keys {
    /// So many keys, asked for as in life: the second most popular one half as often as the first, the third a third as often, if the
    /// `exponent` is 1; with 0 all alike.
    ///
    /// # Panics
    /// If there are no keys, more than 2^32, or the exponent is negative or no number.
    #[must_use]
    pub fn zipf(count: u32, exponent: f64) -> Self {
        assert!(count > 0 && exponent >= 0.0, "{count} keys, exponent {exponent}");
        let mut total = 0.0;
        let sums: Vec<f64> = (1..=count)
            .map(|rank| {
                total += f64::from(rank).powf(-exponent);
                total
            })
            .collect();
        let mut state = 1;
        let draw = |_| {
            // The upper 53 bits: all that a float holds.
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
            let drawn = (splitmix(&mut state) >> 11) as f64 / (1_u64 << 53) as f64 * total;
            let rank = sums.partition_point(|sum| *sum <= drawn);
            u32::try_from(rank).unwrap_or(u32::MAX).min(count - 1)
        };
        let draws = (0..DRAWS).map(draw).collect();
        Self { names: (0..u64::from(count)).map(|n| name("", SET, 0, n)).collect(), draws }
    }

    /// These, asked for in this order over and over, as a log of real requests has them.
    ///
    /// # Panics
    /// If there are none, or more than 2^32 different ones.
    #[must_use]
    pub fn recorded(requests: impl IntoIterator<Item = String>) -> Self {
        let mut known = std::collections::HashMap::new();
        let mut names = Vec::new();
        let mut draw = |request: String| {
            *known.entry(request).or_insert_with_key(|request: &String| {
                names.push(request.clone());
                u32::try_from(names.len() - 1).unwrap_or_else(|_| unreachable!("too many keys"))
            })
        };
        let draws: Arc<[u32]> = requests.into_iter().map(&mut draw).collect();
        assert!(!draws.is_empty(), "there are no keys");
        Self { names: names.into(), draws }
    }

    /// The same, each behind `prefix`.
    pub(super) fn behind(&self, prefix: &str) -> Self {
        if prefix.is_empty() {
            return self.clone();
        }
        let names = self.names.iter().map(|name| format!("{prefix}{name}")).collect();
        Self { names, draws: Arc::clone(&self.draws) }
    }

    /// How many different ones there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// What `caller` asks for as its `n`th. Callers begin at different places.
    #[expect(clippy::cast_possible_truncation, reason = "a place below the number of draws")]
    pub(super) fn draw(&self, caller: u64, n: u64) -> &str {
        let length = self.draws.len() as u64;
        let at = (n + caller * (length / 61 + 1)) % length;
        let drawn = self.draws.get(at as usize).and_then(|draw| self.names.get(*draw as usize));
        drawn.map_or("", String::as_str)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// What the keys of a workload begin with, so that no two workloads on one store meet.
pub(super) const FRESH: &str = "invoice";
pub(super) const SET: &str = "popular";
pub(super) const HOT: &str = "hot-key";
pub(super) const GONE: &str = "lapsing";
pub(super) const RENEWED: &str = "renewed";
pub(super) const AWAITED: &str = "awaited";

/// A key as applications have them: a word, a colon and numbers, 24 characters as long as there are not more than 9,999 callers.
pub(super) fn name(prefix: &str, word: &str, caller: u64, n: u64) -> String {
    format!("{prefix}{word}:{caller:04}:{n:011}")
}

/// Keys that nobody has asked for, made without formatting each anew: that would take as long as some operations.
pub(super) struct Fresh(Vec<u8>);

impl Fresh {
    pub(super) fn of(prefix: &str, caller: u64) -> Self {
        Self(name(prefix, FRESH, caller, 0).into_bytes())
    }

    pub(super) fn next(&mut self) -> &str {
        for digit in self.0.iter_mut().rev() {
            match digit {
                b'9' => *digit = b'0',
                digit => {
                    *digit += 1;
                    break;
                }
            }
        }
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
