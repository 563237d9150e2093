//! A page of keys out of a map without an order.

use std::collections::BTreeSet;
use std::fmt;

use crate::data::key::Key;
use crate::store::types::Scan;

/// Collects the keys of a page, for a store whose records have no order: the first keys in order
/// that match a [`Scan`], out of all keys in any order.
pub struct FirstKeys<'s> {
    query: &'s Scan,
    first: BTreeSet<Key>,
}

impl<'s> FirstKeys<'s> {
    /// Returns an empty collection for a scan.
    #[must_use]
    pub fn new(query: &'s Scan) -> Self {
        Self { query, first: BTreeSet::new() }
    }

    /// Adds a key, unless it does not match or there are enough smaller ones. A key may be offered
    /// twice: a record that is dropped and created again may move to a part of the store that was
    /// not read yet.
    pub fn offer(&mut self, key: &Key) {
        if !key.starts_with(&self.query.prefix) || self.query.after.as_ref().is_some_and(|after| key <= after)
        {
            return;
        }
        if self.first.len() < self.query.limit {
            self.first.insert(key.clone());
        } else if self.first.last().is_some_and(|last| key < last) && self.first.insert(key.clone()) {
            self.first.pop_last();
        }
    }

    /// Returns the keys in order, and the key after which the next page begins, if there may be
    /// one.
    #[must_use]
    pub fn finish(self) -> (Vec<Key>, Option<Key>) {
        let limit = self.query.limit;
        let keys: Vec<Key> = self.first.into_iter().collect();
        let next = if keys.len() == limit { keys.last().cloned() } else { None };
        (keys, next)
    }
}

impl fmt::Debug for FirstKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstKeys").field("keys", &self.first.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(limit: usize, offered: &[&str]) -> (String, Option<String>) {
        let query = Scan::new("", None, limit);
        let mut first = FirstKeys::new(&query);
        offered.iter().for_each(|key| first.offer(&Key::new(key).unwrap()));
        let (keys, next) = first.finish();
        (keys.into_iter().map(String::from).collect(), next.map(String::from))
    }

    /// A record that moves during the scan may be found twice.
    #[test]
    fn a_key_that_is_offered_twice_is_listed_once_and_does_not_end_the_list() {
        assert_eq!(first(3, &["b", "a", "a", "c"]), ("abc".to_owned(), Some("c".to_owned())));
        assert_eq!(first(2, &["c", "b", "c", "b", "b", "a"]), ("ab".to_owned(), Some("b".to_owned())));
        assert_eq!(first(2, &["a", "a"]), ("a".to_owned(), None));
        assert_eq!(first(0, &["a"]), (String::new(), None));
    }
}
