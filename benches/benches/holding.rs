//! Checks leases that are kept alive while millions of records expire and the machine is busy.
//!
//! Two threads complete `LESSOR_EXPIRING` records (default 4,000,000), which expire together, and
//! then continue to complete others. Meanwhile 100 leases of 300 ms are kept alive, and each of
//! their keys is requested continuously. Another 20 keys change hands because their leases lapse:
//! each holder waits for `lost`, and the next holder checks that the former one was notified first.
//!
//! A further thread sleeps for 5 ms at a time and measures how late it was woken. A lease cannot be
//! kept alive on a machine that leaves a thread waiting for longer than the duration of the lease.
//!
//! Prints the counts, and exits with an error if a kept lease was lost, or a holder was notified
//! after the next grant.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lessor::{Acquisition, Engine, Lease, MemoryStore, Settings};

const TTL: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(5);
const KEPT: usize = 100;
const LAPSING: usize = 20;

#[derive(Default)]
struct Counts {
    granted_beside_a_kept_lease: AtomicU64,
    kept_leases_lost: AtomicU64,
    hand_overs: AtomicU64,
    notified_late: AtomicU64,
    /// Counts next grants at which `is_lost` of the former lease returned false.
    held_by_two: AtomicU64,
    /// The longest delay of the thread that only sleeps, in µs.
    longest_stall: AtomicU64,
    filled: AtomicU64,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn main() {
    if std::env::args().skip(1).any(|argument| !argument.starts_with("--")) {
        // The argument is a filter for another benchmark of the package.
        return;
    }
    let expiring: u64 = std::env::var("LESSOR_EXPIRING")
        .ok()
        .and_then(|text| text.replace('_', "").parse().ok())
        .unwrap_or(4_000_000);
    let store = Arc::new(MemoryStore::new());
    let mut settings = Settings::default();
    settings.limits.retention = Duration::from_secs(20);
    settings.schedule.purge_every = Duration::from_millis(200);
    let engine = Engine::with_settings(store.clone(), settings).expect("an engine");
    let counts = Arc::new(Counts::default());
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();

    let fillers: Vec<_> = (0..2_u64)
        .map(|thread| {
            let (engine, stop, counts) = (engine.clone(), Arc::clone(&stop), Arc::clone(&counts));
            std::thread::spawn(move || {
                let mut number = 0;
                // First the records that expire together, then load while they expire.
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("filler {thread} {number}");
                    if let Ok(Acquisition::Acquired(lease)) = engine.acquire(&key).wait() {
                        lease.complete(&number).wait().expect("a completion");
                    }
                    number += 1;
                    counts.filled.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let sentinel = {
        let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let slept = Instant::now();
                std::thread::sleep(PAUSE);
                let late = slept.elapsed().saturating_sub(PAUSE).as_micros();
                counts.longest_stall.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        })
    };

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for number in 0..KEPT {
            tasks.push(tokio::spawn(keep(engine.clone(), number, Arc::clone(&stop), Arc::clone(&counts))));
        }
        for number in 0..LAPSING {
            tasks.push(tokio::spawn(hand_over(
                engine.clone(),
                number,
                Arc::clone(&stop),
                Arc::clone(&counts),
            )));
        }
        let mut most = 0;
        let mut filled_at = None;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let filled = counts.filled.load(Ordering::Relaxed);
            most = most.max(store.len());
            if filled >= expiring && filled_at.is_none() {
                filled_at = Some(began.elapsed());
                println!("{filled} records were completed after {:.1} s", began.elapsed().as_secs_f64());
            }
            // The first records have expired, and all of them must be purged by now.
            if filled_at.is_some_and(|at| began.elapsed() > at + Duration::from_secs(25)) {
                break;
            }
            if began.elapsed() > Duration::from_secs(600) {
                println!(
                    "the machine is too slow for this: {filled} of {expiring} records after ten minutes"
                );
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("a task");
        }
        let filled = counts.filled.load(Ordering::Relaxed);
        println!("{filled} completed in all, at most {most} at a time, {} left at the end", store.len());
    });
    sentinel.join().expect("the thread that sleeps");
    fillers.into_iter().for_each(|filler| filler.join().expect("a filler"));

    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let lost = read(&counts.kept_leases_lost);
    let beside = read(&counts.granted_beside_a_kept_lease);
    let late = read(&counts.notified_late);
    println!("{KEPT} leases of {TTL:?} kept alive: {lost} lost, {beside} grants to others");
    println!(
        "{} hand-overs by lapsing: {late} holders notified after the next grant",
        read(&counts.hand_overs)
    );
    let two = read(&counts.held_by_two);
    println!("{two} times two leases of one key reported not to be lost");
    println!("a thread that only sleeps was woken at most {} ms late", read(&counts.longest_stall) / 1_000);
    if lost + beside + late + two > 0 {
        std::process::exit(1);
    }
}

async fn keep(engine: Engine, number: usize, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    let key = format!("kept {number}");
    let Ok(Acquisition::Acquired(lease)) = engine.acquire(&key).ttl(TTL).send().await else { return };
    let lease = lease.keep_alive();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if lease.is_lost() {
            counts.kept_leases_lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Ok(Acquisition::Acquired(_)) = engine.acquire(&key).send().await {
            counts.granted_beside_a_kept_lease.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Lets one lease of the key after another lapse. The next is acquired as soon as possible.
async fn hand_over(engine: Engine, number: usize, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    let key = format!("lapsing {number}");
    let mut former: Option<(Arc<AtomicBool>, Arc<Lease>)> = None;
    while !stop.load(Ordering::Relaxed) {
        let lease = match engine.acquire(&key).ttl(TTL).send().await {
            Ok(Acquisition::Acquired(lease)) => Arc::new(lease),
            _ => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        if let Some((notified, before)) = former {
            counts.hand_overs.fetch_add(1, Ordering::Relaxed);
            if !notified.load(Ordering::SeqCst) {
                counts.notified_late.fetch_add(1, Ordering::Relaxed);
            }
            if !before.is_lost() {
                counts.held_by_two.fetch_add(1, Ordering::Relaxed);
            }
        }
        let notified = Arc::new(AtomicBool::new(false));
        former = Some((Arc::clone(&notified), Arc::clone(&lease)));
        tokio::spawn(async move {
            lease.lost().await;
            notified.store(true, Ordering::SeqCst);
            // Keep the lost lease: dropping it would release the key before the lease lapses.
            tokio::time::sleep(TTL).await;
        });
    }
}
