//! What the store's thread does for a connection.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::time::Sleep;

use super::line::{Leader, Line, TICK, Writer};

impl Line {
    /// What the store's thread does for the connection. Is ready once that has ended.
    fn poll_thread(&self, context: &mut Context<'_>, idle: &mut Idle) -> Poll<()> {
        loop {
            let mut queue = self.queue.lock();
            if queue.over.is_some() {
                return Poll::Ready(());
            }
            if queue.is_closed {
                drop(queue);
                self.end(ErrorKind::BrokenPipe);
                return Poll::Ready(());
            }
            if queue.writer == Writer::Thread {
                self.write(queue);
                continue;
            }
            // One that shall lead may not be run, or be kept and not be polled any more.
            let is_stuck = queue.leader != Leader::Thread && idle.is_over(queue.reads, context);
            if is_stuck && queue.reading.is_none() {
                continue;
            }
            let is_needed = is_stuck
                || match queue.leader {
                    Leader::Nobody => !queue.waiting.is_empty(),
                    // What it reads, others would have only once it is run.
                    Leader::Task(_) => queue.waiting.len() > 1 && queue.reading.is_some(),
                    Leader::Blocking(_) | Leader::Thread => false,
                };
            let mut theirs = None;
            if is_needed {
                queue.leader = Leader::Thread;
                theirs = queue.theirs.take();
            }
            if queue.armed.is_none() && (queue.leader == Leader::Thread || queue.writer == Writer::Blocked) {
                match self.socket.try_clone().and_then(tokio::net::TcpStream::from_std) {
                    Ok(armed) => queue.armed = Some(Arc::new(armed)),
                    Err(error) => {
                        drop(queue);
                        self.end(error.kind());
                        return Poll::Ready(());
                    }
                }
            }
            let (is_leader, is_blocked) = (queue.leader == Leader::Thread, queue.writer == Writer::Blocked);
            // Before it is looked whether there is anything to do, so that nothing is missed.
            queue.thread = Some(context.waker().clone());
            let armed = queue.armed.clone();
            drop(queue);
            drop(theirs);
            let Some(armed) = armed else { return Poll::Pending };
            let mut did_something = false;
            if is_blocked && armed.poll_write_ready(context).is_ready() {
                did_something = true;
                let _ = armed.try_io(Interest::WRITABLE, || {
                    // Nobody else writes meanwhile.
                    self.write(self.queue.lock());
                    done_if(self.queue.lock().writer != Writer::Blocked)
                });
            }
            if is_leader && armed.poll_read_ready(context).is_ready() {
                did_something = true;
                // It may be a caller that leads by now, and reads it.
                let _ = armed.try_io(Interest::READABLE, || done_if(self.read(Leader::Thread)));
            }
            if !did_something {
                return Poll::Pending;
            }
        }
    }

    /// Does what the store's thread does for the connection, until that has ended.
    pub(super) async fn drive(self: Arc<Self>) {
        // The thread may end first.
        struct End(Arc<Line>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.end(ErrorKind::BrokenPipe);
            }
        }
        let end = End(self);
        let mut idle = Idle { reads: 0, sleep: None };
        poll_fn(|context| end.0.poll_thread(context, &mut idle)).await;
    }
}

/// What the runtime takes for having found all that there was, if not.
pub(super) fn done_if(is_more: bool) -> io::Result<()> {
    if is_more { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
}

/// Notices that nothing was read in a while.
struct Idle {
    reads: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    fn is_over(&mut self, reads: u64, context: &mut Context<'_>) -> bool {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| {
                self.reads = reads;
                Box::pin(tokio::time::sleep(TICK))
            });
            if sleep.as_mut().poll(context).is_pending() {
                return false;
            }
            self.sleep = None;
            if self.reads == reads {
                return true;
            }
        }
    }
}
