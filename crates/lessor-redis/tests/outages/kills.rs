//! The server is killed, or connections to it are cut, again and again under load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lessor_core::{Acquisition, Engine, Error, Key, LeaseId, Store, Token};
use lessor_redis::RedisStore;

use crate::HOUR;
use crate::support::{self, Server};
use crate::tap::Tap;
use crate::tools::{begin, end, eventually, insist, is_outage, nap, number_from_env, record};

#[test]
fn p5_nothing_acknowledged_is_lost_when_the_server_is_killed_again_and_again() {
    const THREADS: usize = 6;
    if !support::is_there() {
        return;
    }
    let rounds = number_from_env("LESSOR_OUTAGES", 5);
    let (mut server, prefix) = (Server::durable(), support::prefix());
    let told = Arc::new(Told::default());
    let over = Arc::new(AtomicBool::new(false));
    // Two stores, with two engines, as of two processes.
    let taps: Vec<Tap> = (0..2).map(|_| Tap::new(&Arc::new(support::open(&server, &prefix)))).collect();
    let engines: Vec<Arc<Engine>> =
        taps.iter().map(|tap| Arc::new(Engine::new(Arc::new(tap.clone())).unwrap())).collect();
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (engine, told, over) =
                (Arc::clone(&engines[thread % 2]), Arc::clone(&told), Arc::clone(&over));
            begin(move || {
                for round in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let me = format!("thread {thread}");
                    // One that all are after, and one of its own.
                    told.work(&engine, &format!("shared {round}"), &me, !round.is_multiple_of(3));
                    told.work(&engine, &format!("own {thread} {round}"), &me, !round.is_multiple_of(5));
                }
            })
        })
        .collect();
    for round in 0..rounds {
        nap(30 + round * 37 % 200);
        server.start_again();
        // Somebody got through.
        let before = told.grants.lock().unwrap().len();
        eventually("the stores reconnect", || told.grants.lock().unwrap().len() > before + THREADS);
    }
    over.store(true, Ordering::SeqCst);
    workers.iter().for_each(|worker| end("a worker ends", worker));
    server.start_again();
    let (grants, completions) = told.compare(&support::open(&server, &prefix));
    let doubts: u64 = taps.iter().map(Tap::doubts).sum();
    println!(
        "{rounds} kills: {grants} grants and {completions} completions acknowledged and there, {} replays, {} errors, \
         {doubts} doubtful writes",
        told.replays.load(Ordering::Relaxed),
        told.errors.load(Ordering::Relaxed),
    );
}

#[test]
fn connections_that_are_cut_again_and_again_lose_nothing_and_double_nothing() {
    const THREADS: usize = 4;
    if !support::is_there() {
        return;
    }
    let cuts = number_from_env("LESSOR_OUTAGES", 5) * 20;
    let (server, prefix) = (Server::volatile(), support::prefix());
    let (told, over) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    let tap = Tap::new(&Arc::new(support::open(&server, &prefix)));
    let engine = Arc::new(Engine::new(Arc::new(tap.clone())).unwrap());
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (engine, told, over) = (Arc::clone(&engine), Arc::clone(&told), Arc::clone(&over));
            begin(move || {
                for round in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let me = format!("thread {thread}");
                    told.work(&engine, &format!("shared {round}"), &me, true);
                    told.work(&engine, &format!("own {thread} {round}"), &me, true);
                }
            })
        })
        .collect();
    for cut in 0..cuts {
        nap(cut * 7 % 30);
        server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    over.store(true, Ordering::SeqCst);
    workers.iter().for_each(|worker| end("a worker ends", worker));
    let (grants, completions) = told.compare(&support::open(&server, &prefix));
    println!(
        "{cuts} cuts: {grants} grants and {completions} completions, {} errors, {} doubtful writes",
        told.errors.load(Ordering::Relaxed),
        tap.doubts(),
    );
}

/// Token and holder, and the result that was acknowledged.
type Grant = (Token, LeaseId, Option<String>);

/// What the load on a server was told.
#[derive(Default)]
struct Told {
    /// By key.
    grants: Mutex<HashMap<String, Grant>>,
    replays: AtomicU64,
    errors: AtomicU64,
}

impl Told {
    /// One key: acquires it, insisting on an answer by sending the same again, and completes it if it is told to.
    fn work(&self, engine: &Engine, key: &str, me: &str, completes: bool) {
        let lease_id = LeaseId::random().unwrap();
        let tried = |error: &Error| {
            assert!(is_outage(error), "{error}");
            self.errors.fetch_add(1, Ordering::Relaxed);
        };
        let acquired = insist(|| engine.acquire(key).lease_id(lease_id).ttl(HOUR).wait().inspect_err(tried));
        match acquired {
            Acquisition::Acquired(lease) => {
                let former =
                    self.grants.lock().unwrap().insert(key.to_owned(), (lease.token(), lease_id, None));
                assert!(former.is_none(), "{key} was granted twice");
                assert_eq!(lease.attempt(), 1, "{key}");
                if completes {
                    let result = format!("{me}'s result of {key}");
                    insist(|| lease.complete(&result).wait().inspect_err(tried));
                    if let Some(grant) = self.grants.lock().unwrap().get_mut(key) {
                        grant.2 = Some(result);
                    }
                } else {
                    // Kept: a lease that is dropped is given up.
                    std::mem::forget(lease);
                }
            }
            Acquisition::Completed(view) => {
                let result: String = view.result().unwrap();
                assert!(result.ends_with(&format!("result of {key}")), "{key} has another one's result");
                self.replays.fetch_add(1, Ordering::Relaxed);
            }
            Acquisition::InProgress(_) => {}
            other => panic!("{key}: {other:?}"),
        }
    }

    /// Compares with what a store shows that was opened anew.
    fn compare(&self, store: &RedisStore) -> (usize, usize) {
        let grants = self.grants.lock().unwrap();
        for (key, (token, lease_id, result)) in &*grants {
            let record = record(store, key).unwrap_or_else(|| panic!("the grant of {key} is lost"));
            assert_eq!(record.token(), *token, "{key}");
            assert!(record.is_held_by(lease_id), "{key} is somebody else's");
            let writes = 1 + u64::from(result.is_some());
            assert_eq!(record.version().as_u64(), writes, "{key} was written more than once per operation");
            if let Some(result) = result {
                let seen = store.load(&Key::new(key).unwrap()).wait().unwrap();
                let view = lessor_core::View::of(&record, seen.now).unwrap();
                assert_eq!(view.result::<String>().unwrap(), *result, "{key}");
            }
        }
        (grants.len(), grants.values().filter(|grant| grant.2.is_some()).count())
    }
}
