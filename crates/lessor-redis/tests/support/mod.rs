//! Real servers for tests: on the loopback interface, on a free port, in a temporary folder, ended
//! with the test.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lessor_redis::{Check, RedisStore, Settings};
use tempfile::TempDir;

pub(crate) mod actor;
pub(crate) mod clocked;
pub(crate) mod dice;
pub(crate) mod proxy;

/// Returns the server's program, which the environment variable `LESSOR_REDIS_SERVER` may name.
pub(crate) fn program() -> OsString {
    std::env::var_os("LESSOR_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// Returns whether there is a server to test with. Without one, tests report that and do nothing.
/// If `CI` is set or a program is named, a missing server is an error.
pub(crate) fn is_available() -> bool {
    static IS_AVAILABLE: OnceLock<bool> = OnceLock::new();
    *IS_AVAILABLE.get_or_init(|| {
        let found = Command::new(program()).arg("--version").stdout(Stdio::null()).status().is_ok();
        let is_needed = ["CI", "LESSOR_REDIS_SERVER"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(found || !is_needed, "there is no {}", program().display());
        if !found {
            eprintln!("SKIPPED: THERE IS NO redis-server ON THE PATH, NOTHING OF THE REDIS STORE IS TESTED");
        }
        found
    })
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) struct Server {
    child: Process,
    folder: TempDir,
    pub(crate) port: u16,
    options: Vec<String>,
}

impl Server {
    /// Starts a server with these command-line options.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("lessor-redis-").tempdir().unwrap();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let mut port = free_port();
        let mut child = run(folder.path(), port, &options);
        // Another process may take the port first.
        for _ in 0..20 {
            if is_ready(&mut child, port) {
                return Self { child, folder, port, options };
            }
            child.kill();
            port = free_port();
            child = run(folder.path(), port, &options);
        }
        panic!("no server could be started");
    }

    /// Starts a server whose acknowledged writes survive a crash.
    pub(crate) fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a fast server without persistence.
    pub(crate) fn volatile() -> Self {
        Self::start(&[])
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(self.child.signal(signal));
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }

    /// Starts the server again, on the same port and with the data in its folder.
    pub(crate) fn restart(&mut self) {
        self.kill();
        for _ in 0..200 {
            self.child = run(self.folder.path(), self.port, &self.options);
            if is_ready(&mut self.child, self.port) {
                return;
            }
            self.kill();
        }
        panic!("the server could not be started again");
    }

    /// Sends a command. Returns the first line of the reply.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        send_command(self.port, words).unwrap()
    }

    /// Returns how many times the server has executed or rejected one of these commands.
    pub(crate) fn calls(&self, commands: &[&str]) -> u64 {
        let stats = query_all(self.port, &["INFO", "commandstats"]).concat();
        let count = |line: &str| {
            let (command, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls: u64 = stats.split(',').next()?.parse().ok()?;
            commands.contains(&command).then_some(calls)
        };
        stats.lines().filter_map(count).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server under a shell that ends it when this process ends, however that happens.
struct Process {
    shell: Child,
    server: String,
}

impl Process {
    fn signal(&self, signal: &str) -> bool {
        Command::new("kill").args([signal, &self.server]).stderr(Stdio::null()).status().unwrap().success()
    }

    fn kill(&mut self) {
        self.signal("-KILL");
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

fn run(folder: &Path, port: u16, options: &[String]) -> Process {
    const WATCH: &str = r#"log="$1"; server="$2"; shift 2; "$server" "$@" >>"$log" 2>&1 </dev/null & echo $!; read -r _; kill -9 $!; wait $!"#;
    let mut shell = Command::new("sh")
        .args(["-c", WATCH, "sh"])
        .arg(folder.join("log"))
        .arg(program())
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut server).unwrap();
    Process { shell, server: server.trim().to_owned() }
}

fn is_ready(process: &mut Process, port: u16) -> bool {
    for _ in 0..2_000 {
        if !process.signal("-0") {
            return false;
        }
        match send_command(port, &["PING"]) {
            // The server may require a password first.
            Ok(answer) if answer.starts_with("+PONG") || answer.starts_with("-NOAUTH") => return true,
            _ => std::thread::park_timeout(Duration::from_millis(5)),
        }
    }
    false
}

/// Sends a command without any client library, so that tests do not rely on the code under test.
fn send_command(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Sends a command. Returns all strings and numbers of the reply.
pub(crate) fn query_all(port: u16, words: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    read(&mut BufReader::new(stream), &mut answer);
    answer
}

fn read(from: &mut BufReader<TcpStream>, into: &mut Vec<String>) {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "*" => (0..rest.parse::<usize>().unwrap()).for_each(|_| read(from, into)),
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
            from.read_exact(&mut bytes).unwrap();
            bytes.truncate(bytes.len() - 2);
            into.push(String::from_utf8(bytes).unwrap());
        }
        "+" | ":" => into.push(rest.to_owned()),
        _ => panic!("{words}", words = line.trim_end()),
    }
}

/// Returns a prefix that no other test of this run uses.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn settings(prefix: &str) -> Settings {
    let mut settings = Settings::default();
    prefix.clone_into(&mut settings.prefix);
    settings.persistence = Check::Ignore;
    // The default, unless the tests are meant to fail.
    settings.deadline = Duration::from_secs(dice::number_from_env("LESSOR_PATIENCE", 60).min(10)) / 2;
    settings
}

pub(crate) fn open(server: &Server, prefix: &str) -> RedisStore {
    RedisStore::builder().settings(settings(prefix)).open(&server.url()).unwrap()
}
