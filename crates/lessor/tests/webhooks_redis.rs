//! The main job in several processes at once, which share a server and a ledger.
//!
//! The environment's `LESSOR_DELIVERIES_FILE` may name a file of deliveries to take besides the built-in sample.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::{example, row, stderr, stdout};
use serde_json::Value;
use tempfile::TempDir;

const PROCESSES: usize = 3;

/// A server on loopback, in a folder of its own. A shell ends it when this process is gone, however that ends.
struct Server {
    shell: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// `None`, and said so, where there is no server to test with, unless `CI` is set.
    fn start() -> Option<Self> {
        let program = std::env::var_os("LESSOR_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let version = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
        let is_needed = ["CI", "LESSOR_REDIS_SERVER"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(version.is_ok() || !is_needed, "there is no {}", program.display());
        if version.is_err() {
            eprintln!("SKIPPED: THERE IS NO redis-server ON THE PATH");
            return None;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut shell = Command::new("sh")
            .args([
                "-c",
                r#"server="$1"; shift; "$server" "$@" >log 2>&1 </dev/null & echo; read -r _; kill -9 $!; wait $!"#,
                "sh",
            ])
            .arg(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let server = Self { shell, port, folder };
        assert!((0..2_000).any(|_| server.answers()), "the server does not answer");
        Some(server)
    }

    fn answers(&self) -> bool {
        let mut answer = [0; 5];
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut answer)
        });
        if asked.is_err() {
            thread::park_timeout(Duration::from_millis(5));
        }
        asked.is_ok() && answer == *b"+PONG"
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Says how many were worked on by each process.
fn run_at_once(server: &Server, prefix: &str, input: Option<&Path>, distinct: u64) -> Vec<u64> {
    let ledger = server.folder.path().join(format!("{prefix}.ledger"));
    let command = || {
        let mut command = example("webhooks");
        command.arg("--ledger").arg(&ledger);
        command.args(["--store", &format!("redis://127.0.0.1:{}/0?prefix={prefix}", server.port)]);
        if let Some(input) = input {
            command.arg("--input").arg(input);
        }
        command
    };
    let spawn = || command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = (0..PROCESSES).map(|_| spawn()).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
        assert_eq!(row(output, "distinct"), distinct);
        assert_eq!(row(output, "executed") + row(output, "replayed"), row(output, "deliveries"));
    }
    let executed: Vec<u64> = outputs.iter().map(|output| row(output, "executed")).collect();
    assert_eq!(executed.iter().sum::<u64>(), distinct, "each is worked on once, by one process");

    let text = fs::read_to_string(&ledger).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
    assert_eq!(ids.len() as u64, distinct);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len() as u64, distinct);
    let ends = lines.iter().filter(|line| line.get("run_ended").is_some()).count();
    assert_eq!(ends, PROCESSES);

    let check = command().arg("--check").output().unwrap();
    assert!(check.status.success(), "{}", stdout(&check));
    // One more finds all of it done.
    let again = command().output().unwrap();
    assert!(again.status.success(), "{}", stdout(&again));
    assert_eq!((row(&again, "executed"), row(&again, "replayed")), (0, row(&again, "deliveries")));
    executed
}

#[test]
fn p1_three_processes_on_one_server_work_on_each_delivery_of_the_sample_once() {
    let Some(server) = Server::start() else { return };
    for round in 0..3 {
        let executed = run_at_once(&server, &format!("sample-{round}"), None, 40);
        println!("40 deliveries of the sample, worked on by process: {executed:?}");
    }
}

#[test]
fn p1_three_processes_on_one_server_work_on_each_delivery_of_a_file_once() {
    let Some(input) = std::env::var_os("LESSOR_DELIVERIES_FILE").map(PathBuf::from) else {
        println!("skipped: LESSOR_DELIVERIES_FILE names no file");
        return;
    };
    let Some(server) = Server::start() else { return };
    let text = fs::read_to_string(&input).unwrap();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let ids: Vec<Value> =
        lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["delivery"].clone()).collect();
    let distinct = ids.iter().map(Value::to_string).collect::<HashSet<_>>().len() as u64;
    let executed = run_at_once(&server, "file", Some(&input), distinct);
    println!("{} deliveries, {distinct} distinct, worked on by process: {executed:?}", ids.len());
}

#[test]
fn a_store_that_is_shared_needs_a_ledger_that_is() {
    let output = example("webhooks").args(["--store", "redis://127.0.0.1:1/0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("needs --ledger"), "{}", stderr(&output));
}
