//! Waiting for a key: many waiters, one reader.
//!
//! The first waiter on a key starts a reader on the janitor's thread, the last one to leave ends it. What the reader
//! sees, and what this engine itself writes, is published to all waiters, so they need not read the store
//! themselves. When the key becomes free, one waiter after the other gets the baton to try for it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use async_executor::Task;
use event_listener::Event;
use futures_lite::future;
use parking_lot::Mutex;

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
pub(crate) struct Watches {
    /// How many keys are watched: lets a writer see at a glance that nobody waits.
    watched: AtomicUsize,
    keys: Mutex<HashMap<Key, Entry>>,
}

struct Entry {
    watch: Arc<Watch>,
    waiters: usize,
    /// Dropping it ends the reader.
    _reader: Task<()>,
}

#[derive(Default)]
struct Watch {
    scene: Mutex<Scene>,
    /// Tells waiters that the scene changed.
    observers: Event,
    contenders: Event,
    /// Tells the reader to look now.
    kick: Event,
}

#[derive(Default)]
struct Scene {
    /// The latest that was seen; `None` while it is not known.
    sight: Option<Result<Seen, StoreError>>,
    /// Somebody is trying for the free key.
    baton: bool,
}

/// How a key looks to those who wait for it.
enum Look {
    Unknown,
    Busy,
    Finished(View),
    Free(Option<View>),
    Trouble(StoreError),
}

impl Scene {
    fn look(&self) -> Look {
        match &self.sight {
            None => Look::Unknown,
            Some(Err(error)) => Look::Trouble(error.clone()),
            Some(Ok(seen)) => match View::of_seen(seen) {
                Some(view) if view.is_finished() => Look::Finished(view),
                Some(view) if view.ttl_left().is_some() => Look::Busy,
                view => Look::Free(view),
            },
        }
    }

    /// Takes in what was seen, unless something newer is known.
    fn take_in(&mut self, seen: Seen) {
        let stamp = |record: &Record| (record.token(), record.version());
        if let (Some(Ok(Seen { record: Some(known), .. })), Some(record)) = (&self.sight, &seen.record)
            && stamp(known) > stamp(record)
        {
            return;
        }
        self.sight = Some(Ok(seen));
    }
}

impl Watch {
    fn publish(&self, sight: Result<Seen, StoreError>) {
        let mut scene = self.scene.lock();
        match sight {
            Ok(seen) => scene.take_in(seen),
            error => scene.sight = Some(error),
        }
        let look = scene.look();
        drop(scene);
        match look {
            Look::Unknown | Look::Busy => {}
            Look::Finished(_) | Look::Trouble(_) => {
                self.observers.notify(usize::MAX);
                self.contenders.notify(usize::MAX);
            }
            Look::Free(_) => {
                self.observers.notify(usize::MAX);
                self.contenders.notify(1);
            }
        }
    }

    /// Reads the store whenever something may have changed: when the lease runs out, when it is told to, and every
    /// now and then.
    async fn read(&self, shared: &Shared, key: &Key) {
        let mut failures = 0;
        loop {
            let kick = self.kick.listen();
            let poll_every = shared.settings.poll_every;
            let wake_at = match shared.store.load(key).await {
                Ok(seen) => {
                    failures = 0;
                    let poll_at = seen.now.saturating_add(poll_every);
                    let ends_at = seen.record.as_ref().map(Record::expires_at).filter(|at| *at > seen.now);
                    self.publish(Ok(seen));
                    Some(ends_at.map_or(poll_at, |at| at.min(poll_at)))
                }
                Err(error) => {
                    failures += 1;
                    if failures >= TRIES {
                        self.publish(Err(error));
                    }
                    let now = shared.store.now().await;
                    now.ok().map(|now: Timestamp| now.saturating_add(poll_every))
                }
            };
            match wake_at {
                Some(at) => future::or(kick, shared.janitor.sleep_until(at)).await,
                None => kick.await,
            }
        }
    }
}

impl Watches {
    /// Tells waiters what this engine has just written. Costs one look when there are none.
    #[inline]
    pub(crate) fn written(&self, key: &Key, record: &Record, now: Timestamp) {
        if record.stage() == Stage::InProgress && record.body().is_live(now) {
            // Who waits for the key learns nothing from a new or longer lease.
            return;
        }
        let now = record.body().not_before(now);
        // The write comes before this look, and a waiter registers before its reader's first look at the store: with
        // the two fences, either this sees the waiter or the reader sees the write.
        fence(Ordering::SeqCst);
        if self.watched.load(Ordering::Relaxed) > 0 {
            self.with(key, |watch| watch.publish(Ok(Seen { record: Some(record.clone()), now })));
        }
    }

    /// Has the reader of `key`, if there is one, look at the store now.
    pub(crate) fn kick(&self, key: &Key) {
        self.with(key, |watch| {
            watch.kick.notify(usize::MAX);
        });
    }

    /// Has all readers look at the store now.
    pub(crate) fn kick_all(&self) {
        let watches: Vec<_> = self.keys.lock().values().map(|entry| Arc::clone(&entry.watch)).collect();
        for watch in watches {
            watch.kick.notify(usize::MAX);
        }
    }

    fn with(&self, key: &Key, tell: impl FnOnce(&Watch)) {
        let watch = self.keys.lock().get(key).map(|entry| Arc::clone(&entry.watch));
        if let Some(watch) = watch {
            tell(&watch);
        }
    }

    pub(crate) fn wait(shared: &Arc<Shared>, key: &Key) -> Waiter {
        let watches = &shared.watches;
        let mut keys = watches.keys.lock();
        let entry = keys.entry(key.clone()).or_insert_with(|| {
            watches.watched.fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let watch = Arc::new(Watch::default());
            let (theirs, engine, key) = (Arc::clone(&watch), Arc::clone(shared), key.clone());
            let reader = shared.janitor.spawn(async move { theirs.read(&engine, &key).await });
            Entry { watch, waiters: 0, _reader: reader }
        });
        entry.waiters += 1;
        let watch = Arc::clone(&entry.watch);
        drop(keys);
        Waiter { shared: Arc::clone(shared), key: key.clone(), watch }
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("watched", &self.watched).finish_non_exhaustive()
    }
}

/// One who waits for a key. Dropping it leaves.
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    key: Key,
    watch: Arc<Watch>,
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
        self.until(&self.watch.observers, |scene| match scene.look() {
            Look::Unknown | Look::Busy => None,
            Look::Finished(view) => Some(Ok(Some(view))),
            Look::Free(view) => Some(Ok(view)),
            Look::Trouble(error) => Some(Err(error.into())),
        })
        .await
    }

    /// Until there is an outcome, or it is this waiter's turn to try for the key. One who `retries` takes a failure for a key
    /// that may be free: whether it is, is for the machine to judge.
    pub(crate) async fn turn(&self, retries: bool) -> Result<Turn, Error> {
        self.until(&self.watch.contenders, move |scene| match scene.look() {
            Look::Trouble(error) => Some(Err(error.into())),
            Look::Finished(view) if !retries || view.error_code().is_none() => Some(Ok(Turn::Finished(view))),
            Look::Finished(_) | Look::Free(_) if !scene.baton => {
                scene.baton = true;
                Some(Ok(Turn::Yours(Baton(Arc::clone(&self.watch)))))
            }
            Look::Finished(_) | Look::Free(_) | Look::Unknown | Look::Busy => None,
        })
        .await
    }

    /// The key as it was last seen.
    pub(crate) fn last_seen(&self) -> Option<View> {
        match &self.watch.scene.lock().sight {
            Some(Ok(seen)) => View::of_seen(seen),
            _ => None,
        }
    }

    fn until<'a, T>(
        &'a self,
        event: &'a Event,
        mut ready: impl FnMut(&mut Scene) -> Option<T> + 'a,
    ) -> impl Future<Output = T> + 'a {
        let mut check = move || ready(&mut self.watch.scene.lock());
        async move {
            loop {
                if let Some(done) = check() {
                    return done;
                }
                let changed = event.listen();
                if let Some(done) = check() {
                    return done;
                }
                changed.await;
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut keys = self.shared.watches.keys.lock();
        let Some(entry) = keys.get_mut(&self.key) else { return };
        entry.waiters -= 1;
        if entry.waiters == 0 {
            let ended = keys.remove(&self.key);
            self.shared.watches.watched.fetch_sub(1, Ordering::Relaxed);
            drop(keys);
            // Ends the reader, outside of the lock: what it holds may be the last handle of something.
            drop(ended);
        }
    }
}

/// The right of one waiter to try for a free key; dropped when it has tried, whatever came of it.
pub(crate) struct Baton(Arc<Watch>);

impl Drop for Baton {
    fn drop(&mut self) {
        let mut scene = self.0.scene.lock();
        scene.baton = false;
        scene.sight = None;
        drop(scene);
        self.0.kick.notify(usize::MAX);
    }
}
