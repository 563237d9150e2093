//! The workloads.

use std::fmt;
use std::future::Future;
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use async_executor::Executor;
use lessor::block_on;
use parking_lot::Mutex;

use crate::callers::{Callers, StartGate, Task, run, start};
use crate::keys::{AWAITED, CHURNED, FRESH, HOT, Keys, LAPSED, NumberedKey, RENEWED, REPLAYED, name};
use crate::recorder::{CallerRecord, Recorder, ReplyKind, SharedHistogram, nanos};
use crate::sample::{ReplyCounts, Sample};
use crate::service::{Forget, LeaseService, Reply};

/// The length of a lease that is to lapse.
const SHORT_TTL: Duration = Duration::from_millis(1);
/// The number of cycles after which [`Workload::churn`] removes a key.
const CHURN_WINDOW: u64 = 1024;
/// The time in which waiting callers come to rest.
const SETTLE: Duration = Duration::from_millis(100);

/// The number of callers, the length of a run, and the parameters of the requests.
#[derive(Clone)]
pub struct Workload {
    callers: Callers,
    duration: Duration,
    ttl: Duration,
    result: Arc<[u8]>,
    prefix: Arc<str>,
    max_requests: u64,
    spawn: Arc<dyn Fn(Task) + Send + Sync>,
}

impl Workload {
    /// Returns a workload of `count` threads.
    #[must_use]
    pub fn threads(count: u64) -> Self {
        Self::new(Callers::Threads(count))
    }

    /// Returns a workload of `count` tasks. They run on an executor with two threads unless
    /// [`spawn_with`](Self::spawn_with) sets another one.
    #[must_use]
    pub fn tasks(count: u64) -> Self {
        Self::new(Callers::Tasks(count))
    }

    /// Returns a workload of `callers`.
    #[must_use]
    pub fn new(callers: Callers) -> Self {
        Self {
            callers,
            duration: Duration::from_secs(1),
            ttl: Duration::from_secs(300),
            result: vec![b'r'; 64].into(),
            prefix: "".into(),
            max_requests: u64::MAX,
            spawn: Arc::new(|task| executor().spawn(task).detach()),
        }
    }

    /// Sets the length of a run. Default: 1 s.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Sets the length of the leases, which has to exceed the length of a run. Default: 5 min.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Ends [`requests`](Self::requests) after this number of requests, if that is earlier. The
    /// share of replays rises during a run, so only runs with the same number of requests can be
    /// compared. Default: no limit.
    #[must_use]
    pub fn max_requests(mut self, max_requests: u64) -> Self {
        self.max_requests = max_requests;
        self
    }

    /// Sets the result that completes a key. Default: 64 bytes.
    #[must_use]
    pub fn result(mut self, result: impl Into<Arc<[u8]>>) -> Self {
        self.result = result.into();
        self
    }

    /// Sets a prefix for all keys, so that several runs can share a store that keeps its records.
    /// Default: empty.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Runs tasks on another executor.
    #[must_use]
    pub fn spawn_with(mut self, spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        self.spawn = Arc::new(spawn);
        self
    }

    /// Acquires and completes keys that are new. Both together are one operation.
    pub fn fresh_keys<S: LeaseService>(&self, service: &Arc<S>) -> Sample {
        let parameters = Parameters::new(self, service);
        self.run(move |caller, mut recorder| {
            let Parameters { service, prefix, result, ttl } = parameters.clone();
            let mut keys = NumberedKey::new(&prefix, FRESH, caller);
            async move {
                while let Some(timing) = recorder.begin().await {
                    let key = keys.next();
                    let lease = service.acquire(key, ttl).await.acquired(key);
                    service.complete(key, lease, &result).await;
                    recorder.end(timing, ReplyKind::Acquired);
                }
                recorder.finish()
            }
        })
    }

    /// Acquires and completes keys that are new, and removes each of them 1,024 cycles later. The
    /// three requests together are one operation.
    pub fn churn<S: Forget>(&self, service: &Arc<S>) -> Sample {
        let parameters = Parameters::new(self, service);
        self.run(move |caller, mut recorder| {
            let Parameters { service, prefix, result, ttl } = parameters.clone();
            let mut keys = NumberedKey::new(&prefix, CHURNED, caller);
            let mut old_keys = NumberedKey::new(&prefix, CHURNED, caller);
            async move {
                // The first keys have no older ones to remove, and are not measured.
                for _ in 0..CHURN_WINDOW {
                    let key = keys.next();
                    let lease = service.acquire(key, ttl).await.acquired(key);
                    service.complete(key, lease, &result).await;
                }
                recorder.restart();
                while let Some(timing) = recorder.begin().await {
                    let key = keys.next();
                    let lease = service.acquire(key, ttl).await.acquired(key);
                    service.complete(key, lease, &result).await;
                    let old_key = old_keys.next();
                    assert!(service.forget(old_key).await, "{old_key} was completed, and is missing");
                    recorder.end(timing, ReplyKind::Acquired);
                }
                recorder.finish()
            }
        })
    }

    /// Requests one key that another caller holds.
    pub fn refusals<S: LeaseService>(&self, service: &Arc<S>) -> Sample {
        let key = name(&self.prefix, HOT, 0, 0);
        let lease = block_on(service.acquire(&key, self.ttl)).acquired(&key);
        let parameters = Parameters::new(self, service);
        let hot: Arc<str> = key.as_str().into();
        let sample = self.run(move |_, mut recorder| {
            let (Parameters { service, ttl, .. }, key) = (parameters.clone(), Arc::clone(&hot));
            async move {
                while let Some(timing) = recorder.begin().await {
                    let reply = service.acquire(&key, ttl).await;
                    assert!(matches!(reply, Reply::InProgress), "{key} is held, and the reply was {reply:?}");
                    recorder.end(timing, ReplyKind::InProgress);
                }
                recorder.finish()
            }
        });
        block_on(service.complete(&key, lease, &self.result));
        sample
    }

    /// Sends the requests of `keys`. The first caller of a key completes it, and later callers
    /// receive its result.
    pub fn requests<S: LeaseService>(&self, service: &Arc<S>, keys: &Keys) -> Sample {
        let (parameters, keys) = (Parameters::new(self, service), keys.with_prefix(&self.prefix));
        let share = self.max_requests.div_ceil(self.callers.count().max(1));
        let count = keys.count() as u64;
        let sample = self.run(move |caller, mut recorder| {
            let (Parameters { service, result, ttl, .. }, keys) = (parameters.clone(), keys.clone());
            async move {
                for n in 0..share {
                    let Some(timing) = recorder.begin().await else { break };
                    let key = keys.draw(caller, n);
                    let reply = match service.acquire(key, ttl).await {
                        Reply::Acquired(lease) => {
                            service.complete(key, lease, &result).await;
                            ReplyKind::Acquired
                        }
                        Reply::InProgress => ReplyKind::InProgress,
                        Reply::Completed(replayed) => {
                            assert_result(key, &replayed, &result);
                            ReplyKind::Completed
                        }
                    };
                    recorder.end(timing, reply);
                }
                recorder.finish()
            }
        });
        let acquired = sample.replies.acquired;
        assert!(acquired <= count, "of {count} keys, {acquired} were acquired");
        sample
    }

    /// Requests completed keys, drawn uniformly from `count`. Their completion is not measured.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn replays<S: LeaseService>(&self, service: &Arc<S>, count: u64) -> Sample {
        assert!(count > 0, "replays need at least one key");
        let names: Vec<String> = (0..count).map(|n| name(&self.prefix, REPLAYED, 0, n)).collect();
        block_on(async {
            let leases = service.acquire_all(&names, self.ttl).await;
            assert_eq!(leases.len(), names.len(), "not all keys were acquired");
            for (key, lease) in names.iter().zip(leases) {
                service.complete(key, lease, &self.result).await;
            }
        });
        drop(names);
        let parameters = Parameters::new(self, service);
        self.run(move |caller, mut recorder| {
            let Parameters { service, prefix, result, ttl } = parameters.clone();
            let mut keys = NumberedKey::new(&prefix, REPLAYED, 0);
            let mut random = fastrand::Rng::with_seed(caller);
            async move {
                while let Some(timing) = recorder.begin().await {
                    let key = keys.set(random.u64(0..count));
                    match service.acquire(key, ttl).await {
                        Reply::Completed(replayed) => assert_result(key, &replayed, &result),
                        other => unreachable!("{key} is completed, and the reply was {other:?}"),
                    }
                    recorder.end(timing, ReplyKind::Completed);
                }
                recorder.finish()
            }
        })
    }

    /// Takes over and completes `leases` that were acquired for a millisecond and have lapsed. Both
    /// together are one operation. The run ends when no lapsed lease is left.
    pub fn handovers<S: LeaseService>(&self, service: &Arc<S>, leases: u64) -> Sample {
        let keys: Arc<[String]> = (0..leases).map(|n| name(&self.prefix, LAPSED, 0, n)).collect();
        let lapsed = block_on(service.acquire_all(&keys, SHORT_TTL));
        thread::sleep(2 * SHORT_TTL);
        let parameters = Parameters::new(self, service);
        let callers = self.callers.count();
        let sample = self.run(move |caller, mut recorder| {
            let (Parameters { service, result, ttl, .. }, keys) = (parameters.clone(), Arc::clone(&keys));
            async move {
                for key in every(&keys, callers, caller) {
                    let timing = recorder.begin_unconditionally();
                    let lease = service.acquire(key, ttl).await.acquired(key);
                    service.complete(key, lease, &result).await;
                    recorder.end(timing, ReplyKind::Acquired);
                }
                recorder.finish()
            }
        });
        // Dropped after the run, so that the drop is not measured.
        drop(lapsed);
        sample
    }

    /// Extends `leases`. Each caller extends its share of them in turn until the run ends.
    pub fn renewals<S: LeaseService>(&self, service: &Arc<S>, leases: u64) -> Sample {
        let keys: Arc<[String]> = (0..leases).map(|n| name(&self.prefix, RENEWED, 0, n)).collect();
        let callers = self.callers.count();
        let mut shares: Vec<Vec<(String, S::Lease)>> = (0..callers).map(|_| Vec::new()).collect();
        let held = block_on(service.acquire_all(&keys, self.ttl));
        assert_eq!(held.len(), keys.len(), "not all keys were acquired");
        for (n, (key, lease)) in keys.iter().zip(held).enumerate() {
            let share = n % shares.len().max(1);
            if let Some(share) = shares.get_mut(share) {
                share.push((key.clone(), lease));
            }
        }
        let shares: Arc<Vec<_>> = Arc::new(shares.into_iter().map(|share| Mutex::new(Some(share))).collect());
        let parameters = Parameters::new(self, service);
        let returned = Arc::clone(&shares);
        self.run(move |caller, mut recorder| {
            let (Parameters { service, ttl, .. }, shares) = (parameters.clone(), Arc::clone(&returned));
            async move {
                let own = usize::try_from(caller).ok().and_then(|caller| shares.get(caller));
                let mut share = own.and_then(|share| share.lock().take()).unwrap_or_default();
                'run: while !share.is_empty() {
                    for (key, lease) in &mut share {
                        let Some(timing) = recorder.begin().await else { break 'run };
                        service.extend(key, lease, ttl).await;
                        recorder.end(timing, ReplyKind::Acquired);
                    }
                }
                let record = recorder.finish();
                // Dropped by the measuring thread, after the run.
                if let Some(own) = own {
                    *own.lock() = Some(share);
                }
                record
            }
        })
    }

    /// Waits with all callers for one key, and completes it. [`Sample::elapsed`] is the time from
    /// the start of the completion until the last caller has the result, and each caller's time is
    /// a latency. Callers have a tenth of a second to begin to wait. A service that never notifies
    /// a caller is waited for without limit.
    pub fn waiters<S: LeaseService>(&self, service: &Arc<S>) -> Sample {
        let key = name(&self.prefix, AWAITED, 0, 0);
        let lease = block_on(service.acquire(&key, self.ttl)).acquired(&key);
        let (gate, (sender, receiver)) = (Arc::new(StartGate::default()), channel());
        start(self.callers, &*self.spawn, |_| {
            let (service, gate, key, sender) =
                (Arc::clone(service), Arc::clone(&gate), key.clone(), sender.clone());
            let result = Arc::clone(&self.result);
            async move {
                gate.pass().await;
                let replayed = service.wait(&key).await;
                let notified = Instant::now();
                drop(service);
                assert_result(&key, &replayed, &result);
                let _ = sender.send(notified);
            }
        });
        drop(sender);
        gate.open_for(self.callers.count());
        thread::sleep(SETTLE + random_phase());
        let began = Instant::now();
        block_on(service.complete(&key, lease, &self.result));
        let times: Vec<Duration> =
            receiver.into_iter().map(|notified| notified.saturating_duration_since(began)).collect();
        assert_eq!(times.len() as u64, self.callers.count(), "a waiting caller panicked");
        let latencies = SharedHistogram::default();
        latencies.record_all(&times.iter().copied().map(nanos).collect::<Vec<_>>());
        let replies = ReplyCounts { completed: self.callers.count(), ..ReplyCounts::default() };
        Sample::new(replies, latencies.latency(), times.into_iter().max().unwrap_or_default())
    }

    fn run<F: Future<Output = CallerRecord> + Send + 'static>(
        &self,
        work: impl Fn(u64, Recorder) -> F + Clone + Send + 'static,
    ) -> Sample {
        run(self.callers, self.duration, &*self.spawn, work)
    }
}

/// The data of each caller. Cheap to clone.
struct Parameters<S> {
    service: Arc<S>,
    prefix: Arc<str>,
    result: Arc<[u8]>,
    ttl: Duration,
}

impl<S> Parameters<S> {
    fn new(workload: &Workload, service: &Arc<S>) -> Self {
        Self {
            service: Arc::clone(service),
            prefix: Arc::clone(&workload.prefix),
            result: Arc::clone(&workload.result),
            ttl: workload.ttl,
        }
    }
}

impl<S> Clone for Parameters<S> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            prefix: Arc::clone(&self.prefix),
            result: Arc::clone(&self.result),
            ttl: self.ttl,
        }
    }
}

fn assert_result(key: &str, replayed: &impl AsRef<[u8]>, result: &[u8]) {
    assert!(replayed.as_ref() == result, "{key} was replayed with another result");
}

/// Returns up to 20 ms, so that services that poll are not always met in the same phase.
fn random_phase() -> Duration {
    Duration::from_micros(fastrand::u64(..20_000))
}

/// Returns every `step`th key, beginning with the `first`.
fn every(keys: &[String], step: u64, first: u64) -> impl Iterator<Item = &String> {
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    keys.iter().skip(place(first)).step_by(place(step).max(1))
}

/// Returns the executor for all tasks of the process, which has two threads.
fn executor() -> &'static Executor<'static> {
    static EXECUTOR: LazyLock<Executor<'static>> = LazyLock::new(|| {
        for _ in 0..2 {
            thread::spawn(|| {
                futures_lite::future::block_on(executor().run(std::future::pending::<()>()));
            });
        }
        Executor::new()
    });
    &EXECUTOR
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { callers, duration, ttl, .. } = self;
        f.debug_struct("Workload")
            .field("callers", callers)
            .field("duration", duration)
            .field("ttl", ttl)
            .finish_non_exhaustive()
    }
}
