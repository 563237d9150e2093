use loom::future::block_on;
use loom::thread;

use crate::board::{Board, Meaning, Post, Sight};
use crate::sync::{Arc, AtomicUsize, Ordering};

/// What the model's store holds: a number that grows with every write, of which some are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen(usize);

const HELD: usize = 0;
const FREE: usize = 1;
const DONE: usize = 2;

impl Sight for Seen {
    fn meaning(&self) -> Meaning {
        match self.0 {
            FREE => Meaning::Free,
            DONE => Meaning::Settled,
            _ => Meaning::Busy,
        }
    }

    fn is_older_than(&self, other: &Self) -> bool {
        self.0 < other.0
    }
}

type Model = Board<&'static str, Seen, ()>;

const KEY: &str = "key";

/// The store, with no more ordering than a lock's release and acquire give it.
#[derive(Clone)]
struct Store(Arc<AtomicUsize>);

impl Store {
    fn read(&self) -> Seen {
        Seen(self.0.load(Ordering::Acquire))
    }

    fn write(&self, board: &Model, value: usize) {
        self.0.store(value, Ordering::Release);
        board.written(&KEY, || Seen(value));
    }
}

fn model(check: impl Fn(Arc<Model>, Store) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Two switches away from a running thread find what a human would overlook; the environment can ask for more.
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(move || {
        let store = Store(Arc::new(AtomicUsize::new(HELD)));
        check(Arc::new(Model::default()), store);
    });
}

/// One look of the reader, as the first who waits starts it.
fn first_look(store: &Store) -> impl FnOnce(&Arc<Post<Seen>>) + '_ {
    |post| post.put(store.read())
}

#[test]
fn no_wake_up_is_lost_between_the_first_look_and_the_write() {
    model(|board, store| {
        let writer = {
            let (board, store) = (board.clone(), store.clone());
            thread::spawn(move || store.write(&board, DONE))
        };
        let post = board.join(&KEY, first_look(&store));
        // Were the wake-up lost, nobody would be left to wake this, which the model reports as a deadlock.
        assert_eq!(block_on(post.ended(|seen| *seen)), Seen(DONE));
        board.leave(&KEY);
        writer.join().unwrap();
    });
}

#[test]
fn a_late_look_does_not_hide_a_newer_write() {
    model(|board, store| {
        let post = board.join(&KEY, |_| ());
        let reader = {
            let (post, store) = (post.clone(), store.clone());
            thread::spawn(move || post.put(store.read()))
        };
        store.write(&board, DONE);
        reader.join().unwrap();
        assert_eq!(post.look(|seen| seen.copied()), Some(Seen(DONE)));
    });
}

#[test]
fn p1_one_of_two_contenders_at_a_time_has_the_turn_and_each_gets_it() {
    model(|board, store| {
        let trying = Arc::new(AtomicUsize::new(0));
        let post = board.join(&KEY, |_| ());
        store.write(&board, FREE);
        let contend = |post: Arc<Post<Seen>>, store: Store, trying: Arc<AtomicUsize>| {
            let baton = block_on(Post::turn(&post, |_| None::<()>)).err().unwrap();
            assert_eq!(trying.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
            trying.fetch_sub(1, Ordering::SeqCst);
            drop(baton);
            // The kick that dropping it gives has the reader look again.
            post.put(store.read());
        };
        let twin = {
            let (post, store, trying) = (post.clone(), store.clone(), trying.clone());
            thread::spawn(move || contend(post, store, trying))
        };
        contend(post, store, trying);
        twin.join().unwrap();
    });
}

#[test]
fn a_waiter_that_leaves_does_not_take_the_post_of_another_with_it() {
    model(|board, store| {
        let passer_by = {
            let (board, store) = (board.clone(), store.clone());
            thread::spawn(move || {
                let _post = board.join(&KEY, first_look(&store));
                board.leave(&KEY);
            })
        };
        let post = board.join(&KEY, first_look(&store));
        store.write(&board, DONE);
        assert_eq!(block_on(post.ended(|seen| *seen)), Seen(DONE));
        board.leave(&KEY);
        passer_by.join().unwrap();
        assert_eq!(board.watched(), 0);
    });
}
