//! A caller that waits for its reply.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lessor_core::store::may_block;
use tokio::io::Interest;

use super::reply::{ReplyResult, ReplySlot};
use super::socket::{EnqueueError, Reader, Socket, WaitMode, continue_or_would_block};

impl Socket {
    /// Queues a request. `encode` appends the bytes of `count` commands. The result is ready with
    /// the last reply, and with the earlier ones if `keeps_earlier`.
    pub(super) fn request(
        &self,
        count: usize,
        keeps_earlier: bool,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<PendingReply<'_>, EnqueueError> {
        let (slot, mode, request) = self.enqueue(count, keeps_earlier, encode)?;
        Ok(PendingReply { socket: self, slot, mode, request })
    }
}

/// A queued request whose reply has not been taken yet.
pub(super) struct PendingReply<'a> {
    pub(super) socket: &'a Socket,
    pub(super) slot: Arc<ReplySlot>,
    pub(super) mode: WaitMode,
    pub(super) request: u64,
}

impl PendingReply<'_> {
    /// Polls on a thread that may block.
    fn poll_blocking(&self, context: &mut Context<'_>) -> Poll<ReplyResult> {
        self.socket.wait_and_read(Reader::Blocking(self.request));
        match self.slot.take() {
            Some(reply) => Poll::Ready(reply),
            None => {
                // The caller's deadline may have passed, so the caller is polled again.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Polls on a runtime that wakes the task when the socket is readable.
    fn poll_task(&self, stream: &tokio::net::TcpStream, context: &mut Context<'_>) -> Poll<ReplyResult> {
        let reader = Reader::Task(self.request);
        // If the runtime has been shut down, the store's thread takes over after a tick.
        while self.socket.is_reader(reader) && matches!(stream.poll_read_ready(context), Poll::Ready(Ok(())))
        {
            let _ = stream.try_io(Interest::READABLE, || continue_or_would_block(self.socket.read(reader)));
            if let Some(reply) = self.slot.take() {
                return Poll::Ready(reply);
            }
        }
        self.poll_slot(context)
    }

    fn poll_slot(&self, context: &mut Context<'_>) -> Poll<ReplyResult> {
        self.slot.take_or_register(context).map_or(Poll::Pending, Poll::Ready)
    }

    fn reader_role(&self) -> Reader {
        match self.mode {
            WaitMode::Wake => Reader::None,
            WaitMode::Block => Reader::Blocking(self.request),
            WaitMode::Task(_) => Reader::Task(self.request),
        }
    }
}

impl Future for PendingReply<'_> {
    type Output = ReplyResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ReplyResult> {
        match &self.mode {
            WaitMode::Wake => {}
            WaitMode::Task(stream) => return self.poll_task(stream, context),
            WaitMode::Block if may_block() && self.socket.is_reader(self.reader_role()) => {
                return self.poll_blocking(context);
            }
            WaitMode::Block => {
                self.socket.release_reader(self.reader_role());
                self.mode = WaitMode::Wake;
            }
        }
        self.poll_slot(context)
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        self.socket.release_reader(self.reader_role());
    }
}
