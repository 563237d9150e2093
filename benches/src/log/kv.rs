//! The guard that people write by hand on an embedded key-value store: look, and if there is nothing, write within a
//! transaction. It does the least that could be called the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Guard, Receipt, TTL, Told, key};

/// An embedded key-value store.
pub(super) trait Store: Send + Sync {
    const NAME: &'static str;

    /// Shows `look` the value under `key`.
    fn read<T>(&self, key: &str, look: impl FnOnce(Option<&[u8]>) -> T) -> T;

    /// Atomically puts what `change` makes of the value, or leaves it if that is nothing, and is as durable as
    /// promised when it returns.
    fn update(&self, key: &str, change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>);

    /// Puts all of `records`, durably, in as few transactions as is sensible.
    fn put_all(&self, records: impl Iterator<Item = (String, Vec<u8>)>);
}

/// How many records one transaction of a [`Store::put_all`] should have.
pub(super) const AT_ONCE: usize = 10_000;

pub(super) struct ByHand<S>(pub(super) S);

const HELD: u8 = 0;
const COMPLETED: u8 = 1;

impl<S: Store> ByHand<S> {
    fn acquire(&self, key: &str) -> Result<u128, Told> {
        if let Some(told) = self.0.read(key, |record| record.and_then(tell)) {
            return Err(told);
        }
        let lease_id = fastrand::u128(..);
        let granted = held(lease_id);
        self.0.update(key, |record| match record.and_then(tell) {
            None => Some(granted.clone()),
            Some(_) => None,
        });
        Ok(lease_id)
    }

    fn complete(&self, key: &str, by: u128, receipt: &Receipt) {
        let completed = completed(receipt);
        self.0.update(key, |record| match record {
            Some([HELD, rest @ ..]) if rest.starts_with(&by.to_le_bytes()) => Some(completed.clone()),
            _ => panic!("not the holder"),
        });
    }
}

impl<S: Store> Guard for ByHand<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn run(&self, key: &str, receipt: &Receipt) -> Told {
        match self.acquire(key) {
            Err(told) => told,
            Ok(lease_id) => {
                self.complete(key, lease_id, receipt);
                Told::Done
            }
        }
    }

    fn hold(&self, key: &str) {
        self.acquire(key).expect("free");
    }

    fn fill(&self, count: u64) {
        self.0.put_all((0..count).map(|n| (key(0, n), completed(&Receipt::new(n)))));
    }
}

fn held(lease_id: u128) -> Vec<u8> {
    let until = (now() + TTL).as_micros() as u64;
    [&[HELD][..], &lease_id.to_le_bytes(), &until.to_le_bytes()].concat()
}

fn completed(receipt: &Receipt) -> Vec<u8> {
    let mut record = vec![COMPLETED];
    serde_json::to_writer(&mut record, receipt).expect("JSON");
    record
}

/// What a later caller is told; `None` if the lease has run out.
fn tell(record: &[u8]) -> Option<Told> {
    match record {
        [COMPLETED, result @ ..] => Some(Told::Replayed(serde_json::from_slice(result).expect("a receipt"))),
        [HELD, rest @ ..] => {
            let until = u64::from_le_bytes(rest[16..].try_into().expect("a time"));
            let left = Duration::from_micros(until).checked_sub(now())?;
            Some(Told::Refused(left))
        }
        _ => panic!("not a record"),
    }
}

pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock")
}
