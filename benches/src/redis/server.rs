//! A server of the benchmark's own: on loopback, on a free port, with its files in a given folder.
//! It ends with this process.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) use crate::suite::cases::Mode;

impl Mode {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Volatile => &["--appendonly", "no"],
            Self::Durable => {
                &["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]
            }
        }
    }
}

/// Returns the version that the server on the PATH prints, if there is one.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("redis-server").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) struct Server {
    /// Ends the server when its standard input is closed, which happens however this process ends.
    shell: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(folder: &Path, mode: Mode) -> Result<Self, String> {
        // The path that the server reports.
        let folder = &folder.canonicalize().map_err(|error| error.to_string())?;
        // Another process may take the port first.
        for _ in 0..3 {
            let server = Self::run(folder, mode).map_err(|error| format!("redis-server: {error}"))?;
            if server.is_up(folder) {
                return Ok(server);
            }
        }
        Err("no redis-server could be started".to_owned())
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn run(folder: &Path, mode: Mode) -> std::io::Result<Self> {
        const WATCH: &str =
            r#"redis-server "$@" >/dev/null 2>&1 </dev/null & read -r _; kill -9 $!; wait $!"#;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let shell = Command::new("sh")
            .args([
                "-c",
                WATCH,
                "sh",
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
            ])
            .arg(folder)
            .args(mode.options())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { shell, port })
    }

    /// Waits until this server, and not another one, answers.
    fn is_up(&self, folder: &Path) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if self.folder().is_ok_and(|answer| Path::new(answer.trim()) == folder) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        false
    }

    fn folder(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"CONFIG GET dir\r\n")?;
        // A pair: length of the name, name, length of the value, value.
        BufReader::new(stream).lines().nth(4).unwrap_or_else(|| Ok(String::new()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
