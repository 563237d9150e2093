//! Hand-written guards: a map with an expiry per key, and the result in place of the lease once
//! there is one. They implement the minimum: no retention, no fencing token, no failure, no waiter.

use std::collections::HashMap;
use std::collections::hash_map;
use std::time::Instant;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::{Guard, Outcome, Receipt, TTL};

enum Entry {
    InProgress { lease_id: u128, expires_at: Instant },
    Completed(Box<[u8]>),
}

impl Entry {
    fn granted(lease_id: u128, now: Instant) -> Self {
        Self::InProgress { lease_id, expires_at: now + TTL }
    }

    /// Returns the answer for a later caller, or `None` if the lease has lapsed.
    fn outcome(&self, now: Instant) -> Option<Outcome> {
        match self {
            Self::InProgress { expires_at, .. } if now >= *expires_at => None,
            Self::InProgress { expires_at, .. } => Some(Outcome::Refused(*expires_at - now)),
            Self::Completed(result) => {
                Some(Outcome::Replayed(serde_json::from_slice(result).expect("a receipt")))
            }
        }
    }

    fn complete(&mut self, by: u128, receipt: &Receipt) {
        match self {
            Self::InProgress { lease_id, .. } if *lease_id == by => {
                *self = Self::Completed(serde_json::to_vec(receipt).expect("JSON").into_boxed_slice());
            }
            _ => panic!("not the holder"),
        }
    }
}

/// Uses dashmap's entry API, with foldhash.
#[derive(Default)]
pub struct HandDashMap(DashMap<String, Entry, RandomState>);

impl HandDashMap {
    fn acquire(&self, key: &str) -> Result<u128, Outcome> {
        let (now, lease_id) = (Instant::now(), fastrand::u128(..));
        match self.0.entry(key.to_owned()) {
            dashmap::Entry::Vacant(slot) => {
                slot.insert(Entry::granted(lease_id, now));
            }
            dashmap::Entry::Occupied(mut slot) => match slot.get().outcome(now) {
                Some(outcome) => return Err(outcome),
                None => *slot.get_mut() = Entry::granted(lease_id, now),
            },
        }
        Ok(lease_id)
    }
}

impl Guard for HandDashMap {
    fn name(&self) -> &'static str {
        "dashmap by hand"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Outcome {
        match self.acquire(key) {
            Err(outcome) => outcome,
            Ok(lease_id) => {
                self.0.get_mut(key).expect("acquired").complete(lease_id, receipt);
                Outcome::Done
            }
        }
    }

    fn hold(&self, key: &str) {
        self.acquire(key).expect("free");
    }
}

/// One lock around the standard library's map, with foldhash.
#[derive(Default)]
pub struct HandMutexMap(Mutex<HashMap<String, Entry, RandomState>>);

impl HandMutexMap {
    fn acquire(&self, key: &str) -> Result<u128, Outcome> {
        let (now, lease_id) = (Instant::now(), fastrand::u128(..));
        match self.0.lock().entry(key.to_owned()) {
            hash_map::Entry::Vacant(slot) => {
                slot.insert(Entry::granted(lease_id, now));
            }
            hash_map::Entry::Occupied(mut slot) => match slot.get().outcome(now) {
                Some(outcome) => return Err(outcome),
                None => *slot.get_mut() = Entry::granted(lease_id, now),
            },
        }
        Ok(lease_id)
    }
}

impl Guard for HandMutexMap {
    fn name(&self) -> &'static str {
        "Mutex<HashMap> by hand"
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Outcome {
        match self.acquire(key) {
            Err(outcome) => outcome,
            Ok(lease_id) => {
                self.0.lock().get_mut(key).expect("acquired").complete(lease_id, receipt);
                Outcome::Done
            }
        }
    }

    fn hold(&self, key: &str) {
        self.acquire(key).expect("free");
    }
}
