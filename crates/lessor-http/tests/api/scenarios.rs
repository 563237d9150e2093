//! Runs the scenarios of `contract.txt`.
//!
//! A scenario is a title and lines:
//!
//! - `METHOD PATH BODY` is a request of the current caller, and the line after it the expected
//!   reply: a status, and the whole body. In it `"@lease"` stands for a lease id, `"@any"` for any
//!   value but null, and `"@text"` for any text.
//! - `as NAME` sets the caller, and `wait SECONDS` moves the clock.
//! - In a request, `$1` stands for the first lease id that a reply of the scenario had, and so on.

use std::time::Duration;

use lessor_core::LeaseId;
use serde_json::Value;

use crate::openapi::Document;
use crate::server::Server;

const CONTRACT: &str = include_str!("contract.txt");

/// Returns whether a value is as expected.
fn fits(expected: &Value, value: &Value) -> bool {
    match (expected, value) {
        (Value::String(marker), value) if marker == "@any" => !value.is_null(),
        (Value::String(marker), Value::String(_)) if marker == "@text" => true,
        (Value::String(marker), Value::String(id)) if marker == "@lease" => id.parse::<LeaseId>().is_ok(),
        (Value::Object(expected), Value::Object(value)) => {
            expected.len() == value.len()
                && expected.iter().all(|(name, part)| value.get(name).is_some_and(|value| fits(part, value)))
        }
        (Value::Array(expected), Value::Array(value)) => {
            expected.len() == value.len() && expected.iter().zip(value).all(|(one, other)| fits(one, other))
        }
        (expected, value) => expected == value,
    }
}

/// Runs a scenario and returns what was not as expected.
async fn run(lines: &[&str]) -> Result<(), String> {
    let server = Server::new();
    let document = Document::of(&server).await;
    let (mut caller, mut ids) = ("shop", Vec::<String>::new());
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("as ") {
            caller = name;
            continue;
        }
        if let Some(seconds) = line.strip_prefix("wait ") {
            server.clock.advance(Duration::from_secs(seconds.parse().unwrap()));
            continue;
        }
        let mut parts = line.splitn(3, ' ');
        let (method, path) = (parts.next().unwrap(), parts.next().unwrap());
        let mut body = parts.next().unwrap_or_default().to_owned();
        for (number, id) in (1..).zip(&ids) {
            body = body.replace(&format!("${number}"), id);
        }
        let reply = server.call_as(caller, method, path, body).await;
        let (status, expected) = lines.next().unwrap().split_once(' ').unwrap();
        let expected = serde_json::from_str(expected).unwrap_or_else(|error| panic!("{line}: {error}"));
        let value = reply.json();
        if reply.status.as_str() != status || !fits(&expected, &value) {
            return Err(format!(
                "{line}\n  expected {status} {expected}\n  but was  {} {value}",
                reply.status.as_str()
            ));
        }
        document
            .check(method, path, reply.status.as_u16(), &value)
            .map_err(|problem| format!("{line}: {problem}"))?;
        if let Some(Value::String(id)) = value.get("lease_id") {
            ids.push(id.clone());
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_reply_is_that_of_the_contract() {
    let mut failures = Vec::new();
    let mut count = 0;
    for scenario in CONTRACT.split("\n## ").skip(1) {
        let mut lines = scenario.lines();
        let title = lines.next().unwrap();
        let lines: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
        if let Err(failure) = run(&lines).await {
            failures.push(format!("{title}: {failure}"));
        }
        count += 1;
    }
    assert!(failures.is_empty(), "{} of {count} scenarios:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 40, "{count} scenarios");
}
