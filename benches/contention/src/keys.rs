//! The keys of requests.

use std::fmt;
use std::sync::Arc;

/// The number of draws of a distribution before they repeat.
const DRAWS: usize = 1 << 20;

/// Keys, and the order in which they are requested. The order is the same for every service. Cheap
/// to clone.
#[derive(Clone)]
pub struct Keys {
    names: Arc<[String]>,
    draws: Arc<[u32]>,
}

impl Keys {
    /// Returns `count` keys whose popularity follows Zipf's law. With the exponent 1, the second
    /// most popular key gets half as many requests as the first, and the third a third. With the
    /// exponent 0, all keys are equally popular.
    ///
    /// # Panics
    /// If `count` is 0, or the exponent is negative or not a number.
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
        let mut random = fastrand::Rng::with_seed(1);
        let draw = |_| {
            let drawn = random.f64() * total;
            let rank = sums.partition_point(|sum| *sum <= drawn);
            u32::try_from(rank).unwrap_or(u32::MAX).min(count - 1)
        };
        let draws = (0..DRAWS).map(draw).collect();
        Self { names: (0..u64::from(count)).map(|n| name("", POPULAR, 0, n)).collect(), draws }
    }

    /// Returns the keys of recorded requests, which are repeated in this order.
    ///
    /// # Panics
    /// If there are no requests, or more than 2^32 different keys.
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

    /// Returns the same requests with `prefix` before each key.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Self {
        if prefix.is_empty() {
            return self.clone();
        }
        let names = self.names.iter().map(|name| format!("{prefix}{name}")).collect();
        Self { names, draws: Arc::clone(&self.draws) }
    }

    /// Returns the number of different keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Returns the key of the `n`th request of `caller`. Callers begin at different places.
    #[expect(clippy::cast_possible_truncation, reason = "the place is below the number of draws")]
    pub(crate) fn draw(&self, caller: u64, n: u64) -> &str {
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

/// The words that separate the keys of different workloads on one store.
pub(crate) const FRESH: &str = "invoice";
pub(crate) const POPULAR: &str = "popular";
pub(crate) const REPLAYED: &str = "replays";
pub(crate) const CHURNED: &str = "churned";
pub(crate) const HOT: &str = "hot-key";
pub(crate) const LAPSED: &str = "lapsing";
pub(crate) const RENEWED: &str = "renewed";
pub(crate) const AWAITED: &str = "awaited";

/// The number of digits at the end of a key.
const DIGITS: usize = 11;

/// Returns a key in the usual form of a word and numbers. It has 24 characters without the prefix,
/// for at most 10,000 callers.
pub(crate) fn name(prefix: &str, word: &str, caller: u64, n: u64) -> String {
    format!("{prefix}{word}:{caller:04}:{n:011}")
}

/// A numbered key that is changed in place, because formatting a new one takes as long as some
/// operations.
pub(crate) struct NumberedKey(Vec<u8>);

impl NumberedKey {
    /// Returns the key with the number 0.
    pub(crate) fn new(prefix: &str, word: &str, caller: u64) -> Self {
        Self(name(prefix, word, caller, 0).into_bytes())
    }

    /// Increments the number, and returns the key.
    pub(crate) fn next(&mut self) -> &str {
        for digit in self.0.iter_mut().rev() {
            match digit {
                b'9' => *digit = b'0',
                digit => {
                    *digit += 1;
                    break;
                }
            }
        }
        self.as_str()
    }

    /// Sets the number, and returns the key.
    pub(crate) fn set(&mut self, mut number: u64) -> &str {
        for digit in self.0.iter_mut().rev().take(DIGITS) {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.as_str()
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
