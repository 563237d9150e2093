//! A store whose replies come later, from another thread, as a server's do.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::{Poll, Waker};

use lessor_core::store::{Change, Closing, Hints, Page, Purged, Reply, Scan, Seen, Swap};
use lessor_core::{Durability, Key, Pending, Store, StoreError, Timestamp};
use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// Hands every call to a thread of its own, which carries them out one after the other.
pub(crate) struct LateStore<S> {
    inner: Arc<S>,
    jobs: Sender<Job>,
    pub(crate) loads: Arc<AtomicUsize>,
    pub(crate) swaps: Arc<AtomicUsize>,
    /// Replies are held back as long as this is locked.
    pub(crate) gate: Arc<Mutex<()>>,
}

impl<S: Store> LateStore<S> {
    pub(crate) fn new(inner: S) -> Self {
        let (jobs, queue) = channel::<Job>();
        std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
        Self {
            inner: Arc::new(inner),
            jobs,
            loads: Arc::default(),
            swaps: Arc::default(),
            gate: Arc::default(),
        }
    }

    fn later<T: Send + 'static>(&self, work: impl FnOnce(&S) -> Reply<T> + Send + 'static) -> Reply<T> {
        let slot = Arc::new(Mutex::new((None::<Result<T, StoreError>>, None::<Waker>)));
        let (inner, gate, filled) = (Arc::clone(&self.inner), Arc::clone(&self.gate), Arc::clone(&slot));
        let job: Job = Box::new(move || {
            drop(gate.lock());
            let answer = work(&inner).wait();
            let mut slot = filled.lock();
            slot.0 = Some(answer);
            if let Some(waker) = slot.1.take() {
                waker.wake();
            }
        });
        assert!(self.jobs.send(job).is_ok(), "the thread lives as long as the store");
        Pending::later(answer(slot))
    }
}

fn answer<T>(slot: Arc<Mutex<(Option<T>, Option<Waker>)>>) -> impl Future<Output = T> {
    poll_fn(move |context| {
        let mut slot = slot.lock();
        match slot.0.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
}

impl<S: Store> Store for LateStore<S> {
    fn now(&self) -> Reply<Timestamp> {
        self.inner.now()
    }

    fn load(&self, key: &Key) -> Reply<Seen> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let key = key.clone();
        self.later(move |inner| inner.load(&key))
    }

    fn swap(&self, key: &Key, change: &Change<'_>) -> Reply<Swap> {
        self.swaps.fetch_add(1, Ordering::SeqCst);
        let (key, change) = (key.clone(), change.to_owned());
        self.later(move |inner| inner.swap(&key, &change.borrow()))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.later(move |inner| inner.scan(query))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.later(move |inner| inner.purge(limit))
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        let closing = closing.clone();
        self.later(move |inner| inner.close(&closing))
    }

    fn attach(&self, hints: Hints) {
        self.inner.attach(hints);
    }
}

impl<S> fmt::Debug for LateStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LateStore")
    }
}
