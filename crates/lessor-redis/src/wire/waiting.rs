//! A request that was put on a connection, and its answer.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lessor_core::store::may_block;
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

/// Where an answer is put, and whoever waits for it.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<(Option<Answer>, Option<Waker>)>);

impl Slot {
    pub(super) fn fill(&self, answer: Answer) -> Option<Waker> {
        let mut slot = self.0.lock();
        slot.0 = Some(answer);
        slot.1.take()
    }

    pub(super) fn take(&self) -> Option<Answer> {
        self.0.lock().0.take()
    }

    fn take_or_wait(&self, waker: &Waker) -> Option<Answer> {
        let mut slot = self.0.lock();
        let answer = slot.0.take();
        if answer.is_none() && !slot.1.as_ref().is_some_and(|there| there.will_wake(waker)) {
            slot.1 = Some(waker.clone());
        }
        answer
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
        self.slot.take_or_wait(context.waker()).map_or(Poll::Pending, Poll::Ready)
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
