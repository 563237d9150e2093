//! The store under test, and how time passes for it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Engine, Key, Settings, Store, Timestamp};

use crate::clock::ManualClock;

/// A fresh, empty store under test.
///
/// A factory (`Fn() -> Subject`) makes one for each promise. A store on a [`ManualClock`] is tested at exact
/// instants and without waiting; one on a clock that runs by itself, such as a server's, is tested by really waiting,
/// and the few promises that need exact instants are skipped, saying so.
pub struct Subject {
    store: Arc<dyn Store>,
    clock: Option<ManualClock>,
    /// Readers may read the earlier record between the decision of an operation and its commit.
    reads_before_commits: bool,
    /// Whatever the store needs to live: a temporary folder, a server.
    _keep: Option<Box<dyn Any + Send>>,
}

impl Subject {
    /// Returns a subject whose store is on `clock`. Engines over it are notified of the clock's steps.
    #[must_use]
    pub fn on_manual_clock(store: Arc<dyn Store>, clock: ManualClock) -> Self {
        let store = clock.driving(store);
        Self { store, clock: Some(clock), reads_before_commits: false, _keep: None }
    }

    /// A store on a clock that runs by itself.
    #[must_use]
    pub fn on_real_clock(store: Arc<dyn Store>) -> Self {
        Self { store, clock: None, reads_before_commits: false, _keep: None }
    }

    /// Declares that readers of the store may read the earlier record between the decision of an operation and its commit, as plain
    /// reads of a database do. The promise that this cannot keep is skipped, and says so.
    #[must_use]
    pub fn with_reads_before_commits(mut self) -> Self {
        self.reads_before_commits = true;
        self
    }

    /// Returns whether readers may read the earlier record between the decision of an operation and its commit.
    #[must_use]
    pub fn has_reads_before_commits(&self) -> bool {
        self.reads_before_commits
    }

    /// Keeps `what` until the subject is dropped.
    #[must_use]
    pub fn keeping(mut self, what: impl Any + Send) -> Self {
        self._keep = Some(Box::new(what));
        self
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The same subject with its store wrapped.
    #[must_use]
    pub fn map_store(self, wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        Self { store: wrap(self.store), ..self }
    }

    /// The clock, if it is set by hand.
    #[must_use]
    pub fn manual_clock(&self) -> Option<&ManualClock> {
        self.clock.as_ref()
    }

    /// The clock for a promise that needs exact instants; else says on standard output that it is skipped.
    #[must_use]
    pub fn exact_clock(&self, promise: &str) -> Option<&ManualClock> {
        if self.clock.is_none() {
            println!("skipped, needs a clock that is set by hand: {promise}");
        }
        self.clock.as_ref()
    }

    /// The store's time.
    ///
    /// # Panics
    /// If the store cannot tell.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    pub fn now(&self) -> Timestamp {
        self.store.now().wait().expect("the store tells the time")
    }

    /// Lets at least `by` pass: by setting the clock, or by really waiting.
    pub fn advance(&self, by: Duration) {
        if let Some(clock) = &self.clock {
            clock.advance(by);
            return;
        }
        let until = self.now().saturating_add(by);
        really_wait(by);
        while self.now() < until || self.now_of_a_load() < until {
            really_wait(Duration::from_millis(1));
        }
    }

    /// What comes with a record may be earlier than what the store tells, which may be ahead.
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    fn now_of_a_load(&self) -> Timestamp {
        let key = Key::new("time").expect("it is a key");
        self.store.load(&key).wait().expect("the store can be read").now
    }

    /// An engine over the store that purges only when it is told to.
    ///
    /// # Panics
    /// If the engine's thread cannot be started.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine_with(|_| {})
    }

    /// The same with settings of the caller's.
    ///
    /// # Panics
    /// If the settings are not valid, or the engine's thread cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    pub fn engine_with(&self, edit: impl FnOnce(&mut Settings)) -> Engine {
        let mut settings = Settings::default();
        settings.purge_every = Duration::from_secs(10 * 365 * 24 * 3600);
        edit(&mut settings);
        Engine::with_settings(Arc::clone(&self.store), settings).expect("an engine over the store")
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("store", &self.store)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the store under test can only be waited for")]
pub(crate) fn really_wait(by: Duration) {
    std::thread::sleep(by);
}
