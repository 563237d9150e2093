//! Skippable fields of records: the history, and those of a newer release, which this release does
//! not know.

use lessor_core::store::CasResult;
use lessor_core::{Ack, Error, HistoryKind, Key, Lease, LeaseId, OnLapsed, Pending, Record, Store};

use super::Factory;
use super::tools::*;

/// The skippable fields of the record: tag 2, and tag 300 without contents.
const OF_RECORD: &[u8] = b"\x02\x05h\xffi\x00y\xac\x02\x00";
/// The skippable field of the grant: tag 7.
const OF_GRANT: &[u8] = b"\x07\x02ok";

/// Returns the end of an encoded record: the skippable fields of the record and, if
/// `is_same_grant`, those of the grant. The record's history, with tag 1, may precede them.
fn end(is_same_grant: bool) -> Vec<u8> {
    let of_grant = if is_same_grant { section(OF_GRANT) } else { Vec::new() };
    [OF_RECORD, &of_grant].concat()
}

fn section(fields: &[u8]) -> Vec<u8> {
    [&[u8::try_from(fields.len()).unwrap()], fields].concat()
}

/// Returns the record as a newer release writes it. `record` must not have any of the fields 7 and
/// up.
fn as_newer(record: &Record) -> Record {
    let bytes = record.encode();
    // Skips the format, the stage and the lease id, then seven numbers. The bits of the fields
    // follow.
    let mut at = 18;
    for _ in 0..7 {
        while bytes[at] >= 0x80 {
            at += 1;
        }
        at += 1;
    }
    assert!(bytes[at] < 0x80, "the record has higher fields already");
    let (head, rest) = (&bytes[..at], &bytes[at + 1..]);
    // Bits 4 and 5 of the second byte stand for the fields 11 and 12.
    let present = [bytes[at] | 0x80, 0b11_0000];
    Record::decode(&[head, &present, rest, &section(OF_RECORD), &section(OF_GRANT)].concat()).unwrap()
}

/// Replaces the record of the lease with one that a newer release has changed since the grant.
fn lease_of_newer(store: &dyn Store, lease: &Lease) -> Record {
    let record = stored(store, lease.key()).unwrap();
    let lease_id: LeaseId = *lease.lease_id();
    let newer = as_newer(&changed(&record, lease_id, record.acquired_at()));
    put_over(store, &key(lease.key()), &record, &newer);
    newer
}

fn put_over(store: &dyn Store, key: &Key, record: &Record, next: &Record) {
    let swap = swap(store, key, change(Some(record), next));
    assert!(matches!(swap, CasResult::Written), "{swap:?}");
}

/// Asserts that the record under `key` ends with the expected fields.
fn assert_ends(store: &dyn Store, key: &str, is_same_grant: bool, what: &str) {
    let bytes = bytes(store, key).expect("the record is there");
    assert!(bytes.ends_with(&end(is_same_grant)), "unknown fields were not kept: {what}");
    let listed = list(store, key, 10).into_iter().find(|(listed, _)| listed.as_str() == key);
    assert_eq!(listed.map(|(_, record)| record.encode()), Some(bytes), "{what}, listed");
}

/// Every change of a grant writes unknown skippable fields back byte for byte.
pub fn unknown_fields_are_kept_by_every_change_of_a_grant(factory: Factory<'_>) {
    type Change = fn(&Lease) -> Pending<Result<Ack, Error>>;
    let changes: [(&str, Change); 9] = [
        ("extend", |lease| lease.extend(2 * LONG)),
        ("checkpoint", |lease| lease.checkpoint("page 7")),
        ("complete", |lease| lease.complete("paid")),
        ("complete-as", |lease| lease.complete_bytes_as(b"paid", Some("receipt"))),
        ("fail", |lease| lease.fail_with("declined", "by the bank")),
        ("cancel", |lease| lease.cancel(Some("no need"))),
        ("release", |lease| lease.release()),
        ("abandon", |lease| lease.abandon()),
        ("leave-in-doubt", |lease| lease.leave_in_doubt()),
    ];
    let subject = factory();
    let (store, engine) = (&**subject.store(), subject.engine());
    for (name, change) in changes {
        let lease = take(engine.acquire(name).ttl(LONG).holder("holder"));
        let newer = lease_of_newer(store, &lease);
        assert_ends(store, name, true, "as stored");
        change(&lease).wait().unwrap();
        let version = stored(store, name).map(|record| record.version().as_u64());
        assert_eq!(version, Some(newer.version().as_u64() + 1), "{name}");
        assert_ends(store, name, true, name);
    }
}

/// An operator's resolution writes unknown skippable fields back byte for byte.
pub fn unknown_fields_are_kept_by_a_resolution(factory: Factory<'_>) {
    let subject = factory();
    let (store, engine) = (&**subject.store(), subject.engine());
    for name in ["completed", "failed", "released"] {
        let lease = take(engine.acquire(name).ttl(LONG));
        lease_of_newer(store, &lease);
        lease.abandon().wait().unwrap();
        let resolve = engine.resolve(name);
        match name {
            "completed" => resolve.completed("paid").wait(),
            "failed" => resolve.failed("declined").wait(),
            _ => resolve.released().wait(),
        }
        .unwrap();
        assert_ends(store, name, true, name);
    }
}

/// A takeover keeps the unknown fields of the record and drops those of the previous grant.
pub fn unknown_fields_of_a_grant_are_dropped_by_a_takeover(factory: Factory<'_>) {
    let subject = factory();
    let (store, engine) = (&**subject.store(), subject.engine());
    let lease = take(engine.acquire("k").ttl(LONG).holder("first"));
    lease_of_newer(store, &lease);
    lease.abandon().wait().unwrap();
    let second = take(engine.acquire("k").ttl(LONG).holder("second"));
    assert_eq!(second.attempt(), 2);
    assert_ends(store, "k", false, "a take-over");
    second.release().wait().unwrap();
    let third = take(engine.acquire("k").ttl(LONG).holder("third"));
    third.complete("paid").wait().unwrap();
    assert_ends(store, "k", false, "a grant after a release");
}

/// A record keeps the history of earlier grants, whatever changes it, and shows it without a lease
/// id.
pub fn the_history_of_earlier_grants_is_kept_by_every_change(factory: Factory<'_>) {
    use HistoryKind::{Abandoned, Completed, Granted, LeftInDoubt, Renewed};
    let subject = factory();
    let engine = subject.engine();
    let first = take(engine.acquire("k").ttl(LONG).holder("first"));
    first.abandon().wait().expect("the holder may");
    let second = take(engine.acquire("k").ttl(LONG).holder("second"));
    second.extend(2 * LONG).wait().expect("the holder may");
    second.leave_in_doubt().wait().expect("the holder may");
    let ask = engine.acquire("k").ttl(LONG).holder("third").on_lapsed(OnLapsed::Reconcile);
    let third = take(ask);
    third.complete(&vec![7; 40]).wait().expect("the holder may");
    let history = status(&engine, "k").history();
    let seen: Vec<_> = history.iter().map(|entry| (entry.holder().unwrap(), entry.kind())).collect();
    let expected = [
        ("first", Granted),
        ("first", Abandoned),
        ("second", Granted),
        ("second", Renewed),
        ("second", LeftInDoubt),
        ("third", Granted),
        ("third", Completed),
    ];
    assert_eq!(seen, expected);
    let tokens = [&first, &second, &third].map(|lease| lease.token());
    assert!(history.iter().all(|entry| entry.token() == tokens[entry.attempt() as usize - 1]));
    assert!(history.is_sorted_by_key(|entry| entry.at()));
}
