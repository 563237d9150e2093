//! A page of keys out of a map without an order.

use std::collections::BinaryHeap;
use std::fmt;

use crate::data::key::Key;
use crate::store::types::Scan;

/// Collects the keys of a page, for a store whose records have no order: the first keys in order that match a [`Scan`], out of all
/// keys in any order.
pub struct FirstKeys<'s> {
    query: &'s Scan,
    first: BinaryHeap<Key>,
}

impl<'s> FirstKeys<'s> {
    /// Returns an empty collection for a scan.
    #[must_use]
    pub fn new(query: &'s Scan) -> Self {
        Self { query, first: BinaryHeap::new() }
    }

    /// Adds a key, unless it does not match or there are enough smaller ones.
    pub fn offer(&mut self, key: &Key) {
        if !key.starts_with(&self.query.prefix) || self.query.after.as_ref().is_some_and(|after| key <= after)
        {
            return;
        }
        if self.first.len() < self.query.limit {
            self.first.push(key.clone());
        } else if let Some(mut last) = self.first.peek_mut()
            && key < &*last
        {
            *last = key.clone();
        }
    }

    /// Returns the keys in order, and the key after which the next page begins, if there may be one.
    #[must_use]
    pub fn finish(self) -> (Vec<Key>, Option<Key>) {
        let limit = self.query.limit;
        let keys = self.first.into_sorted_vec();
        let next = if keys.len() == limit { keys.last().cloned() } else { None };
        (keys, next)
    }
}

impl fmt::Debug for FirstKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstKeys").field("keys", &self.first.len()).finish_non_exhaustive()
    }
}
