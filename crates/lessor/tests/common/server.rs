//! A Redis server for a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// A server on loopback with its own folder. A shell ends the server when this process has ended in
/// any way.
pub(crate) struct Server {
    shell: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
}

/// Returns a port that no program uses now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts a server. Returns `None`, with a message, if no server is installed, unless `CI` is
    /// set.
    pub(crate) fn start() -> Option<Self> {
        Self::start_on(free_port())
    }

    /// Starts a server on a port, as [`start`](Self::start) does.
    pub(crate) fn start_on(port: u16) -> Option<Self> {
        let program = std::env::var_os("LESSOR_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let version = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
        let is_needed = ["CI", "LESSOR_REDIS_SERVER"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(version.is_ok() || !is_needed, "there is no {}", program.display());
        if version.is_err() {
            eprintln!("SKIPPED: THERE IS NO redis-server ON THE PATH");
            return None;
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
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
