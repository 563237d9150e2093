//! The part of a connection that runs on the store's thread.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::time::Sleep;

use super::socket::{Reader, Socket, TICK, Writer, continue_or_would_block};

impl Socket {
    /// Reads and writes when the store's thread is the one to do so. Ready once the connection has
    /// ended.
    fn poll_thread(&self, context: &mut Context<'_>, stall: &mut StallDetector) -> Poll<()> {
        loop {
            let mut queue = self.queue.lock();
            if queue.ended.is_some() {
                return Poll::Ready(());
            }
            if queue.is_closed {
                drop(queue);
                self.disconnect(ErrorKind::BrokenPipe);
                return Poll::Ready(());
            }
            if queue.writer == Writer::Thread {
                self.write(queue);
                continue;
            }
            // The reading caller may not be scheduled, or may have been kept without being polled.
            let is_stuck = queue.reader != Reader::Thread && stall.is_stalled(queue.read_count, context);
            if is_stuck && queue.reply_buffer.is_none() {
                continue;
            }
            let is_needed = is_stuck
                || match queue.reader {
                    Reader::None => !queue.in_flight.is_empty(),
                    // The task would deliver the replies of the other callers only once it is
                    // scheduled.
                    Reader::Task(_) => queue.in_flight.len() > 1 && queue.reply_buffer.is_some(),
                    Reader::Blocking(_) | Reader::Thread => false,
                };
            let mut task_stream = None;
            if is_needed {
                queue.reader = Reader::Thread;
                task_stream = queue.task_stream.take();
            }
            if queue.thread_stream.is_none()
                && (queue.reader == Reader::Thread || queue.writer == Writer::Blocked)
            {
                match self.stream.try_clone().and_then(tokio::net::TcpStream::from_std) {
                    Ok(thread_stream) => queue.thread_stream = Some(Arc::new(thread_stream)),
                    Err(error) => {
                        drop(queue);
                        self.disconnect(error.kind());
                        return Poll::Ready(());
                    }
                }
            }
            let (is_reader, is_write_blocked) =
                (queue.reader == Reader::Thread, queue.writer == Writer::Blocked);
            // The waker is stored before the socket is checked, so that no event is missed.
            queue.thread_waker = Some(context.waker().clone());
            let thread_stream = queue.thread_stream.clone();
            drop(queue);
            drop(task_stream);
            let Some(thread_stream) = thread_stream else { return Poll::Pending };
            let mut did_something = false;
            if is_write_blocked && thread_stream.poll_write_ready(context).is_ready() {
                did_something = true;
                let _ = thread_stream.try_io(Interest::WRITABLE, || {
                    // No other party writes while the writer is blocked.
                    self.write(self.queue.lock());
                    continue_or_would_block(self.queue.lock().writer != Writer::Blocked)
                });
            }
            if is_reader && thread_stream.poll_read_ready(context).is_ready() {
                did_something = true;
                // A caller may have become the reader. Then it reads these bytes.
                let _ = thread_stream
                    .try_io(Interest::READABLE, || continue_or_would_block(self.read(Reader::Thread)));
            }
            if !did_something {
                return Poll::Pending;
            }
        }
    }

    /// Runs on the store's thread until the connection has ended.
    pub(super) async fn run(self: Arc<Self>) {
        // Disconnects even if the thread ends before the connection does.
        struct End(Arc<Socket>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.disconnect(ErrorKind::BrokenPipe);
            }
        }
        let end = End(self);
        let mut stall = StallDetector { read_count: 0, sleep: None };
        poll_fn(|context| end.0.poll_thread(context, &mut stall)).await;
    }
}

/// Detects that nothing has been read for one tick.
struct StallDetector {
    read_count: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl StallDetector {
    fn is_stalled(&mut self, read_count: u64, context: &mut Context<'_>) -> bool {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| {
                self.read_count = read_count;
                Box::pin(tokio::time::sleep(TICK))
            });
            if sleep.as_mut().poll(context).is_pending() {
                return false;
            }
            self.sleep = None;
            if self.read_count == read_count {
                return true;
            }
        }
    }
}
