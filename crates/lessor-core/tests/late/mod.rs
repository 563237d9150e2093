//! A store whose replies come later, from another thread, like those of a server.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::{Poll, Waker};

use lessor_core::store::{CasResult, Closing, ConditionalWrite, Page, Purged, Reply, Scan, Snapshot};
use lessor_core::{Key, Pending, Store, StoreError};
use lessor_testkit::{Retrying, SwapLayer, swap};
use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// Passes every call to a thread, which performs the calls one after the other.
pub(crate) struct Late {
    inner: Arc<dyn Store>,
    jobs: Sender<Job>,
    pub(crate) loads: Arc<AtomicUsize>,
    pub(crate) swaps: Arc<AtomicUsize>,
    /// Replies are delayed while this is locked.
    pub(crate) gate: Arc<Mutex<()>>,
}

/// A retry loop over a store whose calls are performed on another thread.
pub(crate) type LateStore = Retrying<Late>;

/// Returns a store that answers later than `inner`.
pub(crate) fn late(inner: Arc<dyn Store>) -> LateStore {
    let (jobs, queue) = channel::<Job>();
    std::thread::spawn(move || queue.into_iter().for_each(|job| job()));
    let (loads, swaps, gate) = (Arc::default(), Arc::default(), Arc::default());
    Retrying::over(Late { inner, jobs, loads, swaps, gate })
}

impl Late {
    fn later<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        let slot = Arc::new(Mutex::new((None::<Result<T, StoreError>>, None::<Waker>)));
        let (inner, gate, filled) = (Arc::clone(&self.inner), Arc::clone(&self.gate), Arc::clone(&slot));
        let job: Job = Box::new(move || {
            drop(gate.lock());
            let answer = work(&*inner).wait();
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

impl SwapLayer for Late {
    fn below(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let key = key.clone();
        self.later(move |inner| inner.load(&key))
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        self.swaps.fetch_add(1, Ordering::SeqCst);
        let (key, change) = (key.clone(), change.to_owned());
        self.later(move |inner| swap(inner, &key, &change.borrow()))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.later(move |inner| inner.scan(query))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.later(move |inner| inner.purge(limit))
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        let closing = closing.clone();
        self.later(move |inner| inner.close(&closing))
    }
}
