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

/// The folder of the guides, which the documentation includes.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
const MODULE: &str = include_str!("../src/guide.rs");

/// Returns the names and the texts of the guides.
fn guides() -> Vec<(String, String)> {
    let files = std::fs::read_dir(DOCS).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn every_guide_is_a_module_of_the_documentation() {
    for (name, _) in guides() {
        assert!(MODULE.contains(&format!(": \"{name}\",")), "src/guide.rs does not include {name}");
    }
    assert_eq!(MODULE.matches(".md\",").count(), guides().len());
}

/// A link to a path works in the repository and not in the documentation. So it is a definition at
/// the end of the text, which another one in `src/guide.rs` precedes.
#[test]
fn every_link_of_a_guide_works_in_the_repository_and_in_the_documentation() {
    let mut count = 0;
    for (name, text) in guides() {
        for link in text.split("](").skip(1) {
            let target = link.split_once(')').unwrap().0;
            assert!(target.starts_with("https://") || target.starts_with('#'), "{name}: {target}");
        }
        for line in text.lines().filter(|line| line.starts_with('[')) {
            let Some((label, target)) = line.split_once("]: ") else { continue };
            let file = target.split('#').next().unwrap();
            let folder = std::path::Path::new(DOCS).join("../../../docs");
            assert!(folder.join(file).exists(), "{name}: there is no {file}");
            assert!(MODULE.contains(&format!("\n{label}]: ")), "src/guide.rs does not define {label}]");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}
