//! A store with faults: it is unavailable, loses requests and replies, and delays and reorders
//! them.

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

/// The fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No fault.
    None,
    /// The store is unavailable, and the call has no effect.
    Unavailable,
    /// The request is lost, and the result is indeterminate. The call has no effect. A read fails
    /// with `Unavailable`.
    LostRequest,
    /// The reply is lost, and the result is indeterminate. The call takes effect. A read fails with
    /// `Unavailable`.
    LostReply,
    /// The result is indeterminate, and the call takes effect later, when it is
    /// [released](Faults::release_first). A read fails with `Unavailable`.
    LateRequest,
    /// The request is held until it is released.
    HeldRequest,
    /// The call takes effect, and its reply is held until it is released.
    HeldReply,
}

/// The rates of random faults, per thousand calls.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of the faults")]
pub struct FaultRates {
    pub unavailable: u16,
    pub lost_request: u16,
    pub lost_reply: u16,
    pub held_request: u16,
    pub held_reply: u16,
}

/// The level at which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// The store's operations fail, and the engine gets the error.
    Operations,
    /// The reads and swaps of a retry loop fail, and the loop finds out what happened.
    Swaps,
}

/// Controls the faults of a store. Clones share the state.
///
/// By default there are no faults. Readings of the clock never fail.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    script: VecDeque<Fault>,
    /// The state of the random numbers, and the rates.
    random: Option<(u64, FaultRates)>,
    held: VecDeque<Job>,
    injected: usize,
}

type Job = Box<dyn FnOnce() + Send>;

impl Faults {
    /// Returns a store over `inner` with faults at this level, and the control of the faults.
    #[must_use]
    pub fn over(inner: Arc<dyn Store>, level: Level) -> (Arc<dyn Store>, Self) {
        let faults = Self::default();
        let store_faults = faults.clone();
        let store: Arc<dyn Store> = match level {
            Level::Operations => Arc::new(Layered(FaultyOperations { inner, faults: store_faults })),
            Level::Swaps => Arc::new(Retrying::over(FaultySwaps { inner, faults: store_faults })),
        };
        (store, faults)
    }

    /// Sets the faults of the next calls, in this order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().script.extend(faults);
    }

    /// Starts random faults. The same seed causes the same faults.
    pub fn at_random(&self, seed: u64, rates: FaultRates) {
        self.0.lock().random = Some((seed, rates));
    }

    /// Ends scripted and random faults. Held requests and replies stay held.
    pub fn clear(&self) {
        let mut state = self.0.lock();
        state.random = None;
        state.script.clear();
    }

    /// Returns the number of faults so far.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.0.lock().injected
    }

    /// Returns the number of held requests and replies.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.lock().held.len()
    }

    /// Releases the oldest held request or reply. Returns whether there was one.
    pub fn release_first(&self) -> bool {
        let job = self.0.lock().held.pop_front();
        job.map(|job| job()).is_some()
    }

    /// Releases the newest held request or reply. Returns whether there was one.
    pub fn release_last(&self) -> bool {
        let job = self.0.lock().held.pop_back();
        job.map(|job| job()).is_some()
    }

    /// Starts a thread that releases held requests and replies with a short delay, in a
    /// pseudorandom order derived from `seed`. The thread ends with the store and the last clone of
    /// this value.
    pub fn deliver_in_random_order(&self, seed: u64) {
        let state = Arc::downgrade(&self.0);
        let mut random = seed;
        thread::spawn(move || {
            while let Some(state) = state.upgrade() {
                let job = {
                    let held = &mut state.lock().held;
                    let most = held.len().max(1);
                    held.remove(usize::try_from(splitmix(&mut random)).unwrap_or(0) % most)
                };
                drop(state);
                match job {
                    Some(job) => job(),
                    None => crate::subject::sleep(Duration::from_micros(50)),
                }
            }
        });
    }

    fn draw(&self) -> Fault {
        let mut state = self.0.lock();
        let fault = state.script.pop_front().unwrap_or_else(|| match &mut state.random {
            None => Fault::None,
            Some((state, rates)) => {
                let mut drawn = splitmix(state) % 1000;
                let rates = [
                    (rates.unavailable, Fault::Unavailable),
                    (rates.lost_request, Fault::LostRequest),
                    (rates.lost_reply, Fault::LostReply),
                    (rates.held_request, Fault::HeldRequest),
                    (rates.held_reply, Fault::HeldReply),
                ];
                let drawn_fault = rates.into_iter().find(|(rate, _)| {
                    let meets = drawn < u64::from(*rate);
                    drawn = drawn.saturating_sub(u64::from(*rate));
                    meets
                });
                drawn_fault.map_or(Fault::None, |(_, fault)| fault)
            }
        });
        state.injected += usize::from(fault != Fault::None);
        fault
    }

    fn hold(&self, job: impl FnOnce() + Send + 'static) {
        self.0.lock().held.push_back(Box::new(job));
    }

    /// Performs a call with the next fault. `is_write` is whether its result can be indeterminate.
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
                let sender = Arc::clone(&slot);
                self.hold(move || sender.put(call().wait()));
                Pending::later(async move { slot.take().await })
            }
            Fault::HeldReply => {
                let slot = Slot::new();
                let sender = Arc::clone(&slot);
                let answer = call().wait();
                self.hold(move || sender.put(answer));
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

/// A reply that may arrive later.
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
        let state = self.0.lock();
        f.debug_struct("Faults")
            .field("script", &state.script)
            .field("held", &state.held.len())
            .field("injected", &state.injected)
            .finish_non_exhaustive()
    }
}
