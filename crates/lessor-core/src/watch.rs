//! Waiting for a key: many waiters, one reader.
//!
//! The first waiter on a key starts a reader on the janitor's thread, the last one to leave ends it. What the reader
//! sees, and what this engine itself writes, is posted to all waiters, so they need not read the store
//! themselves. When the key becomes free, one waiter after the other gets the baton to try for it.

use std::fmt;
use std::sync::Arc;

use async_executor::Task;
use futures_lite::future;

use crate::board::{self, Board, Meaning, Post};
use crate::engine::Shared;
use crate::error::Error;
use crate::key::Key;
use crate::record::{Record, Stage};
use crate::store::{Seen, StoreError};
use crate::time::Timestamp;
use crate::view::View;

/// A reader gives up on a failing store after so many tries in a row, and tells its waiters.
const TRIES: u32 = 3;

#[derive(Default)]
pub(crate) struct Watches(Board<Key, Sight, Task<()>>);

pub(crate) type Baton = board::Baton<Sight>;

/// What a reader saw, or a writer wrote.
pub(crate) struct Sight(Result<Seen, StoreError>);

impl board::Sight for Sight {
    fn meaning(&self) -> Meaning {
        match &self.0 {
            Err(_) => Meaning::Settled,
            Ok(seen) => match View::of_seen(seen) {
                Some(view) if view.is_finished() => Meaning::Settled,
                Some(view) if view.ttl_left().is_some() => Meaning::Busy,
                _ => Meaning::Free,
            },
        }
    }

    fn is_older_than(&self, other: &Self) -> bool {
        let stamp = |record: &Record| (record.token(), record.version());
        match (&self.0, &other.0) {
            (Ok(Seen { record: Some(this), .. }), Ok(Seen { record: Some(other), .. })) => {
                stamp(this) < stamp(other)
            }
            _ => false,
        }
    }
}

/// Reads the store whenever something may have changed: when the lease runs out, when it is told to, and every
/// now and then. How long the lease has left is told by the store's clock itself, which its `now` may be far ahead of: so
/// that is a span, counted from now on.
async fn read(post: Arc<Post<Sight>>, shared: Arc<Shared>, key: Key) {
    let poll_every = shared.settings.poll_every;
    let mut failures = 0;
    loop {
        let kick = post.kick.listen();
        let pause = match shared.store.load(&key).await {
            Ok(seen) => {
                failures = 0;
                let left = seen.record.as_ref().map(|record| record.expires_at().saturating_since(seen.now));
                post.put(Sight(Ok(seen)));
                left.filter(|left| !left.is_zero()).map_or(poll_every, |left| left.min(poll_every))
            }
            Err(error) => {
                failures += 1;
                if failures >= TRIES {
                    post.put(Sight(Err(error)));
                }
                poll_every
            }
        };
        match shared.store.now().await {
            Ok(now) => future::or(kick, shared.janitor.sleep_until(now.saturating_add(pause))).await,
            Err(_) => kick.await,
        }
    }
}

impl Watches {
    /// Tells waiters what this engine has just written.
    #[inline]
    pub(crate) fn written(&self, key: &Key, record: &Record, now: Timestamp) {
        let now = record.body().not_before(now);
        if record.stage() == Stage::InProgress && record.body().is_live(now) {
            // Who waits for the key learns nothing from a new or longer lease.
            return;
        }
        self.0.written(key, || Sight(Ok(Seen { record: Some(record.clone()), now })));
    }

    /// Whether anybody waits for anything.
    #[inline]
    pub(crate) fn are_any(&self) -> bool {
        self.0.watched() > 0
    }

    /// Has the reader of `key`, if there is one, look at the store now.
    pub(crate) fn kick(&self, key: &Key) {
        if let Some(post) = self.0.post(key) {
            post.kick.notify(usize::MAX);
        }
    }

    /// Has all readers look at the store now.
    pub(crate) fn kick_all(&self) {
        for post in self.0.all() {
            post.kick.notify(usize::MAX);
        }
    }

    pub(crate) fn wait(shared: &Arc<Shared>, key: &Key) -> Waiter {
        let start = |post: &Arc<Post<Sight>>| {
            shared.janitor.spawn(read(Arc::clone(post), Arc::clone(shared), key.clone()))
        };
        let post = shared.watches.0.join(key, start);
        Waiter { shared: Arc::clone(shared), key: key.clone(), post }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("watched", &self.0.watched()).finish()
    }
}

/// One who waits for a key. Dropping it leaves.
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    key: Key,
    post: Arc<Post<Sight>>,
}

/// What a contender's wait ends with.
pub(crate) enum Turn {
    /// There is an outcome.
    Finished(View),
    /// The key is free, and it is this waiter's turn to acquire it.
    Yours(Baton),
}

impl Waiter {
    /// Until nobody is working on the key: finished, lapsed, released or absent.
    pub(crate) async fn ended(&self) -> Result<Option<View>, Error> {
        let tell = |sight: &Sight| match &sight.0 {
            Ok(seen) => Ok(View::of_seen(seen)),
            Err(error) => Err(error.clone().into()),
        };
        self.post.ended(tell).await
    }

    /// Until there is an outcome, or it is this waiter's turn to try for the key. One who `retries` takes a failure for a key
    /// that may be free: whether it is, is for the machine to judge.
    pub(crate) async fn turn(&self, retries: bool) -> Result<Turn, Error> {
        let told = |sight: &Sight| match &sight.0 {
            Err(error) => Some(Err(error.clone().into())),
            Ok(seen) => {
                let view = View::of_seen(seen)?;
                (!retries || view.error_code().is_none()).then_some(Ok(Turn::Finished(view)))
            }
        };
        Post::turn(&self.post, told).await.unwrap_or_else(|baton| Ok(Turn::Yours(baton)))
    }

    /// The key as it was last seen.
    pub(crate) fn last_seen(&self) -> Option<View> {
        self.post.look(|sight| match sight {
            Some(Sight(Ok(seen))) => View::of_seen(seen),
            _ => None,
        })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.watches.0.leave(&self.key);
    }
}
