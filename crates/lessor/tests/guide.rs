//! What the guide for authors of stores shows is the code that is compiled and run, and it is a correct store.

#[allow(dead_code, reason = "an example's main is not run by a test")]
#[path = "../examples/custom_store.rs"]
mod custom_store;

use std::sync::Arc;

use lessor_testkit::{ManualClock, Subject, conformance};

const GUIDE: &str = include_str!("../../../docs/writing-a-store.md");
const EXAMPLE: &str = include_str!("../examples/custom_store.rs");

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

#[test]
fn the_store_in_the_guide_is_the_one_that_is_compiled() {
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
    Subject::on_manual_clock(Arc::new(store), clock)
}

conformance!(the_guides_store);

#[test]
fn one_call_tests_every_promise_as_well() {
    let promises = conformance::run_all(&the_guides_store);
    assert!(promises >= 40, "{promises}");
}
