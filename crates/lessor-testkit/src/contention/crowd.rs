//! Who calls, and the workloads.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use async_executor::Executor;
use lessor_core::block_on;

use super::guard::{Guard, Told};
use super::keys::{AWAITED, Fresh, GONE, HOT, Keys, RENEWED, name};
use super::race::{Callers, Gate, Task, What, now, race, run};
use super::sample::{Sample, Tally};
use crate::subject::really_wait;

/// How long a lease is that is to lapse.
const BRIEF: Duration = Duration::from_millis(1);

/// Who calls, for how long, and with what.
#[derive(Clone)]
pub struct Crowd {
    callers: Callers,
    length: Duration,
    ttl: Duration,
    result: Arc<[u8]>,
    prefix: Arc<str>,
    draws: u64,
    spawn: Arc<dyn Fn(Task) + Send + Sync>,
}

impl Crowd {
    /// So many threads.
    #[must_use]
    pub fn of_threads(count: u64) -> Self {
        Self::new(Callers::Threads(count))
    }

    /// So many tasks, on an executor with two threads unless [`spawn_with`](Self::spawn_with) names another.
    #[must_use]
    pub fn of_tasks(count: u64) -> Self {
        Self::new(Callers::Tasks(count))
    }

    /// So many threads or tasks, as [`Callers`] says.
    #[must_use]
    pub fn new(callers: Callers) -> Self {
        Self {
            callers,
            length: Duration::from_secs(1),
            ttl: Duration::from_secs(300),
            result: vec![b'r'; 64].into(),
            prefix: "".into(),
            draws: u64::MAX,
            spawn: Arc::new(|task| executor().spawn(task).detach()),
        }
    }

    /// How long each run takes. Default 1 s.
    #[must_use]
    pub fn length(mut self, length: Duration) -> Self {
        self.length = length;
        self
    }

    /// Of the leases: longer than a run, or they lapse meanwhile. Default 5 min.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Ends a run of [`on_keys`](Self::on_keys) after so many requests, if that is earlier. What they come to changes with time, from
    /// work to replays, so only runs of as many can be compared. Default: no limit.
    #[must_use]
    pub fn draws(mut self, draws: u64) -> Self {
        self.draws = draws;
        self
    }

    /// What work comes to. Default 64 bytes.
    #[must_use]
    pub fn result(mut self, result: impl Into<Arc<[u8]>>) -> Self {
        self.result = result.into();
        self
    }

    /// Asks for keys that begin with this, so that several runs can share a store that keeps what it knows. Default: nothing.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Runs tasks on an executor of the caller's.
    #[must_use]
    pub fn spawn_with(mut self, spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        self.spawn = Arc::new(spawn);
        self
    }

    /// Each acquires keys that nobody has asked for, and completes them. Both together are one operation.
    pub fn fresh<G: Guard>(&self, guard: &Arc<G>) -> Sample {
        let (guard, ttl, result) = (Arc::clone(guard), self.ttl, Arc::clone(&self.result));
        let prefix = Arc::clone(&self.prefix);
        self.race(move |caller, mut watch| {
            let (guard, result) = (Arc::clone(&guard), Arc::clone(&result));
            let mut keys = Fresh::of(&prefix, caller);
            async move {
                while let Some(lap) = watch.begin().await {
                    let key = keys.next();
                    let grant = guard.acquire(key, ttl).await.granted(key);
                    guard.complete(key, grant, &result).await;
                    watch.end(lap, What::Granted);
                }
                watch.done()
            }
        })
    }

    /// All ask for one key that somebody holds.
    pub fn refused<G: Guard>(&self, guard: &Arc<G>) -> Sample {
        let key = name(&self.prefix, HOT, 0, 0);
        let grant = block_on(guard.acquire(&key, self.ttl)).granted(&key);
        let (asked, ttl) = (Arc::clone(guard), self.ttl);
        let (hot, held): (Arc<str>, _) = (key.as_str().into(), guard);
        let sample = self.race(move |_, mut watch| {
            let (guard, key) = (Arc::clone(&asked), Arc::clone(&hot));
            async move {
                while let Some(lap) = watch.begin().await {
                    let told = guard.acquire(&key, ttl).await;
                    assert!(matches!(told, Told::Refused), "{key} is held, and was {told:?}");
                    watch.end(lap, What::Refused);
                }
                watch.done()
            }
        });
        block_on(held.complete(&key, grant, &self.result));
        sample
    }

    /// Each asks for keys as [`Keys`] says; who is granted one completes it, and everybody later gets the result.
    pub fn on_keys<G: Guard>(&self, guard: &Arc<G>, keys: &Keys) -> Sample {
        let (guard, keys) = (Arc::clone(guard), keys.behind(&self.prefix));
        let (ttl, result) = (self.ttl, Arc::clone(&self.result));
        let share = self.draws.div_ceil(self.callers.count().max(1));
        let count = keys.count() as u64;
        let sample = self.race(move |caller, mut watch| {
            let (guard, keys, result) = (Arc::clone(&guard), keys.clone(), Arc::clone(&result));
            async move {
                for n in 0..share {
                    let Some(lap) = watch.begin().await else { break };
                    let key = keys.draw(caller, n);
                    let what = match guard.acquire(key, ttl).await {
                        Told::Granted(grant) => {
                            guard.complete(key, grant, &result).await;
                            What::Granted
                        }
                        Told::Refused => What::Refused,
                        Told::Replayed(replayed) => {
                            assert!(replayed.as_ref() == &*result, "{key} was replayed with another result");
                            What::Replayed
                        }
                    };
                    watch.end(lap, what);
                }
                watch.done()
            }
        });
        assert!(sample.told.granted <= count, "of {count} keys {} were granted", sample.told.granted);
        sample
    }

    /// `leases` that were acquired for a millisecond, whose holders are gone and whose time is over are taken over and completed, until none is left, however long it
    /// takes. Both together are one operation.
    pub fn takeover<G: Guard>(&self, guard: &Arc<G>, leases: u64) -> Sample {
        let keys: Arc<[String]> = (0..leases).map(|n| name(&self.prefix, GONE, 0, n)).collect();
        // Kept until the end, so that their being dropped is not measured.
        let gone = block_on(guard.hold_all(&keys, BRIEF));
        really_wait(2 * BRIEF);
        let (guard, ttl, result) = (Arc::clone(guard), self.ttl, Arc::clone(&self.result));
        let callers = self.callers.count();
        let sample = self.race(move |caller, mut watch| {
            let (guard, keys, result) = (Arc::clone(&guard), Arc::clone(&keys), Arc::clone(&result));
            async move {
                for key in every(&keys, callers, caller) {
                    let lap = watch.begin_in_any_case();
                    let grant = guard.acquire(key, ttl).await.granted(key);
                    guard.complete(key, grant, &result).await;
                    watch.end(lap, What::Granted);
                }
                watch.done()
            }
        });
        drop(gone);
        sample
    }

    /// Each extends its share of `leases`, one after the other, over and over.
    pub fn renewals<G: Guard>(&self, guard: &Arc<G>, leases: u64) -> Sample {
        let keys: Arc<[String]> = (0..leases).map(|n| name(&self.prefix, RENEWED, 0, n)).collect();
        let callers = self.callers.count();
        let mut shares: Vec<Vec<(String, G::Grant)>> = (0..callers).map(|_| Vec::new()).collect();
        let held = block_on(guard.hold_all(&keys, self.ttl));
        assert_eq!(held.len(), keys.len(), "not all keys were granted");
        for (n, (key, grant)) in keys.iter().zip(held).enumerate() {
            let share = n % shares.len().max(1);
            if let Some(share) = shares.get_mut(share) {
                share.push((key.clone(), grant));
            }
        }
        let shares: Arc<Vec<_>> =
            Arc::new(shares.into_iter().map(|share| parking_lot::Mutex::new(Some(share))).collect());
        let (guard, ttl) = (Arc::clone(guard), self.ttl);
        let back = Arc::clone(&shares);
        self.race(move |caller, mut watch| {
            let (guard, shares) = (Arc::clone(&guard), Arc::clone(&back));
            async move {
                let own = usize::try_from(caller).ok().and_then(|caller| shares.get(caller));
                let mut share = own.and_then(|share| share.lock().take()).unwrap_or_default();
                'all: while !share.is_empty() {
                    for (key, grant) in &mut share {
                        let Some(lap) = watch.begin().await else { break 'all };
                        guard.extend(key, grant, ttl).await;
                        watch.end(lap, What::Granted);
                    }
                }
                let done = watch.done();
                // Dropped by whoever measures, when all are done.
                if let Some(own) = own {
                    *own.lock() = Some(share);
                }
                done
            }
        })
    }

    /// All wait for one key, whose work is then completed. [`Sample::took`] is how long it takes from there until the last of them has
    /// the result; each one's wait is a latency. They are given a tenth of a second to begin to wait; a guard that forgets one is
    /// waited for without end.
    pub fn waiters<G: Guard>(&self, guard: &Arc<G>) -> Sample {
        let key = name(&self.prefix, AWAITED, 0, 0);
        let grant = block_on(guard.acquire(&key, self.ttl)).granted(&key);
        let (gate, (sender, receiver)) = (Arc::new(Gate::default()), channel());
        run(self.callers, &*self.spawn, |_| {
            let (guard, gate, key, sender) =
                (Arc::clone(guard), Arc::clone(&gate), key.clone(), sender.clone());
            let result = Arc::clone(&self.result);
            async move {
                gate.pass().await;
                let replayed = guard.wait(&key).await;
                let awake = now();
                drop(guard);
                assert!(replayed.as_ref() == &*result, "{key} was replayed with another result");
                let _ = sender.send(awake);
            }
        });
        drop(sender);
        gate.open_for(self.callers.count());
        // Until they have looked, and wait.
        really_wait(WAITING + odd_time());
        let began = now();
        block_on(guard.complete(&key, grant, &self.result));
        let awake: Vec<_> =
            receiver.into_iter().map(|awake| awake.saturating_duration_since(began)).collect();
        assert_eq!(awake.len() as u64, self.callers.count(), "a waiter panicked");
        let told = Tally { replayed: self.callers.count(), ..Tally::default() };
        let last = awake.iter().max().copied().unwrap_or_default();
        Sample::of(told, awake, last)
    }

    fn race<F: Future<Output = super::race::Done> + Send + 'static>(
        &self,
        work: impl Fn(u64, super::race::Watch) -> F + Clone + Send + 'static,
    ) -> Sample {
        race(self.callers, self.length, &*self.spawn, work)
    }
}

/// How long after their start waiters are given to come to rest.
const WAITING: Duration = Duration::from_millis(100);

/// Up to 20 ms, so that those who look again every so often are not all met at the same point of that.
fn odd_time() -> Duration {
    Duration::from_micros(RandomState::new().build_hasher().finish() % 20_000)
}

/// Every `step`th, from the `first` on.
fn every(keys: &[String], step: u64, first: u64) -> impl Iterator<Item = &String> {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    keys.iter().skip(place(first)).step_by(place(step).max(1))
}

/// Two threads for all tasks of the process.
fn executor() -> &'static Executor<'static> {
    static EXECUTOR: std::sync::LazyLock<Executor<'static>> = std::sync::LazyLock::new(|| {
        for _ in 0..2 {
            std::thread::spawn(|| {
                futures_lite::future::block_on(executor().run(std::future::pending::<()>()));
            });
        }
        Executor::new()
    });
    &EXECUTOR
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { callers, length, ttl, .. } = self;
        f.debug_struct("Crowd")
            .field("callers", callers)
            .field("length", length)
            .field("ttl", ttl)
            .finish_non_exhaustive()
    }
}
