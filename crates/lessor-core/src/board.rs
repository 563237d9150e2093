//! Where those who wait for a key look: one post per key that is waited for.
//!
//! Whoever writes a record posts it if anybody waits; whoever waits starts a reader that posts what it reads. This file
//! is all of the hand-made synchronisation between them, and knows neither stores nor leases, so that the package `models`
//! can check every interleaving of it.

use std::collections::HashMap;
use std::hash::Hash;

use crate::sync::{Arc, AtomicUsize, Event, Mutex, Ordering, fence};

/// What is seen of a key.
pub(crate) trait Sight {
    /// What it means for those who wait.
    fn meaning(&self) -> Meaning;

    /// Whether this was seen before `other`.
    fn is_older_than(&self, other: &Self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Somebody is at it: go on waiting.
    Busy,
    /// There is something to tell to all.
    Settled,
    /// Nobody is at it: one after the other may try.
    Free,
}

/// All posts. `R` is what a post's reader is held by: dropping it ends the reader.
pub(crate) struct Board<K, S, R> {
    /// How many keys are waited for: lets a writer see at a glance that nobody waits.
    watched: AtomicUsize,
    posts: Mutex<HashMap<K, Entry<S, R>>>,
}

struct Entry<S, R> {
    post: Arc<Post<S>>,
    waiters: usize,
    _reader: R,
}

/// What is known of one key that is waited for.
pub(crate) struct Post<S> {
    scene: Mutex<Scene<S>>,
    /// Those who wait for an end, and those who wait for their turn.
    observers: Event,
    contenders: Event,
    /// Tells the reader to look now.
    pub(crate) kick: Event,
}

struct Scene<S> {
    /// The latest that was seen; `None` while it is not known.
    sight: Option<S>,
    /// Somebody is trying for the free key.
    baton: bool,
}

/// The right of one waiter to try for a free key; dropped when it has tried, whatever came of it.
pub(crate) struct Baton<S>(Arc<Post<S>>);

impl<K, S, R> Default for Board<K, S, R> {
    fn default() -> Self {
        Self { watched: AtomicUsize::new(0), posts: Mutex::new(HashMap::new()) }
    }
}

impl<K: Hash + Eq + Clone, S: Sight, R> Board<K, S, R> {
    /// Posts what has just been written under `key`. Costs one look when nobody waits.
    #[inline]
    pub(crate) fn written(&self, key: &K, sight: impl FnOnce() -> S) {
        // The write comes before this look, and a waiter registers before its reader's first look at the store: with
        // the two fences, either this sees the waiter or the reader sees the write.
        fence(Ordering::SeqCst);
        if self.watched.load(Ordering::Relaxed) > 0
            && let Some(post) = self.post(key)
        {
            post.put(sight());
        }
    }

    /// Takes a place among those who wait for `key`; the first one starts the reader.
    pub(crate) fn join(&self, key: &K, start: impl FnOnce(&Arc<Post<S>>) -> R) -> Arc<Post<S>> {
        let mut posts = self.posts.lock();
        let entry = posts.entry(key.clone()).or_insert_with(|| {
            self.watched.fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let post = Arc::new(Post::default());
            let reader = start(&post);
            Entry { post, waiters: 0, _reader: reader }
        });
        entry.waiters += 1;
        Arc::clone(&entry.post)
    }

    /// Gives the place up; the last one to leave ends the reader.
    pub(crate) fn leave(&self, key: &K) {
        let mut posts = self.posts.lock();
        let Some(entry) = posts.get_mut(key) else { return };
        entry.waiters -= 1;
        if entry.waiters == 0 {
            let ended = posts.remove(key);
            self.watched.fetch_sub(1, Ordering::Relaxed);
            drop(posts);
            // Outside of the lock: what the reader holds may be the last handle of something.
            drop(ended);
        }
    }

    /// The post of `key`, if anybody waits for it.
    pub(crate) fn post(&self, key: &K) -> Option<Arc<Post<S>>> {
        self.posts.lock().get(key).map(|entry| Arc::clone(&entry.post))
    }

    /// All posts there are.
    pub(crate) fn all(&self) -> Vec<Arc<Post<S>>> {
        self.posts.lock().values().map(|entry| Arc::clone(&entry.post)).collect()
    }

    pub(crate) fn watched(&self) -> usize {
        self.watched.load(Ordering::Relaxed)
    }
}

impl<S> Default for Post<S> {
    fn default() -> Self {
        let scene = Scene { sight: None, baton: false };
        Self {
            scene: Mutex::new(scene),
            observers: Event::new(),
            contenders: Event::new(),
            kick: Event::new(),
        }
    }
}

impl<S: Sight> Post<S> {
    /// Shows `sight` to those who wait, unless something newer is known.
    pub(crate) fn put(&self, sight: S) {
        let mut scene = self.scene.lock();
        if scene.sight.as_ref().is_some_and(|known| sight.is_older_than(known)) {
            return;
        }
        let meaning = sight.meaning();
        scene.sight = Some(sight);
        drop(scene);
        match meaning {
            Meaning::Busy => {}
            Meaning::Settled => {
                self.observers.notify(usize::MAX);
                self.contenders.notify(usize::MAX);
            }
            Meaning::Free => {
                self.observers.notify(usize::MAX);
                self.contenders.notify(1);
            }
        }
    }

    /// Looks at the latest sight.
    pub(crate) fn look<T>(&self, look: impl FnOnce(Option<&S>) -> T) -> T {
        look(self.scene.lock().sight.as_ref())
    }

    /// Until the key is settled or free: what `tell` makes of that.
    pub(crate) async fn ended<T>(&self, tell: impl Fn(&S) -> T) -> T {
        let ended = |scene: &mut Scene<S>| match &scene.sight {
            Some(sight) if sight.meaning() != Meaning::Busy => Some(tell(sight)),
            _ => None,
        };
        self.until(&self.observers, ended).await
    }

    /// Until `told` has an answer for a settled key, or it is this waiter's turn to try.
    pub(crate) async fn turn<T>(this: &Arc<Self>, told: impl Fn(&S) -> Option<T>) -> Result<T, Baton<S>> {
        let turn = |scene: &mut Scene<S>| {
            let sight = scene.sight.as_ref()?;
            let answer = match sight.meaning() {
                Meaning::Busy => return None,
                Meaning::Settled => told(sight),
                Meaning::Free => None,
            };
            match answer {
                Some(answer) => Some(Ok(answer)),
                None if scene.baton => None,
                None => {
                    scene.baton = true;
                    Some(Err(Baton(Arc::clone(this))))
                }
            }
        };
        this.until(&this.contenders, turn).await
    }

    async fn until<T>(&self, event: &Event, ready: impl Fn(&mut Scene<S>) -> Option<T>) -> T {
        let check = || ready(&mut self.scene.lock());
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

/// What the holder of the baton did changed the key, so nothing is known of it until the reader has looked again; what it
/// posts then wakes the next.
impl<S> Drop for Baton<S> {
    fn drop(&mut self) {
        let mut scene = self.0.scene.lock();
        scene.baton = false;
        scene.sight = None;
        drop(scene);
        self.0.kick.notify(usize::MAX);
    }
}
