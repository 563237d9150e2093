//! The server is killed, or connections to it are cut, repeatedly and under load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lessor_core::{Acquisition, Engine, Error, Key, LeaseId, Store, Token};
use lessor_redis::RedisStore;

use crate::HOUR;
use crate::support::{self, Server};
use crate::tap::Tap;
use crate::tools::{begin, end, eventually, is_outage, nap, number_from_env, record, retry_while_down};

#[test]
fn p5_no_acknowledged_write_is_lost_when_the_server_is_killed_repeatedly() {
    const THREADS: usize = 6;
    if !support::is_available() {
        return;
    }
    let rounds = number_from_env("LESSOR_OUTAGES", 5);
    let (mut server, prefix) = (Server::durable(), support::prefix());
    let answers = Arc::new(Answers::default());
    let over = Arc::new(AtomicBool::new(false));
    // Two stores with two engines, as of two processes.
    let taps: Vec<Tap> = (0..2).map(|_| Tap::new(&Arc::new(support::open(&server, &prefix)))).collect();
    let engines: Vec<Arc<Engine>> =
        taps.iter().map(|tap| Arc::new(Engine::new(tap.store()).unwrap())).collect();
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (engine, answers, over) =
                (Arc::clone(&engines[thread % 2]), Arc::clone(&answers), Arc::clone(&over));
            begin(move || {
                for round in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let me = format!("thread {thread}");
                    // One key that all threads compete for, and one of the thread's own.
                    answers.work(&engine, &format!("shared {round}"), &me, !round.is_multiple_of(3));
                    answers.work(&engine, &format!("own {thread} {round}"), &me, !round.is_multiple_of(5));
                }
            })
        })
        .collect();
    for round in 0..rounds {
        nap(30 + round * 37 % 200);
        server.restart();
        // Wait until a call has succeeded.
        let before = answers.grants.lock().unwrap().len();
        eventually("the stores reconnect", || answers.grants.lock().unwrap().len() > before + THREADS);
    }
    over.store(true, Ordering::SeqCst);
    workers.iter().for_each(|worker| end("a worker ends", worker));
    server.restart();
    let (grants, completions) = answers.compare(&support::open(&server, &prefix));
    let doubts: u64 = taps.iter().map(Tap::indeterminate_writes).sum();
    println!(
        "{rounds} kills: {grants} grants and {completions} completions acknowledged and there, {} replays, {} errors, \
         {doubts} doubtful writes",
        answers.replays.load(Ordering::Relaxed),
        answers.errors.load(Ordering::Relaxed),
    );
}

#[test]
fn repeatedly_cut_connections_lose_and_repeat_no_write() {
    const THREADS: usize = 4;
    if !support::is_available() {
        return;
    }
    let cuts = number_from_env("LESSOR_OUTAGES", 5) * 20;
    let (server, prefix) = (Server::volatile(), support::prefix());
    let (answers, over) = (Arc::new(Answers::default()), Arc::new(AtomicBool::new(false)));
    let tap = Tap::new(&Arc::new(support::open(&server, &prefix)));
    let engine = Arc::new(Engine::new(tap.store()).unwrap());
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (engine, answers, over) = (Arc::clone(&engine), Arc::clone(&answers), Arc::clone(&over));
            begin(move || {
                for round in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let me = format!("thread {thread}");
                    answers.work(&engine, &format!("shared {round}"), &me, true);
                    answers.work(&engine, &format!("own {thread} {round}"), &me, true);
                }
            })
        })
        .collect();
    for cut in 0..cuts {
        nap(cut * 7 % 30);
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    over.store(true, Ordering::SeqCst);
    workers.iter().for_each(|worker| end("a worker ends", worker));
    let (grants, completions) = answers.compare(&support::open(&server, &prefix));
    println!(
        "{cuts} cuts: {grants} grants and {completions} completions, {} errors, {} doubtful writes",
        answers.errors.load(Ordering::Relaxed),
        tap.indeterminate_writes(),
    );
}

/// The token and the lease id of a grant, and the acknowledged result.
type Grant = (Token, LeaseId, Option<String>);

/// The answers that the callers received.
#[derive(Default)]
struct Answers {
    /// The grants of each key.
    grants: Mutex<HashMap<String, Grant>>,
    replays: AtomicU64,
    errors: AtomicU64,
}

impl Answers {
    /// Acquires a key, sending the acquire again until it is answered, and completes it if
    /// `completes` is set.
    fn work(&self, engine: &Engine, key: &str, me: &str, completes: bool) {
        let lease_id = LeaseId::random().unwrap();
        let tried = |error: &Error| {
            assert!(is_outage(error), "{error}");
            self.errors.fetch_add(1, Ordering::Relaxed);
        };
        let acquired =
            retry_while_down(|| engine.acquire(key).lease_id(lease_id).ttl(HOUR).wait().inspect_err(tried));
        match acquired {
            Acquisition::Acquired(lease) => {
                let former =
                    self.grants.lock().unwrap().insert(key.to_owned(), (lease.token(), lease_id, None));
                assert!(former.is_none(), "{key} was granted twice");
                assert_eq!(lease.attempt(), 1, "{key}");
                if completes {
                    let result = format!("{me}'s result of {key}");
                    retry_while_down(|| lease.complete(&result).wait().inspect_err(tried));
                    if let Some(grant) = self.grants.lock().unwrap().get_mut(key) {
                        grant.2 = Some(result);
                    }
                } else {
                    // The lease is kept, because dropping it releases it.
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

    /// Compares the answers with the records that a new store returns.
    fn compare(&self, store: &RedisStore) -> (usize, usize) {
        let grants = self.grants.lock().unwrap();
        for (key, (token, lease_id, result)) in &*grants {
            let record = record(store, key).unwrap_or_else(|| panic!("the grant of {key} is lost"));
            assert_eq!(record.token(), *token, "{key}");
            assert!(record.is_held_by(lease_id), "{key} has another holder");
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
