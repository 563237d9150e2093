//! A request that was put on a connection, and its answer.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use lessor_core::store::{CallerWaker, may_block};
use parking_lot::Mutex;
use redis::Value;
use tokio::io::Interest;

use super::line::{Leader, Line, Part};
use super::thread::done_if;

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(super) struct Answered {
    /// All but the last, if they were asked for.
    pub(super) former: Vec<Value>,
    pub(super) last: Value,
}

pub(super) type Answer = Result<Answered, ErrorKind>;

/// An answer, and its share of what all take together.
type Held = (Answer, Option<Share>);

/// Where an answer is put, and whoever waits for it.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<(Option<Held>, Option<CallerWaker>)>);

impl Slot {
    pub(super) fn fill(&self, answer: Answer, share: Option<Share>) -> Option<CallerWaker> {
        let mut slot = self.0.lock();
        slot.0 = Some((answer, share));
        slot.1.take()
    }

    pub(super) fn take(&self) -> Option<Answer> {
        self.0.lock().0.take().map(|(answer, _)| answer)
    }

    fn take_or_wait(&self, context: &Context<'_>) -> Option<Answer> {
        let mut slot = self.0.lock();
        if let Some((answer, _)) = slot.0.take() {
            return Some(answer);
        }
        if slot.1.as_ref().is_some_and(|there| there.is_of(context)) {
            return None;
        }
        drop(slot);
        // To clone a waker and to drop one are a caller's code: none of it runs under the lock.
        let waker = CallerWaker::of(context);
        let mut slot = self.0.lock();
        if let Some((answer, _)) = slot.0.take() {
            return Some(answer);
        }
        let former = slot.1.replace(waker);
        drop(slot);
        drop(former);
        None
    }
}

/// Up to this size an answer does not count: there are only so many.
const SMALL: usize = 4 << 10;
/// How many bytes all answers may have together that nobody has taken yet. A single one may have more.
const MOST: usize = 64 << 20;

/// How many bytes the answers have that nobody has taken yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Untaken(Arc<AtomicUsize>);

/// What one of them has.
#[derive(Debug)]
pub(super) struct Share {
    all: Untaken,
    bytes: usize,
}

impl Untaken {
    /// The answer as it may be kept: an error if there is no room for it.
    pub(super) fn admit(&self, answer: Answer) -> Held {
        let bytes = answer.as_ref().map_or(0, Answered::size);
        if bytes <= SMALL {
            return (answer, None);
        }
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let share = Share { all: self.clone(), bytes };
        if before > 0 && before.saturating_add(bytes) > MOST {
            return (Err(ErrorKind::OutOfMemory), None);
        }
        (answer, Some(share))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Answered {
    fn size(&self) -> usize {
        self.former.iter().map(size).sum::<usize>() + size(&self.last)
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.len(),
        Value::Array(values) | Value::Set(values) => values.iter().map(|value| size(value) + 64).sum(),
        Value::Map(pairs) => pairs.iter().map(|(name, value)| size(name) + size(value) + 128).sum(),
        _ => 0,
    }
}

/// One that waits for so many values.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: Arc<Slot>,
    pub(super) left: usize,
    pub(super) former: Vec<Value>,
    pub(super) keeps_former: bool,
}

/// A request that was put there.
pub(super) struct Waiting<'a> {
    pub(super) line: &'a Line,
    pub(super) slot: Arc<Slot>,
    pub(super) part: Part,
    pub(super) number: u64,
}

impl Waiting<'_> {
    /// As one whose thread has nothing else to do.
    fn poll_blocking(&self, context: &mut Context<'_>) -> Poll<Answer> {
        self.line.read_once_there(Leader::Blocking(self.number));
        match self.slot.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                // Its time may be over.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// As one whose runtime wakes it when there is something to read.
    fn poll_task(&self, socket: &tokio::net::TcpStream, context: &mut Context<'_>) -> Poll<Answer> {
        let leader = Leader::Task(self.number);
        // If the runtime has ended, the store's thread leads before long.
        while self.line.is_led_by(leader) && matches!(socket.poll_read_ready(context), Poll::Ready(Ok(()))) {
            let _ = socket.try_io(Interest::READABLE, || done_if(self.line.read(leader)));
            if let Some(answer) = self.slot.take() {
                return Poll::Ready(answer);
            }
        }
        self.poll_slot(context)
    }

    fn poll_slot(&self, context: &mut Context<'_>) -> Poll<Answer> {
        self.slot.take_or_wait(context).map_or(Poll::Pending, Poll::Ready)
    }

    fn leader(&self) -> Leader {
        match self.part {
            Part::Wait => Leader::Nobody,
            Part::Block => Leader::Blocking(self.number),
            Part::Task(_) => Leader::Task(self.number),
        }
    }
}

impl Future for Waiting<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match &self.part {
            Part::Wait => {}
            Part::Task(socket) => return self.poll_task(socket, context),
            Part::Block if may_block() && self.line.is_led_by(self.leader()) => {
                return self.poll_blocking(context);
            }
            Part::Block => {
                self.line.follow(self.leader());
                self.part = Part::Wait;
            }
        }
        self.poll_slot(context)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.line.follow(self.leader());
    }
}
