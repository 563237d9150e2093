//! The store under test, and the control of its time.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Engine, Key, Settings, Store, Timestamp};

use crate::clock::ManualClock;

/// A new, empty store under test.
///
/// A factory (`Fn() -> Subject`) returns one for each promise. A store on a [`ManualClock`] is
/// tested at exact times and without waiting. A store on a real clock, such as that of a server, is
/// tested by waiting. The few promises that need exact times are then skipped with a message.
pub struct Subject {
    store: Arc<dyn Store>,
    clock: Option<ManualClock>,
    /// True if readers may read the earlier record between the decision on an operation and its
    /// commit.
    reads_before_commits: bool,
    /// Resources of the store, such as a temporary folder or a server.
    _keep: Option<Box<dyn Any + Send>>,
}

impl Subject {
    /// Returns a subject whose store uses `clock`. Its engines are notified when the clock is
    /// advanced.
    #[must_use]
    pub fn on_manual_clock(store: Arc<dyn Store>, clock: ManualClock) -> Self {
        let store = clock.driving(store);
        Self { store, clock: Some(clock), reads_before_commits: false, _keep: None }
    }

    /// Returns a subject whose store uses a real clock.
    #[must_use]
    pub fn on_real_clock(store: Arc<dyn Store>) -> Self {
        Self { store, clock: None, reads_before_commits: false, _keep: None }
    }

    /// Declares that readers may read the earlier record between the decision on an operation and
    /// its commit, as plain reads of a database do. The promise that such a store cannot keep is
    /// skipped with a message.
    #[must_use]
    pub fn with_reads_before_commits(mut self) -> Self {
        self.reads_before_commits = true;
        self
    }

    /// Returns whether readers may read the earlier record between the decision on an operation and
    /// its commit.
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

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the subject with its store wrapped.
    #[must_use]
    pub fn map_store(self, wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        Self { store: wrap(self.store), ..self }
    }

    /// Returns the clock if it is a manual one.
    #[must_use]
    pub fn manual_clock(&self) -> Option<&ManualClock> {
        self.clock.as_ref()
    }

    /// Returns the manual clock for a promise that needs exact times. Prints that the promise is
    /// skipped if there is none.
    #[must_use]
    pub fn exact_clock(&self, promise: &str) -> Option<&ManualClock> {
        if self.clock.is_none() {
            println!("skipped, requires a manual clock: {promise}");
        }
        self.clock.as_ref()
    }

    /// Returns the store's time.
    ///
    /// # Panics
    /// Panics if the store does not return its time.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    pub fn now(&self) -> Timestamp {
        self.store.now().wait().expect("the store returns its time")
    }

    /// Lets at least `by` pass, by advancing the clock or by waiting.
    pub fn advance(&self, by: Duration) {
        if let Some(clock) = &self.clock {
            clock.advance(by);
            return;
        }
        let until = self.now().saturating_add(by);
        sleep(by);
        while self.now() < until || self.now_of_a_load() < until {
            sleep(Duration::from_millis(1));
        }
    }

    /// The time that comes with a record may be behind the store's `now`, which may be an estimate.
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    fn now_of_a_load(&self) -> Timestamp {
        let key = Key::new("time").expect("it is a key");
        self.store.load(&key).wait().expect("the store can be read").now
    }

    /// Returns an engine over the store that purges only on request.
    ///
    /// # Panics
    /// Panics if the engine's threads cannot be started.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine_with(|_| {})
    }

    /// Returns an engine over the store with custom settings.
    ///
    /// # Panics
    /// Panics if the settings are invalid, or if the engine's threads cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test kit's verdict is a panic")]
    pub fn engine_with(&self, edit: impl FnOnce(&mut Settings)) -> Engine {
        let mut settings = Settings::default();
        settings.schedule.purge_every = Duration::from_secs(10 * 365 * 24 * 3600);
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
pub(crate) fn sleep(by: Duration) {
    std::thread::sleep(by);
}
