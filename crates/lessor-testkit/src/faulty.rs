//! A store that fails as stores do: it is away, loses replies, answers late and in another order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use event_listener::Event;
use lessor_core::store::{
    CasResult, ConditionalWrite, Execution, Operation, Page, Purged, Reply, Scan, Snapshot,
};
use lessor_core::{Key, Pending, Store, StoreError};
use parking_lot::Mutex;

use crate::layer::{Layer, Layered};
use crate::retrying::{Retrying, SwapLayer, swap};

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call gets through.
    None,
    /// The store is away: nothing happened.
    Unavailable,
    /// The request was lost, and the caller cannot tell: nothing happened. A read is `Unavailable`.
    LostRequest,
    /// The reply was lost, and the caller cannot tell: it has happened. A read is `Unavailable`.
    LostReply,
    /// The caller gives up on the request, which lands later, when it is [released](Faults::release_first). A read is
    /// `Unavailable`.
    LateRequest,
    /// The request is under way until it is released.
    HeldRequest,
    /// The call has happened, its reply is under way until it is released.
    HeldReply,
}

/// How many of a thousand calls fail, in a store that fails at random.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of the faults")]
pub struct Chances {
    pub unavailable: u16,
    pub lost_request: u16,
    pub lost_reply: u16,
    pub held_request: u16,
    pub held_reply: u16,
}

/// The level at which calls of a store fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The store's own operations fail, and the engine gets the error.
    Operations,
    /// The reads and the swaps of a retry loop fail, and the loop finds out what happened.
    Swaps,
}

/// The handle on the faults of a store. Clones share them.
///
/// Without any orders the store works. Reads of the clock always do.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Orders>>);

#[derive(Default)]
struct Orders {
    script: VecDeque<Fault>,
    /// The state of the random numbers, with the chances.
    random: Option<(u64, Chances)>,
    held: VecDeque<Job>,
    injected: usize,
}

type Job = Box<dyn FnOnce() + Send>;

impl Faults {
    /// Returns a store whose calls of `inner` meet faults at this level, and the handle on them.
    #[must_use]
    pub fn over(inner: Arc<dyn Store>, level: Level) -> (Arc<dyn Store>, Self) {
        let faults = Self::default();
        let theirs = faults.clone();
        let store: Arc<dyn Store> = match level {
            Level::Operations => Arc::new(Layered(FaultyOperations { inner, faults: theirs })),
            Level::Swaps => Arc::new(Retrying::over(FaultySwaps { inner, faults: theirs })),
        };
        (store, faults)
    }

    /// The next calls meet these faults, in this order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().script.extend(faults);
    }

    /// From now on calls fail at random; the same seed gives the same faults.
    pub fn at_random(&self, seed: u64, chances: Chances) {
        self.0.lock().random = Some((seed, chances));
    }

    /// From now on calls get through. What is held stays so.
    pub fn quiet(&self) {
        let mut orders = self.0.lock();
        orders.random = None;
        orders.script.clear();
    }

    /// How many faults there were so far.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.0.lock().injected
    }

    /// How many requests and replies are under way.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.lock().held.len()
    }

    /// Lets what is under way for longest arrive; says whether there was anything.
    pub fn release_first(&self) -> bool {
        let job = self.0.lock().held.pop_front();
        job.map(|job| job()).is_some()
    }

    /// Lets what was sent last arrive first; says whether there was anything.
    pub fn release_last(&self) -> bool {
        let job = self.0.lock().held.pop_back();
        job.map(|job| job()).is_some()
    }

    /// From now on a thread lets what is under way arrive, a little late and in an order that `seed` stands for. It ends
    /// with the store and the last handle.
    pub fn deliver_in_any_order(&self, seed: u64) {
        let orders = Arc::downgrade(&self.0);
        let mut random = seed;
        thread::spawn(move || {
            while let Some(orders) = orders.upgrade() {
                let job = {
                    let held = &mut orders.lock().held;
                    let most = held.len().max(1);
                    held.remove(usize::try_from(splitmix(&mut random)).unwrap_or(0) % most)
                };
                drop(orders);
                match job {
                    Some(job) => job(),
                    None => crate::subject::really_wait(Duration::from_micros(50)),
                }
            }
        });
    }

    fn draw(&self) -> Fault {
        let mut orders = self.0.lock();
        let fault = orders.script.pop_front().unwrap_or_else(|| match &mut orders.random {
            None => Fault::None,
            Some((state, chances)) => {
                let mut drawn = splitmix(state) % 1000;
                let chances = [
                    (chances.unavailable, Fault::Unavailable),
                    (chances.lost_request, Fault::LostRequest),
                    (chances.lost_reply, Fault::LostReply),
                    (chances.held_request, Fault::HeldRequest),
                    (chances.held_reply, Fault::HeldReply),
                ];
                let meets = chances.into_iter().find(|(chance, _)| {
                    let meets = drawn < u64::from(*chance);
                    drawn = drawn.saturating_sub(u64::from(*chance));
                    meets
                });
                meets.map_or(Fault::None, |(_, fault)| fault)
            }
        });
        orders.injected += usize::from(fault != Fault::None);
        fault
    }

    fn hold(&self, job: impl FnOnce() + Send + 'static) {
        self.0.lock().held.push_back(Box::new(job));
    }

    /// `is_write` says whether the call may be in doubt.
    fn call<T: Send + 'static>(
        &self,
        is_write: bool,
        call: impl FnOnce() -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        match self.draw() {
            Fault::None => call(),
            Fault::Unavailable => Pending::ready(Err(unavailable())),
            Fault::LostRequest if is_write => Pending::ready(Err(indeterminate())),
            Fault::LostReply if is_write => {
                let _lost = call().wait();
                Pending::ready(Err(indeterminate()))
            }
            Fault::LateRequest if is_write => {
                self.hold(move || drop(call().wait()));
                Pending::ready(Err(indeterminate()))
            }
            Fault::LostRequest | Fault::LostReply | Fault::LateRequest => Pending::ready(Err(unavailable())),
            Fault::HeldRequest => {
                let slot = Slot::new();
                let theirs = Arc::clone(&slot);
                self.hold(move || theirs.put(call().wait()));
                Pending::later(async move { slot.take().await })
            }
            Fault::HeldReply => {
                let slot = Slot::new();
                let theirs = Arc::clone(&slot);
                let answer = call().wait();
                self.hold(move || theirs.put(answer));
                Pending::later(async move { slot.take().await })
            }
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::unavailable("injected")
}

fn indeterminate() -> StoreError {
    StoreError::indeterminate("injected")
}

pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where a reply arrives.
struct Slot<T> {
    answer: Mutex<Option<T>>,
    arrived: Event,
}

impl<T> Slot<T> {
    fn new() -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(None), arrived: Event::new() })
    }

    fn put(&self, answer: T) {
        *self.answer.lock() = Some(answer);
        self.arrived.notify(usize::MAX);
    }

    async fn take(&self) -> T {
        loop {
            let arrived = self.arrived.listen();
            let answer = self.answer.lock().take();
            match answer {
                Some(answer) => return answer,
                None => arrived.await,
            }
        }
    }
}

struct FaultySwaps {
    inner: Arc<dyn Store>,
    faults: Faults,
}

impl SwapLayer for FaultySwaps {
    fn below(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        self.faults.call(false, move || inner.load(&key))
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        let (inner, key, change) = (Arc::clone(&self.inner), key.clone(), change.to_owned());
        self.faults.call(true, move || swap(&*inner, &key, &change.borrow()))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let inner = Arc::clone(&self.inner);
        self.faults.call(false, move || inner.scan(query))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let inner = Arc::clone(&self.inner);
        self.faults.call(true, move || inner.purge(limit))
    }
}

struct FaultyOperations {
    inner: Arc<dyn Store>,
    faults: Faults,
}

impl Layer for FaultyOperations {
    fn below(&self) -> &dyn Store {
        &*self.inner
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        self.faults.call(false, move || inner.load(&key))
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        let (inner, operation) = (Arc::clone(&self.inner), operation.to_owned());
        Execution::Later(self.faults.call(true, move || operation.send(&*inner)))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let inner = Arc::clone(&self.inner);
        self.faults.call(false, move || inner.scan(query))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let inner = Arc::clone(&self.inner);
        self.faults.call(true, move || inner.purge(limit))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders = self.0.lock();
        f.debug_struct("Faults")
            .field("script", &orders.script)
            .field("held", &orders.held.len())
            .field("injected", &orders.injected)
            .finish_non_exhaustive()
    }
}
