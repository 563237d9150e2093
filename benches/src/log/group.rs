//! Group commit in two ways: the first caller commits for all, or a separate thread does.
//!
//! No lock is held during disk operations. All callers that wait for a batch share one condition
//! variable, because waking them one by one costs more than the sync. Before it writes, the
//! committer yields as long as its batch grows towards the size of the last one: the callers that
//! it has just woken are about to join it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex as StdMutex, MutexGuard as StdMutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use parking_lot::{Mutex, MutexGuard};

use super::disk::LogFile;

/// A way to commit.
pub(super) trait Commit: Send + Sync + 'static {
    fn new(file: LogFile) -> Self;

    fn group(&self) -> &Group;

    /// Adds `frame` to the next batch.
    fn stage(&self, frame: impl FnOnce(&mut Vec<u8>)) -> Ticket;

    /// Waits until the ticket's batch is on the disk.
    fn settle(&self, ticket: Ticket) -> impl Future<Output = ()> + Send;
}

/// The frames of the next commit.
pub(super) struct Group {
    queue: Mutex<Queue>,
    more: parking_lot::Condvar,
    file: Mutex<LogFile>,
    /// The number of the last frame that is on the disk.
    durable: AtomicU64,
}

struct Queue {
    bytes: Vec<u8>,
    spare: Vec<u8>,
    batch: Arc<Batch>,
    staged: u64,
    count: u64,
    /// The number of frames in the last batch.
    last: u64,
    /// True while a caller leads, or is about to.
    led: bool,
    stopping: bool,
}

#[derive(Default)]
struct Batch {
    waiting: StdMutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    step: Step,
    wakers: Vec<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Step {
    #[default]
    Waits,
    /// One of the waiting callers must become the leader.
    WantsLeader,
    Done,
}

/// A frame's place in a batch.
pub(super) struct Ticket {
    batch: Arc<Batch>,
    leads: bool,
    pub(super) number: u64,
}

impl Group {
    fn new(file: LogFile) -> Self {
        let queue = Queue {
            bytes: Vec::new(),
            spare: Vec::new(),
            batch: Arc::default(),
            staged: 0,
            count: 0,
            last: 0,
            led: false,
            stopping: false,
        };
        Self {
            queue: Mutex::new(queue),
            more: parking_lot::Condvar::new(),
            file: Mutex::new(file),
            durable: AtomicU64::new(0),
        }
    }

    /// Returns whether the frame with this number is on the disk.
    pub(super) fn is_durable(&self, number: u64) -> bool {
        self.durable.load(Ordering::Acquire) >= number
    }

    fn stage(&self, frame: impl FnOnce(&mut Vec<u8>)) -> (MutexGuard<'_, Queue>, Ticket) {
        let mut queue = self.queue.lock();
        frame(&mut queue.bytes);
        queue.staged += 1;
        queue.count += 1;
        let ticket = Ticket { batch: queue.batch.clone(), leads: false, number: queue.staged };
        (queue, ticket)
    }

    /// Commits the queue. Returns before the callers that wait for the batch are notified.
    fn commit<'g>(&'g self, mut queue: MutexGuard<'g, Queue>) -> (MutexGuard<'g, Queue>, Arc<Batch>) {
        let mut had = queue.count;
        while had < queue.last {
            MutexGuard::unlocked(&mut queue, std::thread::yield_now);
            if queue.count == had {
                break;
            }
            had = queue.count;
        }
        let spare = std::mem::take(&mut queue.spare);
        let mut bytes = std::mem::replace(&mut queue.bytes, spare);
        let batch = std::mem::take(&mut queue.batch);
        queue.last = std::mem::take(&mut queue.count);
        let staged = queue.staged;
        MutexGuard::unlocked(&mut queue, || self.file.lock().append(&bytes));
        self.durable.store(staged, Ordering::Release);
        bytes.clear();
        queue.spare = bytes;
        (queue, batch)
    }
}

impl Batch {
    fn lock(&self) -> StdMutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no thread panics while it holds this lock")
    }

    fn finish(&self) {
        let mut waiting = self.lock();
        waiting.step = Step::Done;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        self.changed.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }

    fn call_leader(&self) {
        self.lock().step = Step::WantsLeader;
        self.changed.notify_one();
    }

    /// Returns true if the caller must become the leader.
    fn wait(&self) -> bool {
        let mut waiting = self.lock();
        loop {
            match waiting.step {
                Step::Done => return false,
                Step::WantsLeader => {
                    waiting.step = Step::Waits;
                    return true;
                }
                Step::Waits => {
                    waiting = self.changed.wait(waiting).expect("no thread panics while it holds this lock")
                }
            }
        }
    }
}

/// For [`Writer`] only: a future cannot become the leader.
impl Future for Ticket {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.batch.lock();
        if waiting.step == Step::Done {
            return Poll::Ready(());
        }
        waiting.wakers.push(context.waker().clone());
        Poll::Pending
    }
}

/// The first caller commits for all. For threads, since it blocks.
pub(super) struct Leader(Group);

impl Leader {
    fn lead(&self) {
        let (mut queue, batch) = self.0.commit(self.0.queue.lock());
        let next = (queue.count > 0).then(|| queue.batch.clone());
        queue.led = next.is_some();
        drop(queue);
        batch.finish();
        if let Some(next) = next {
            next.call_leader();
        }
    }
}

impl Commit for Leader {
    fn new(file: LogFile) -> Self {
        Self(Group::new(file))
    }

    fn group(&self) -> &Group {
        &self.0
    }

    fn stage(&self, frame: impl FnOnce(&mut Vec<u8>)) -> Ticket {
        let (mut queue, mut ticket) = self.0.stage(frame);
        ticket.leads = !std::mem::replace(&mut queue.led, true);
        ticket
    }

    async fn settle(&self, ticket: Ticket) {
        if ticket.leads || ticket.batch.wait() {
            self.lead();
        }
    }
}

/// A separate thread commits for all. For tasks.
pub(super) struct Writer {
    group: Arc<Group>,
    thread: Option<JoinHandle<()>>,
}

impl Commit for Writer {
    fn new(file: LogFile) -> Self {
        let group = Arc::new(Group::new(file));
        let thread = std::thread::spawn({
            let group = group.clone();
            move || write_all(&group)
        });
        Self { group, thread: Some(thread) }
    }

    fn group(&self) -> &Group {
        &self.group
    }

    fn stage(&self, frame: impl FnOnce(&mut Vec<u8>)) -> Ticket {
        let (queue, ticket) = self.group.stage(frame);
        let is_first = queue.count == 1;
        drop(queue);
        if is_first {
            self.group.more.notify_one();
        }
        ticket
    }

    async fn settle(&self, ticket: Ticket) {
        ticket.await;
    }
}

fn write_all(group: &Group) {
    let mut queue = group.queue.lock();
    loop {
        while queue.count == 0 {
            if queue.stopping {
                return;
            }
            group.more.wait(&mut queue);
        }
        let (mut rest, batch) = group.commit(queue);
        MutexGuard::unlocked(&mut rest, || batch.finish());
        queue = rest;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.group.queue.lock().stopping = true;
        self.group.more.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the writer ends");
        }
    }
}
