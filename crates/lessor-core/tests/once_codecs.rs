//! The encodings of results in `once`, and results that outlive their type.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use lessor_core::{Bytes, Engine, ErrorKind, Message, OnceError, Outcome, Versioned};
use lessor_memory::MemoryStore;
use serde::{Deserialize, Serialize};

fn engine() -> Engine {
    Engine::new(Arc::new(MemoryStore::new())).unwrap()
}

#[test]
fn results_can_be_bytes() {
    let engine = engine();
    let bytes = vec![0, 159, 146, 150];
    let once = || engine.once("key").codec(Bytes);
    let first = once().run(|_| Ok::<_, Message>(bytes.clone())).unwrap();
    assert_eq!(*first.value(), bytes);
    let view = engine.status("key").wait().unwrap().unwrap();
    assert_eq!(view.result_bytes(), Some(&bytes[..]));
    assert_eq!(once().run(|_| Err(Message::new("again"))).unwrap().into_value(), bytes);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct V1 {
    cents: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct V2 {
    cents: u64,
    currency: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct V3 {
    amount: (u64, String),
}

fn receipts(version: u32) -> Versioned {
    Versioned::new("receipt", version)
        .upgrade(0, |cents: u64| Ok::<_, Message>(V1 { cents }))
        .upgrade(1, |old: V1| Ok::<_, Message>(V2 { cents: old.cents, currency: "EUR".to_owned() }))
        .upgrade(2, |old: V2| match old.cents {
            0 => Err(Message::new("there is nothing")),
            cents => Ok(V3 { amount: (cents, old.currency) }),
        })
}

#[test]
fn a_result_of_an_older_version_is_upgraded_step_by_step() {
    let engine = engine();
    engine.once("v0").run(|_| Ok::<_, Message>(5_u64)).unwrap();
    engine.once("v1").codec(receipts(1)).run(|_| Ok::<_, Message>(V1 { cents: 5 })).unwrap();
    let v2 = V2 { cents: 5, currency: "EUR".to_owned() };
    engine.once("v2").codec(receipts(2)).run(|_| Ok::<_, Message>(v2)).unwrap();
    let expected = || V3 { amount: (5, "EUR".to_owned()) };
    engine.once("v3").codec(receipts(3)).run(|_| Ok::<_, Message>(expected())).unwrap();
    for key in ["v0", "v1", "v2", "v3"] {
        let read = engine.once::<V3, Message>(key).codec(receipts(3)).run(|_| Err(Message::new("again")));
        assert_eq!(read.unwrap().into_value(), expected(), "{key}");
    }
}

#[test]
fn a_result_that_cannot_be_upgraded_is_refused_by_name_and_not_lost() {
    let engine = engine();
    let refused = |key: &str, codec: Versioned, parts: &[&str]| {
        let read: Result<Outcome<V3>, OnceError<V3, Message>> =
            engine.once(key).codec(codec).run(|_| Err(Message::new("again")));
        let Err(OnceError::Engine(error)) = read else { panic!("{read:?}") };
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    engine.once("newer").codec(receipts(4)).run(|_| Ok::<_, Message>(1)).unwrap();
    refused("newer", receipts(3), &["\"receipt\" has version 4", "up to version 3"]);
    engine.once("other").codec(Versioned::new("invoice", 3)).run(|_| Ok::<_, Message>(1)).unwrap();
    refused("other", receipts(3), &["\"invoice\"", "\"receipt\""]);
    engine.once("gap").codec(Versioned::new("receipt", 1)).run(|_| Ok::<_, Message>(1)).unwrap();
    refused("gap", Versioned::new("receipt", 3), &["no upgrade from version 1 to 2"]);
    let nothing = V2 { cents: 0, currency: String::new() };
    engine.once("fails").codec(receipts(2)).run(|_| Ok::<_, Message>(nothing)).unwrap();
    refused("fails", receipts(3), &["could not be upgraded", "there is nothing"]);
    engine.once("wrong").codec(receipts(1)).run(|_| Ok::<_, Message>("text".to_owned())).unwrap();
    refused("wrong", receipts(3), &["not of the type that its upgrade expects"]);
    // The results are still there.
    assert_eq!(engine.once("newer").codec(receipts(4)).run(|_| Ok::<_, Message>(2)).unwrap().into_value(), 1);
}

/// The upgrade went through a JSON value, which has no integers of more than 64 bits. The older
/// program had stored the result and read it back.
#[test]
fn an_upgrade_keeps_every_number_that_a_result_may_contain() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        large: u64,
        larger: u128,
        negative: i128,
        float: f64,
        short: f32,
        by_id: std::collections::BTreeMap<u32, f64>,
    }
    let engine = engine();
    let numbers = Numbers {
        large: (1 << 53) + 1,
        larger: u128::MAX - 1,
        negative: i128::MIN + 1,
        float: 0.1 + 0.2,
        short: 1.1,
        by_id: [(7, f64::MIN_POSITIVE), (8, 1e300 / 7.0)].into(),
    };
    let codec = |version| {
        Versioned::new("numbers", version)
            .upgrade(1, |old: Numbers| Ok::<_, Message>(old))
            .upgrade(2, |old: Numbers| Ok::<_, Message>(old))
    };
    let stored = numbers.clone();
    engine.once("key").codec(codec(1)).run(|_| Ok::<_, Message>(stored)).unwrap();
    for version in 1..=3 {
        let read = engine.once::<Numbers, Message>("key").codec(codec(version));
        assert_eq!(read.run(|_| Err(Message::new("again"))).unwrap().into_value(), numbers, "{version}");
    }
}
