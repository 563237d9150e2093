//! The program as a real process, over stores that exist for one test.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use lessor::{Acquisition, Engine, Lease};
use tempfile::TempDir;

#[path = "../../../lessor/tests/common/server.rs"]
mod server;

pub(crate) use server::Server;

pub(crate) const LESSOR: &str = env!("CARGO_BIN_EXE_lessor");

/// A store, and what it needs to exist.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) folder: TempDir,
}

/// What a process printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn free_port() -> u16 {
    server::free_port()
}

pub(crate) fn temporary() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

impl Place {
    /// Returns a file store that does not exist yet.
    pub(crate) fn file() -> Self {
        let folder = temporary();
        Self { url: format!("file:{}", folder.path().join("leases").display()), folder }
    }

    /// Returns a part of a server that no other test of this process uses. `None` without a server.
    pub(crate) fn redis() -> Option<Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = SERVER.get_or_init(Server::start).as_ref()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let url = format!("redis://127.0.0.1:{}/0?prefix=t{number}", server.port);
        Some(Self { url, folder: temporary() })
    }

    /// Returns a server that ends with this test or earlier. `None` without a server.
    pub(crate) fn own_redis() -> Option<(Self, Server)> {
        let server = Server::start()?;
        let url = format!("redis://127.0.0.1:{}/0", server.port);
        Some((Self { url, folder: temporary() }, server))
    }

    /// Returns a store of each kind.
    pub(crate) fn each() -> Vec<Self> {
        std::iter::once(Self::file()).chain(Self::redis()).collect()
    }

    pub(crate) fn is_file(&self) -> bool {
        self.url.starts_with("file:")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.folder.path().join("leases")
    }

    /// Opens the store in this process.
    pub(crate) fn engine(&self) -> Engine {
        lessor::open(&self.url).unwrap()
    }

    /// Returns the program with these words after `--store URL`.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = lessor();
        command.args(["--store", &self.url]).args(words).current_dir(self.folder.path());
        command
    }

    /// Runs the program, and returns what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        ran(&mut self.command(words))
    }

    /// Runs the program, which must succeed, and returns what it printed.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.out
    }

    /// Fills the store with a key in each state that takes no time to reach.
    pub(crate) fn fill(&self) {
        let engine = self.engine();
        acquire(&engine, "job:done").complete(&"the secret result").wait().unwrap();
        acquire(&engine, "job:failed").fail_with("no_funds", "the secret detail").wait().unwrap();
        acquire(&engine, "job:lapsed").abandon().wait().unwrap();
        acquire(&engine, "job:doubt").leave_in_doubt().wait().unwrap();
        acquire(&engine, "job:released").release().wait().unwrap();
        let live = acquire(&engine, "other:live");
        live.checkpoint(&"the secret checkpoint").wait().unwrap();
        // The lease stays live, although its holder is gone.
        std::mem::forget(live);
        engine.close(std::time::Duration::from_secs(10)).wait().unwrap();
    }
}

/// Returns the program without the environment of the test.
pub(crate) fn lessor() -> Command {
    let mut command = Command::new(LESSOR);
    command.env_remove("LESSOR_STORE");
    command
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

pub(crate) fn acquire(engine: &Engine, key: &str) -> Lease {
    match engine.acquire(key).holder("host-1").wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{key}: {other:?}"),
    }
}
