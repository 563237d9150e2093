//! Leases in memory compared with hand-written equivalents: fresh keys, refusals of one hot key,
//! and replays, at 1, 2 and 8 threads. For the development of lessor: criterion compares each run
//! with the run before it. The comparison with alternatives is the benchmark `suite`.

#![expect(clippy::disallowed_methods, reason = "runs are timed")]

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lessor_counted::{Guard, HandDashMap, HandMutexMap, Lessor, Outcome, Receipt, key};

type Make = fn() -> Box<dyn Guard>;

const GUARDS: [Make; 3] = [
    || Box::new(Lessor::default()),
    || Box::new(HandDashMap::default()),
    || Box::new(HandMutexMap::default()),
];
const THREADS: [u64; 3] = [1, 2, 8];
/// Keys per repetition: enough for the map to grow, as it does in applications.
const FRESH: u64 = 200_000;
const REPLAYED: u64 = 100_000;

/// Runs `work(thread, n)` for `count` numbers distributed over `threads`. Returns the total time.
fn timed(threads: u64, count: u64, work: impl Fn(u64, u64) + Sync) -> Duration {
    let start = Barrier::new(threads as usize + 1);
    let begun = std::thread::scope(|scope| {
        for thread in 0..threads {
            let (start, work) = (&start, &work);
            let share = count / threads + u64::from(thread < count % threads);
            scope.spawn(move || {
                start.wait();
                (0..share).for_each(|n| work(thread, n));
            });
        }
        start.wait();
        // The scope joins the threads when it ends. The time is measured until then.
        Instant::now()
    });
    begun.elapsed()
}

fn compare(
    group: &mut BenchmarkGroup<'_, WallTime>,
    count: u64,
    mut repetition: impl FnMut(u64, &dyn Guard) -> Duration,
) {
    group.throughput(Throughput::Elements(count)).sample_size(20);
    for threads in THREADS {
        for make in GUARDS {
            group.bench_function(BenchmarkId::new(make().name(), threads), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| repetition(threads, &*make())).sum());
            });
        }
    }
}

fn fresh(criterion: &mut Criterion) {
    let keys: Vec<Vec<String>> = (0..8).map(|thread| (0..FRESH).map(|n| key(thread, n)).collect()).collect();
    compare(&mut criterion.benchmark_group("memory/fresh"), FRESH, |threads, guard| {
        let receipt = Receipt::new(1);
        timed(threads, FRESH, |thread, n| {
            assert_eq!(guard.run(&keys[thread as usize][n as usize], &receipt), Outcome::Done);
        })
    });
}

fn refused(criterion: &mut Criterion) {
    let hot = key(0, 0);
    compare(&mut criterion.benchmark_group("memory/refused"), 1_000_000, |threads, guard| {
        let receipt = Receipt::new(1);
        guard.hold(&hot);
        timed(threads, 1_000_000, |_, _| {
            assert!(matches!(guard.run(&hot, &receipt), Outcome::Refused(_)));
        })
    });
}

fn replayed(criterion: &mut Criterion) {
    let keys: Vec<String> = (0..REPLAYED).map(|n| key(0, n)).collect();
    compare(&mut criterion.benchmark_group("memory/replayed"), 500_000, |threads, guard| {
        let receipt = Receipt::new(1);
        for key in &keys {
            guard.run(key, &receipt);
        }
        timed(threads, 500_000, |thread, n| {
            let key = &keys[((n * 7919 + thread * 104_729) % REPLAYED) as usize];
            assert!(matches!(guard.run(key, &receipt), Outcome::Replayed(_)));
        })
    });
}

criterion_group! {
    name = memory;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    targets = fresh, refused, replayed
}
criterion_main!(memory);
