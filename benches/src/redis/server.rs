//! A server of the benchmark's own: on loopback, on a free port, with its files in a folder that it is given, gone with this process.

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

/// What the server on the PATH says of itself, if there is one.
pub(crate) fn version() -> Option<String> {
    let told = Command::new("redis-server").arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

pub(crate) struct Server {
    /// Ends the server when its standard input ends, and so with this process, however that ends.
    shell: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(folder: &Path, mode: Mode) -> Result<Self, String> {
        // As the server will name it.
        let folder = &folder.canonicalize().map_err(|error| error.to_string())?;
        // Somebody else may be faster to take the port.
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

    /// Waits until this server, and no other one, answers.
    fn is_up(&self, folder: &Path) -> bool {
        let patience = Instant::now() + Duration::from_secs(10);
        while Instant::now() < patience {
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
        // A pair: how long the name is, the name, how long the value is, the value.
        BufReader::new(stream).lines().nth(4).unwrap_or_else(|| Ok(String::new()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
