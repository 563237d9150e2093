//! Leases that are kept alive while millions of records expire and the machine is busy.
//!
//! `LESSOR_EXPIRING` records (default 4,000,000) are completed and expire together while others are made. Meanwhile 100 leases of
//! 300 ms are kept alive, and a rival asks for each of their keys all the time. Another 20 keys change hands by lapsing: each
//! holder waits for `lost`, and the rival that is granted the key checks that the former holder was notified before.
//!
//! Beside all that, a thread that does nothing but sleep for 5 ms at a time notes how late it was woken: a machine that does not run
//! a thread for longer than a lease can be late cannot keep that lease alive.
//!
//! Prints what was seen, and exits with an error if a kept lease was lost, or a holder was notified after another grant.

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
    /// The former lease was not lost by its own account when the next was granted.
    held_by_two: AtomicU64,
    /// The longest time that the thread which only sleeps was late, in µs.
    longest_stall: AtomicU64,
    filled: AtomicU64,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn main() {
    if std::env::args().skip(1).any(|argument| !argument.starts_with("--")) {
        // A filter, which is meant for other benchmarks of the package.
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
                // First the records that expire together, then load beside their end.
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
            // All of the first have expired and were purged once as many again would be there otherwise.
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
    println!("{two} times a key had two holders by their own account");
    println!("a thread that only sleeps was woken {} ms late at most", read(&counts.longest_stall) / 1_000);
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

/// One lease after the other lapses, and is taken over as soon as that is possible.
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
            // It goes on holding what it has lost: dropping it would give the key up before its time.
            tokio::time::sleep(TTL).await;
        });
    }
}
