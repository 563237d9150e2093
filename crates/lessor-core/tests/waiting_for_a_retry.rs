//! A waiter with a retry policy kept a core busy. It saw a failure, tried to acquire the key, found
//! that another engine's holder was faster, and checked the same reading again, until its reader's
//! next poll. It has to wait for another reading instead.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lessor_core::store::{CasResult, ChangeNotifier, ConditionalWrite, Reply, Snapshot};
use lessor_core::{
    Acquisition, Backoff, Engine, Key, Lease, OnFailed, Pending, Record, Settings, Stage, Store,
};
use lessor_memory::MemoryStore;
use lessor_testkit::{Retrying, SwapLayer, swap};

const KEY: &str = "key";
const RETRY: OnFailed = OnFailed::Retry { max_attempts: 10, backoff: Backoff::NONE };

type Hook = Box<dyn FnOnce() + Send>;

/// Keeps the hints for its engines until the test sends them, counts requests for the state of the
/// key, and runs an action after a failed record was read.
struct Watched {
    records: Arc<dyn Store>,
    notifier: Mutex<Vec<ChangeNotifier>>,
    asked: AtomicUsize,
    after_failure: Mutex<Option<Hook>>,
}

impl Watched {
    fn store() -> Arc<Retrying<Self>> {
        let (notifier, asked, after_failure) = (Mutex::default(), AtomicUsize::new(0), Mutex::default());
        let records = Arc::new(MemoryStore::new());
        Arc::new(Retrying::over(Self { records, notifier, asked, after_failure }))
    }

    fn tell(&self) {
        let notifier = self.notifier.lock().unwrap().clone();
        notifier.iter().for_each(|notifier| notifier.key_changed(&Key::new(KEY).unwrap()));
    }
}

impl SwapLayer for Watched {
    fn below(&self) -> &Arc<dyn Store> {
        &self.records
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let seen = self.records.load(key).wait();
        let failed = |seen: &Snapshot| seen.record.as_ref().map(Record::stage) == Some(Stage::Failed);
        if seen.as_ref().is_ok_and(failed) {
            let hook = self.after_failure.lock().unwrap().take();
            if let Some(hook) = hook {
                hook();
            }
        }
        Pending::ready(seen)
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        swap(&*self.records, key, change)
    }

    fn subscribe(&self, notifier: ChangeNotifier) {
        self.notifier.lock().unwrap().push(notifier);
    }
}

fn acquire(engine: &Engine) -> Lease {
    match engine.acquire(KEY).on_failed(RETRY).wait().unwrap() {
        Acquisition::Acquired(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the fault would show in whatever time passes")]
fn pause(time: Duration) {
    thread::sleep(time);
}

#[test]
fn a_waiter_with_a_retry_policy_waits_for_another_reading_when_another_engine_was_faster() {
    let store = Watched::store();
    let mut settings = Settings::default();
    // Without polling, so that every request is caused by an event.
    settings.schedule.poll_every = Duration::from_secs(5);
    let open = || Engine::with_settings(store.clone(), settings.clone()).unwrap();
    let (ours, theirs) = (open(), open());

    let first = acquire(&theirs);
    let waiter = thread::spawn(move || {
        ours.once(KEY).on_failed(RETRY).run(|_lease| Ok::<_, String>("ours".to_owned())).unwrap().into_value()
    });
    // The waiter's first reading is done.
    while store.asked.load(Ordering::SeqCst) < 3 {
        pause(Duration::from_millis(1));
    }
    // The first attempt fails, and the other engine begins the second directly after the reader has
    // seen that.
    let second = Arc::new(Mutex::new(None));
    let (slot, engine) = (Arc::clone(&second), theirs.clone());
    *store.after_failure.lock().unwrap() =
        Some(Box::new(move || *slot.lock().unwrap() = Some(acquire(&engine))));
    first.fail("no luck").wait().unwrap();
    store.tell();
    let second = loop {
        if let Some(lease) = second.lock().unwrap().take() {
            break lease;
        }
        pause(Duration::from_millis(1));
    };
    pause(Duration::from_millis(200));
    let asked = store.asked.load(Ordering::SeqCst);

    second.complete("theirs").wait().unwrap();
    store.tell();
    assert_eq!(waiter.join().unwrap(), "theirs");
    assert!(asked < 30, "asked {asked} times how the key stands");
}
