//! Tests that the store in the guide for authors equals the example, and that it passes the
//! conformance suite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "an example's main is not run by a test")]
#[path = "../examples/custom_store.rs"]
mod custom_store;

use std::sync::Arc;

use lessor::store::Cas;
use lessor_testkit::{ManualClock, Subject, conformance};

const GUIDE: &str = include_str!("../../../docs/writing-a-store.md");
const EXAMPLE: &str = include_str!("../examples/custom_store.rs");

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

#[test]
fn the_store_in_the_guide_equals_the_example() {
    let shown = between(GUIDE, "```rust\n", "```").unwrap();
    let compiled = between(EXAMPLE, "// ANCHOR: store\n", "// ANCHOR_END: store").unwrap();
    assert!(
        shown == compiled,
        "copy the part between the anchors of examples/custom_store.rs into docs/writing-a-store.md"
    );
}

fn the_guides_store() -> Subject {
    let clock = ManualClock::new();
    let store = custom_store::MapStore::with_clock(Arc::new(clock.clone()));
    Subject::on_manual_clock(Arc::new(Cas::new(store)), clock)
}

conformance!(the_guides_store);

#[test]
fn run_all_tests_every_promise() {
    let promises = conformance::run_all(&the_guides_store);
    assert!(promises >= 40, "{promises}");
}

const GUARANTEES: &str = include_str!("../../../docs/guarantees.md");

/// Appends all Rust sources below `folder` to `all`.
fn sources(folder: &std::path::Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_named_in_the_guarantees_exists() {
    let mut all = String::new();
    sources(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")), &mut all);
    let lists = GUARANTEES.split("\n\n").filter(|paragraph| paragraph.starts_with("Tests:"));
    let named: Vec<&str> = lists.flat_map(|list| list.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 30);
    let missing: Vec<_> = named.iter().filter(|name| !all.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
