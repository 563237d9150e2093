//! A server whose wall clock is set by the test.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lessor_core::store::{CasResult, ConditionalWrite, Page, Purged, Reply, Scan, Snapshot};
use lessor_core::{Clock, Key, Pending, Store, Timestamp};
use lessor_redis::RedisStore;
use lessor_testkit::{ManualClock, Retrying, Subject, SwapLayer, swap};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Returns the library that is preloaded into servers. Reports and returns `None` if it cannot be
/// built here.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&path).arg(source).status();
        let is_built = built.is_ok_and(|status| status.success());
        assert!(is_built || std::env::var_os("CI").is_none(), "the library with the clock cannot be built");
        if !is_built {
            eprintln!("SKIPPED: THERE IS NO C COMPILER, NOTHING IS TESTED WITH A CLOCK THAT MAKES STEPS");
        }
        is_built.then_some(path)
    };
    LIBRARY.get_or_init(build).as_deref()
}

/// The file from which a server's clock is read.
#[derive(Debug)]
pub(crate) struct ClockFile(File);

impl ClockFile {
    pub(crate) fn open(path: &Path) -> Self {
        Self(File::options().read(true).write(true).open(path).unwrap())
    }

    /// Returns the time at which the clock stands still.
    pub(crate) fn now(&self) -> Timestamp {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 8).unwrap();
        Timestamp::from_micros(u64::from_le_bytes(bytes)).unwrap()
    }

    pub(crate) fn stand_at(&self, at: Timestamp) {
        self.0.write_all_at(&at.as_micros().to_le_bytes(), 8).unwrap();
    }

    /// Makes the clock run with this offset.
    pub(crate) fn set_off(&self, micros: i64) {
        self.0.write_all_at(&micros.to_le_bytes(), 0).unwrap();
        self.0.write_all_at(&[0; 8], 8).unwrap();
    }
}

pub(crate) struct ClockedServer {
    shell: Child,
    folder: TempDir,
    pub(crate) port: u16,
    pub(crate) clock: ClockFile,
}

impl ClockedServer {
    /// Starts a server whose clock is right until it is set.
    pub(crate) fn start() -> Option<Self> {
        let library = library()?;
        let folder = tempfile::Builder::new().prefix("lessor-redis-").tempdir().unwrap();
        let path = folder.path().join("clock");
        std::fs::write(&path, [0; 16]).unwrap();
        for _ in 0..20 {
            let port = super::free_port();
            let mut shell = run(folder.path(), port, library, &path);
            for _ in 0..2_000 {
                if shell.try_wait().unwrap().is_some() {
                    break;
                }
                if super::send_command(port, &["PING"]).is_ok_and(|reply| reply == "+PONG") {
                    return Some(Self { shell, folder, port, clock: ClockFile::open(&path) });
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
        panic!("no server could be started");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Sends a command. Returns the first line of the reply.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        super::send_command(self.port, words).unwrap()
    }

    pub(crate) fn clock_path(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}

impl Drop for ClockedServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Runs the server under a shell that ends it when this process ends, however that happens. The
/// shell ends with the server.
fn run(folder: &Path, port: u16, library: &Path, clock: &Path) -> Child {
    const WATCH: &str = r#"log="$1"; server="$2"; LD_PRELOAD="$3"; export LD_PRELOAD; shift 3
        "$server" "$@" >>"$log" 2>&1 </dev/null & unset LD_PRELOAD; server=$!; echo; read -r _; kill -9 $server; wait $server"#;
    let mut shell = Command::new("sh")
        .args(["-c", WATCH, "sh"])
        .arg(folder.join("log"))
        .arg(super::program())
        .arg(library)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder)
        .env("LESSOR_CLOCK", clock)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    shell
}

/// The source of the server's clock.
#[derive(Clone, Debug)]
pub(crate) enum ClockControl {
    /// A clock of this process. The server's clock is set to it before each call.
    Manual(ManualClock, Arc<Mutex<ClockFile>>),
    /// The clock is set by the writer of the file.
    File(Arc<ClockFile>),
}

impl ClockControl {
    fn now(&self) -> Timestamp {
        match self {
            Self::Manual(clock, _) => clock.now(),
            Self::File(file) => file.now(),
        }
    }

    fn bring(&self) {
        if let Self::Manual(clock, file) = self {
            let file = file.lock();
            let now = clock.now();
            if now > file.now() {
                file.stand_at(now);
            }
        }
    }
}

/// The Redis store, with its server's exact clock in place of an estimate: the clock stands still
/// between steps.
pub(crate) struct ExactClockStore {
    store: Arc<dyn Store>,
    hand: ClockControl,
}

impl ExactClockStore {
    pub(crate) fn over(store: Arc<RedisStore>, hand: ClockControl) -> Arc<Retrying<Self>> {
        Arc::new(Retrying::over(Self { store, hand }))
    }
}

impl SwapLayer for ExactClockStore {
    fn below(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn now(&self) -> Reply<Timestamp> {
        Pending::ready(Ok(self.hand.now()))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.hand.bring();
        self.store.load(key)
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        self.hand.bring();
        let hand = self.hand.clone();
        swap(&*self.store, key, change).map(move |swap| {
            Ok(match swap? {
                CasResult::Conflict(seen) => CasResult::Conflict(Snapshot::new(seen.record, hand.now())),
                other => other,
            })
        })
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.hand.bring();
        self.store.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.hand.bring();
        self.store.purge(limit)
    }
}

/// Makes empty stores. The time of each is long after that of the one before, because the server's
/// clock does not run backwards.
pub(crate) struct Stores {
    server: ClockedServer,
    file: Arc<Mutex<ClockFile>>,
    next: AtomicU64,
}

impl Stores {
    pub(crate) fn start() -> Option<Self> {
        if !super::is_available() {
            return None;
        }
        let server = ClockedServer::start()?;
        let file = Arc::new(Mutex::new(ClockFile::open(&server.clock_path())));
        let next = AtomicU64::new(ManualClock::new().now().as_micros());
        Some(Self { server, file, next })
    }

    pub(crate) fn fresh(&self) -> Subject {
        const YEAR: Duration = Duration::from_hours(365 * 24);
        let year = u64::try_from(YEAR.as_micros()).unwrap() / 50;
        let start = Timestamp::from_micros(self.next.fetch_add(year, Ordering::Relaxed)).unwrap();
        self.file.lock().stand_at(start);
        let clock = ManualClock::starting_at(start);
        let builder = RedisStore::builder().settings(super::settings(&super::prefix()));
        let store = Arc::new(builder.open(&self.server.url()).unwrap());
        let hand = ClockControl::Manual(clock.clone(), Arc::clone(&self.file));
        Subject::on_manual_clock(ExactClockStore::over(store, hand), clock)
    }
}
