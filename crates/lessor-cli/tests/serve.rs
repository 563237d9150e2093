//! `lessor serve` as a process: its address, its shutdown, its restart, and what it refuses.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use support::Place;

/// A served store. The server is killed with the end of this value.
struct Served {
    server: Child,
    address: String,
}

impl Served {
    fn start(place: &Place, words: &[&str]) -> Self {
        let words = [&["--json", "--open-wait", "60s", "serve", "--listen", "127.0.0.1:0"], words].concat();
        let mut server = place.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { server, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends a request, and returns the status and the body of the reply.
    fn call(&self, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let mut stream = self.connect();
        send(&mut stream, method, path, key, body);
        reply(&mut stream)
    }

    fn signal(&self, name: &str) {
        let pid = self.server.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Returns the exit code of a server that ends by itself.
    fn end(&mut self) -> Option<i32> {
        self.server.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn send(stream: &mut TcpStream, method: &str, path: &str, key: &str, body: &Value) {
    let body = if method == "POST" { body.to_string() } else { String::new() };
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: lessor\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
}

fn reply(stream: &mut TcpStream) -> (u16, Value) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// An acquired lease is completed after the server was killed and started again.
#[test]
fn p5_leases_are_served_on_after_kill_9_and_after_a_shutdown() {
    let place = Place::file();
    let mut served = Served::start(&place, &[]);
    let (status, lease) = served.call("POST", "/v1/ai/lease", "any", &json!({"key": "job", "ttl": 600}));
    assert_eq!((status, &lease["status"]), (200, &json!("acquired")));
    served.signal("KILL");
    assert_eq!(served.end(), None);

    let mut served = Served::start(&place, &[]);
    let (_, polling) = served.call("POST", "/v1/ai/lease", "any", &json!({"key": "job", "ttl": 600}));
    assert_eq!(polling["status"], "polling");
    let done = json!({"key": "job", "lease_id": lease["lease_id"], "result": {"sent": 3}});
    assert_eq!(served.call("POST", "/v1/ai/complete", "any", &done).0, 200);
    served.signal("TERM");
    assert_eq!(served.end(), Some(0));

    let served = Served::start(&place, &[]);
    let (_, result) = served.call("GET", "/v1/ai/result?key=job", "any", &Value::Null);
    assert_eq!(result["result"], json!({"sent": 3}));
}

/// A caller that waits for a status gets its reply, although the server is told to end meanwhile.
#[test]
fn a_request_under_way_is_answered_before_the_server_ends() {
    let place = Place::file();
    let mut served = Served::start(&place, &[]);
    let (_, lease) = served.call("POST", "/v1/ai/lease", "any", &json!({"key": "job", "ttl": 600}));
    let mut waiting = served.connect();
    send(&mut waiting, "GET", "/v1/ai/status?key=job&wait=2", "any", &Value::Null);
    // Another request on the way, so that the waiting one has arrived.
    served.call("GET", "/v1/ai/status?key=job", "any", &Value::Null);
    served.signal("TERM");
    let (status, body) = reply(&mut waiting);
    assert_eq!((status, &body["status"]), (200, &json!("in_progress")));
    assert_eq!(body["lease_id"], Value::Null);
    assert_eq!(served.end(), Some(0));
    assert!(lease["lease_id"].is_string());
}

#[test]
fn a_configuration_has_keys_and_quotas_and_other_keys_are_refused() {
    let place = Place::file();
    let file = place.folder.path().join("lessor.toml");
    // The SHA-256 of `secret`.
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let text =
        format!("[namespaces.shop]\nquota = {{ ai = 1 }}\n[[namespaces.shop.keys]]\nsha256 = \"{hash}\"\n");
    std::fs::write(&file, text).unwrap();
    let served = Served::start(&place, &["--config", file.to_str().unwrap()]);
    let lease = |key: &str, work: &str| served.call("POST", "/v1/ai/lease", key, &json!({"key": work}));
    assert_eq!(lease("other", "a").0, 403);
    let (status, granted) = lease("secret", "a");
    assert_eq!((status, &granted["usage"], &granted["limit"]), (200, &json!(1), &json!(1)));
    assert_eq!(lease("secret", "b").0, 402);
    assert_eq!(lease("secret", "a").0, 200, "what is in progress answers without a charge");
}

#[test]
fn p12_an_address_without_keys_and_files_with_mistakes_are_refused_with_the_reason() {
    let place = Place::file();
    let file = place.folder.path().join("lessor.toml");
    let file = file.to_str().unwrap();
    std::fs::write(file, "healthy = true\n").unwrap();
    for (words, reason) in [
        (&["serve", "--listen", "0.0.0.0:0"][..], "loopback"),
        (&["serve", "--config", file], "line 1"),
        (&["serve", "--config", "absent.toml"], "absent.toml"),
        (&["serve", "--tls-certificate", file, "--tls-key", file], "PEM"),
        (&["serve", "--tls-key", file], "--tls-certificate"),
        (&["--namespace", "shop", "serve"], "--namespace"),
    ] {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(2), "{words:?}: {ran:?}");
        assert!(ran.err.contains(reason), "{words:?}: {ran:?}");
    }
}

/// Fifty clients want one key; one gets it.
#[test]
fn p1_one_of_many_clients_is_granted_the_lease() {
    let place = Place::file();
    let served = Served::start(&place, &[]);
    let lease = || served.call("POST", "/v1/ai/lease", "any", &json!({"key": "job", "ttl": 600})).1;
    let granted = thread::scope(|scope| {
        let clients: Vec<_> = (0..50).map(|_| scope.spawn(|| lease()["status"] == "acquired")).collect();
        clients.into_iter().map(|client| client.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(granted, 1);
}
