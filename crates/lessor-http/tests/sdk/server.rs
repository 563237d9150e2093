//! The server in the process of the test, over the in-memory store on a manual clock.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lessor_core::{Engine, Store, Timestamp};
use lessor_http::{Config, KeyHash, serve};
use lessor_memory::MemoryStore;
use lessor_testkit::{Layered, ManualClock};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::store::{Failing, Failures};

/// 2025-01-15T10:30:00Z.
const START: u64 = 1_736_937_000_000_000;

/// A server on a free port of the loopback interface. Dropping it ends it.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) clock: ManualClock,
    failures: Failures,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(config: Config) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_micros(START).unwrap());
        let store = clock.driving(Arc::new(MemoryStore::with_clock(Arc::new(clock.clone()))));
        Self::over(store, clock, config)
    }

    /// Starts a server on the system's clock, for clients that wait for a lease to lapse.
    pub(crate) fn start_in_real_time(config: Config) -> Self {
        Self::over(Arc::new(MemoryStore::new()), ManualClock::new(), config)
    }

    fn over(inner: Arc<dyn Store>, clock: ManualClock, config: Config) -> Self {
        let failures = Failures::default();
        let store = Layered(Failing { inner, failures: Arc::clone(&failures) });
        let engine = Engine::new(Arc::new(store)).unwrap();
        let (shutdown, ended) = oneshot::channel::<()>();
        let (ports, port) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ports.send(listener.local_addr().unwrap().port()).unwrap();
                serve(listener, &engine, &config, async { drop(ended.await) }).await.unwrap();
            });
        });
        let port = port.recv().unwrap();
        Self { port, clock, failures, shutdown: Some(shutdown), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Obeys an order of the client: `advance SECONDS`, or `fail NUMBER ERROR`.
    pub(crate) fn obey(&self, order: &[&str]) {
        match order {
            ["advance", seconds] => {
                self.clock.advance(Duration::from_secs(seconds.parse().unwrap()));
            }
            ["fail", number, error] => {
                *self.failures.lock() = (number.parse().unwrap(), (*error).to_owned());
            }
            _ => panic!("{order:?}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) && !thread::panicking() {
            panic!("the server panicked");
        }
    }
}

/// Returns the namespaces of the tests. A caller's key is `key-` and its name.
pub(crate) fn config() -> Config {
    let mut text = r#"
        [server]
        shutdown_timeout = "1s"
        [namespaces.shop]
        plan = "starter"
        quota = { ai = 3000 }
        keys = [{ sha256 = "SHOP" }, { sha256 = "OPERATOR", operator = true }, { sha256 = "DISABLED", disabled = true }]
        [namespaces.other]
        keys = [{ sha256 = "OTHER" }]
        [namespaces.doubtful]
        on_lapsed = "InDoubt"
        keys = [{ sha256 = "DOUBTFUL" }]
        [namespaces.poor]
        plan = "free"
        upgrade_url = "https://example.com/plans"
        quota = { ai = 0, make = 0 }
        keys = [{ sha256 = "POOR" }]
        [namespaces.strict]
        duplicate_status = 409
        limits = { default_ttl = "60s", max_ttl = "1h", max_result = 1000 }
        keys = [{ sha256 = "STRICT" }]
    "#
    .to_owned();
    for caller in ["shop", "operator", "disabled", "other", "doubtful", "poor", "strict"] {
        let hash = KeyHash::of(&format!("key-{caller}")).to_string();
        text = text.replace(&format!("\"{}\"", caller.to_uppercase()), &format!("{hash:?}"));
    }
    Config::from_toml(&text).unwrap()
}
