//! The errors that a new user meets. Each message states what to do, and none says anything twice.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, HashSet};
use std::error::Error as StdError;
use std::iter::successors;
use std::time::Duration;

use lessor::{Acquisition, Engine, ErrorKind, Lease, Message, OnceError, Versioned};

fn engine() -> Engine {
    lessor::open("memory:").unwrap()
}

fn acquired(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{key}: {other:?}"),
    }
}

/// Returns the message of an error and of all its sources, and checks that no part is repeated.
fn report(error: &(dyn StdError + 'static)) -> String {
    let messages: Vec<String> =
        successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    let report = messages.join(": ");
    let mut seen = HashSet::new();
    let is_new = |part: &str| seen.insert(part.trim().to_owned());
    assert!(report.split([':', ';']).all(is_new), "a part is repeated: {report}");
    assert!(!report.contains("syntax error"), "an internal message: {report}");
    report
}

#[track_caller]
fn says(error: &(dyn StdError + 'static), parts: &[&str]) {
    let report = report(error);
    for part in parts {
        assert!(report.contains(part), "{part:?} is missing: {report}");
    }
}

const ANOTHER_TYPE: &[&str] =
    &["another type", "read it as the type that was written, or use another key", "line 1, column"];

/// Regression: the message was "syntax error at line 0 column 0".
#[test]
fn a_result_that_is_read_as_another_type_is_refused_with_advice() {
    let engine = engine();
    let _stored = engine.once("key").run(|_| Ok::<_, Message>("secret".to_owned())).unwrap();
    let error = engine.once("key").run(|_| Ok::<_, Message>(1)).unwrap_err();
    assert!(matches!(&error, OnceError::Engine(error) if error.kind() == ErrorKind::Invalid), "{error:?}");
    says(&error, ANOTHER_TYPE);
    let view = engine.status("key").wait().unwrap().unwrap();
    let error = view.result::<u32>().unwrap_err();
    says(&error, ANOTHER_TYPE);
    assert!(!report(&error).contains("secret"));
}

#[test]
fn a_checkpoint_that_is_read_as_another_type_is_refused_with_advice() {
    let engine = engine();
    let lease = acquired(&engine, "key");
    lease.checkpoint("half").wait().unwrap();
    lease.release().wait().unwrap();
    says(&acquired(&engine, "key").previous_checkpoint::<u32>().unwrap_err(), ANOTHER_TYPE);
}

#[test]
fn a_result_of_another_named_type_or_version_is_refused_with_advice() {
    let engine = engine();
    let request = |codec| engine.once("key").codec(codec);
    let _stored = request(Versioned::new("receipt", 2)).run(|_| Ok::<_, Message>(1)).unwrap();
    for (codec, advice) in [
        (Versioned::new("invoice", 2), "use another key per type of result"),
        (Versioned::new("receipt", 1), "use the newer program"),
        (Versioned::new("receipt", 3), "no upgrade from version 2 to 3; add it"),
    ] {
        says(&request(codec).run(|_| Ok::<_, Message>(1)).unwrap_err(), &[advice]);
    }
}

/// The caller learned that the work had failed, but not what to do about it.
#[test]
fn a_failure_that_is_no_error_of_the_caller_is_reported_with_advice() {
    let engine = engine();
    let _failed = engine.once("key").run(|_| Err::<u8, _>("declined".to_owned())).unwrap_err();
    let error = engine.once("key").run(|_| Err::<u8, u32>(1)).unwrap_err();
    assert!(matches!(error, OnceError::Failed(_)), "{error:?}");
    says(&error, &["\"error\"", "read the details from the view", "forget the key"]);
    assert!(engine.forget("key").wait().unwrap());
    assert_eq!(engine.once("key").run(|_| Ok::<_, u32>(1_u8)).unwrap().into_value(), 1);
}

/// Regression: the message was "syntax error at line 0 column 0".
#[test]
fn metadata_that_is_no_object_with_text_as_keys_is_refused_with_advice() {
    let engine = engine();
    let pairs = BTreeMap::from([((1, 2), 3)]);
    let error = engine.once("key").metadata(&pairs).run(|_| Ok::<_, Message>(1)).unwrap_err();
    says(&error, &["metadata", "use strings or integers as keys"]);
    says(&engine.acquire("key").metadata(&pairs).wait().unwrap_err(), &["use strings or integers as keys"]);
    says(&engine.acquire("key").metadata(&[1]).wait().unwrap_err(), &["it must be a JSON object, such as"]);
    assert!(engine.status("key").wait().unwrap().is_none(), "a refused request has no effect");
}

#[test]
fn a_result_that_cannot_be_stored_is_reported_with_the_reason() {
    let engine = engine();
    let error = engine.once("float").run(|_| Ok::<_, Message>(f64::NAN)).unwrap_err();
    says(&error, &["its result cannot be stored", "NaN or infinite", "use None or a string instead"]);
    let later = engine.once("float").run(|_| Ok::<_, Message>(1.0)).unwrap_err();
    says(&later, &[lessor::RESULT_REFUSED, "forget the key"]);
}

#[test]
fn a_key_that_is_in_use_is_reported_with_advice() {
    let engine = engine();
    let _held = acquired(&engine, "key");
    let error = engine.once("key").wait_timeout(Duration::ZERO).run(|_| Ok::<_, Message>(1)).unwrap_err();
    says(&error, &["still in progress elsewhere; ask again later"]);
    let request = || engine.once("other").fingerprint("a request");
    let _stored = request().run(|_| Ok::<_, Message>(1)).unwrap();
    let error = request().fingerprint("another").run(|_| Ok::<_, Message>(1)).unwrap_err();
    says(&error, &["different request; use one key per request"]);
}

#[test]
fn a_store_that_cannot_be_opened_is_reported_with_advice() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| format!("file:{}", folder.path().join(name).display());
    std::fs::write(folder.path().join("text"), "").unwrap();
    let _open = lessor::open(&path("leases")).unwrap();
    for (url, advice) in [
        ("file:~/x".to_owned(), "write the full path, such as `file:/home/NAME/leases`"),
        (path("text"), "the path must be a folder"),
        (path("missing/leases"), "make its parent folder first"),
        (path(""), "use a new folder such as"),
        (path("leases"), "process"),
        (path("leases?sync=never"), "write sync=disk or sync=process"),
        ("memory:leases".to_owned(), "write `memory:`"),
        ("leases".to_owned(), "supported are: file:FOLDER"),
    ] {
        says(&lessor::open(&url).map(drop).unwrap_err(), &[advice]);
    }
}

#[test]
#[cfg(feature = "redis")]
fn a_url_of_a_server_that_cannot_be_used_is_reported_without_repetition() {
    for url in ["redis://", "redis://host/zero", "redis://host:99999/0", "redis://host/0?prefix"] {
        let error = lessor::open(url).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}: {error}");
        report(&error);
    }
}
