//! The command lines of the service's reference, against the server. Only the address and the lease
//! id are replaced in them.

use std::process::Command;
use std::time::Duration;

use lessor_http::{Config, KeyHash};
use serde_json::Value;

use crate::server::Server;

const REFERENCE: &str = include_str!("reference.txt");
const KEY: &str = "once_live_xxxxxxxxxxxxx";
const ADDRESS: &str = "https://api.onceonly.tech";
const LEASE_ID: &str = "lease_abc123xyz";

/// Returns the command of a call, and the examples of its replies.
fn example(path: &str) -> (String, Vec<Value>) {
    let beginnings =
        [format!("curl -X POST {ADDRESS}/v1/ai/{path} "), format!("Endpoint: GET /v1/ai/{path}?")];
    let begin = beginnings.iter().find_map(|beginning| REFERENCE.find(beginning)).unwrap();
    let section = &REFERENCE[begin..];
    let end = ["\ncurl ", "\nEndpoint: "].iter().filter_map(|next| section.find(next)).min();
    let section = &section[..end.unwrap_or(section.len())];
    let (command, replies) = match section.split_once("}'\n") {
        Some((command, replies)) => (format!("{command}}}'"), replies),
        None => {
            let (_, replies) = section.split_once('\n').unwrap();
            let query = format!("{ADDRESS}/v1/ai/{path}?key=support_chat_001");
            (format!("curl '{query}' -H 'Authorization: Bearer {KEY}'"), replies)
        }
    };
    let replies = serde_json::Deserializer::from_str(replies).into_iter().map(Result::unwrap).collect();
    (command, replies)
}

/// A server, and the id of the lease that the reference acquires.
struct Reference {
    server: Server,
    lease_id: String,
}

impl Reference {
    fn new() -> Self {
        let hash = KeyHash::of(KEY);
        let text =
            format!("[namespaces.reference]\nquota = {{ ai = 3000 }}\nkeys = [{{ sha256 = \"{hash}\" }}]");
        let server = Server::start(Config::from_toml(&text).unwrap());
        let mut reference = Self { server, lease_id: String::new() };
        let (reply, examples) = reference.call("lease");
        reference.lease_id = reply["lease_id"].as_str().unwrap().to_owned();
        assert_ne!(reference.lease_id, "");
        reference.compare(&examples[0], &reply, true);
        reference
    }

    fn call(&self, path: &str) -> (Value, Vec<Value>) {
        let (command, examples) = example(path);
        let command = command.replace(ADDRESS, &self.server.url()).replace(LEASE_ID, &self.lease_id);
        let command = command.replacen("curl ", "curl --silent --show-error --noproxy '*' ", 1);
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        (serde_json::from_slice(&output.stdout).unwrap(), examples)
    }

    /// Compares a reply with the example. A lease id is in the reply that grants the lease only, the
    /// count of the month is another one, and the reply may have further fields.
    fn compare(&self, example: &Value, reply: &Value, grants: bool) {
        for (name, expected) in example.as_object().unwrap() {
            let expected = match name.as_str() {
                "lease_id" if grants => Value::from(self.lease_id.clone()),
                "lease_id" => Value::Null,
                "usage" => Value::from(1),
                _ => expected.clone(),
            };
            assert_eq!(reply.get(name), Some(&expected), "{name} of {reply}");
        }
    }

    fn wait(&self, seconds: u64) {
        self.server.clock.advance(Duration::from_secs(seconds));
    }
}

/// Returns whether there is a curl. Without one, the tests report that and do nothing. If `CI` is
/// set, that is an error.
fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "there is no curl");
    if !found {
        eprintln!("SKIPPED: THERE IS NO curl, THE LINES OF THE REFERENCE ARE NOT TESTED");
    }
    found
}

#[test]
fn the_lines_of_the_reference_get_the_replies_of_the_reference() {
    if !has_curl() {
        return;
    }
    let reference = Reference::new();
    reference.wait(50);
    let (reply, examples) = reference.call("lease");
    reference.compare(&examples[1], &reply, false);
    reference.wait(250);
    let (reply, examples) = reference.call("status");
    reference.compare(&examples[0], &reply, false);
    reference.wait(600);
    let (reply, examples) = reference.call("complete");
    assert_eq!(reply, examples[0]);
    let (reply, examples) = reference.call("result");
    assert_eq!(reply, examples[0]);
}

#[test]
fn each_line_of_the_reference_is_the_second_change_of_its_lease() {
    if !has_curl() {
        return;
    }
    for path in ["extend", "complete", "cancel", "fail"] {
        let (reply, examples) = Reference::new().call(path);
        assert_eq!(reply, examples[0], "{path}");
    }
}
