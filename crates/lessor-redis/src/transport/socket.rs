//! A TCP connection that is shared by all callers.
//!
//! Requests are pipelined: they are queued in one order, and so are the callers that wait for the
//! replies. One party writes at a time: a caller that has repeatedly found the connection idle, or
//! else the store's thread, which writes all requests that have gathered.
//!
//! One party reads at a time, and delivers the replies to the callers. While there is a single
//! caller, that caller reads, if its thread may block or if its runtime can wake it. Otherwise the
//! store's thread reads. So a single caller waits for no other thread. A caller may stop polling at
//! any time, so the store's thread checks at intervals that something is still being read.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use event_listener::Event;
use lessor_core::store::{Notifier, may_block};
use parking_lot::{Mutex, MutexGuard};
use redis::PushInfo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::runtime::Handle;

use super::reply::{InFlight, ReplySlot};
use super::reply_buffer::ReplyBuffer;
use super::wake::{via_notifier, wake_thread};

/// The maximum number of requests in flight, including those whose callers have given up.
const MAX_IN_FLIGHT: usize = 64 << 10;
/// The number of unsent bytes from which on no request is added.
const MAX_UNSENT: usize = 4 << 20;
/// The maximum length of a reply until the server has been checked. The longest such reply is the
/// map of a cluster, about 2 MiB.
const MAX_REPLY_BEFORE_CHECK: usize = 8 << 20;
/// The capacity that an empty buffer keeps.
const MAX_IDLE_CAPACITY: usize = 256 << 10;
/// The number of consecutive requests that must find the connection idle before a caller reads and
/// writes itself. Taking and returning these roles costs more than a single request saves, and a
/// few concurrent callers miss each other now and then.
pub(super) const SOLO_STREAK: u32 = 16;
/// The time for which a reading caller blocks before it checks its deadline, and after which the
/// store's thread reads if no caller does.
pub(super) const TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    None,
    Caller,
    Thread,
    /// The store's thread, once the socket accepts more bytes.
    Blocked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    None,
    /// The caller with this request number, on a thread that it may block.
    Blocking(u64),
    /// The caller with this request number, on a runtime that wakes it.
    Task(u64),
    Thread,
}

/// The way in which a caller waits for its reply: woken by another reader, reading on its blocked
/// thread, or reading in its task.
pub(super) enum WaitMode {
    Wake,
    Block,
    Task(Arc<tokio::net::TcpStream>),
}

pub(super) struct Queue {
    pub(super) outgoing: Vec<u8>,
    /// The bytes that are being written, and the number of them that are written already.
    pub(super) partial: (Vec<u8>, usize),
    pub(super) writer: Writer,
    pub(super) in_flight: VecDeque<InFlight>,
    pub(super) reader: Reader,
    /// Taken by the reader while it reads.
    pub(super) reply_buffer: Option<Box<ReplyBuffer>>,
    /// The socket, registered with the runtime of the store's thread. Present while that thread
    /// reads, or waits to write.
    pub(super) thread_stream: Option<Arc<tokio::net::TcpStream>>,
    /// The socket, registered with the application's runtime. Present while callers on that runtime
    /// read, one after the other.
    pub(super) task_stream: Option<Arc<tokio::net::TcpStream>>,
    /// The number of consecutive requests that found no other request in flight.
    pub(super) solo_streak: u32,
    pub(super) request_count: u64,
    /// The number of reads so far.
    pub(super) read_count: u64,
    pub(super) thread_waker: Option<Waker>,
    /// The reason why the connection has ended.
    pub(super) ended: Option<ErrorKind>,
    /// True if no caller will send a request any more.
    pub(super) is_closed: bool,
}

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) queue: Mutex<Queue>,
    /// Notified when there is room for more requests.
    room: Event,
    /// The application's runtime, whose tasks may read.
    runtime: Option<Handle>,
    notifier: Notifier,
    /// The maximum length of a reply.
    max_reply_len: AtomicUsize,
    on_push: Box<dyn Fn(&PushInfo) + Send + Sync>,
    on_disconnect: Box<dyn Fn() + Send + Sync>,
}

/// The reason why a request was not queued. It has not been sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EnqueueError {
    Full,
    Disconnected(ErrorKind),
}

impl Socket {
    /// Creates a connection from a stream with no bytes in transit.
    pub(super) fn new(
        stream: TcpStream,
        runtime: Option<Handle>,
        notifier: Notifier,
        on_push: impl Fn(&PushInfo) + Send + Sync + 'static,
        on_disconnect: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let queue = Queue {
            outgoing: Vec::new(),
            partial: (Vec::new(), 0),
            writer: Writer::None,
            in_flight: VecDeque::new(),
            reader: Reader::None,
            reply_buffer: Some(Box::new(ReplyBuffer::new())),
            thread_stream: None,
            task_stream: None,
            solo_streak: 0,
            request_count: 0,
            read_count: 0,
            thread_waker: None,
            ended: None,
            is_closed: false,
        };
        Ok(Self {
            stream,
            queue: Mutex::new(queue),
            room: Event::new(),
            runtime,
            notifier,
            max_reply_len: AtomicUsize::new(MAX_REPLY_BEFORE_CHECK),
            on_push: Box::new(on_push),
            on_disconnect: Box::new(on_disconnect),
        })
    }

    /// Queues a request. `encode` appends its bytes. Returns the slot for the reply, the way to
    /// wait for it, and the request's number.
    pub(super) fn enqueue(
        &self,
        count: usize,
        keeps_earlier: bool,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(Arc<ReplySlot>, WaitMode, u64), EnqueueError> {
        let slot = Arc::new(ReplySlot::default());
        let mut queue = self.queue.lock();
        if let Some(kind) = queue.ended {
            return Err(EnqueueError::Disconnected(kind));
        }
        if queue.in_flight.len() >= MAX_IN_FLIGHT || queue.outgoing.len() >= MAX_UNSENT {
            return Err(EnqueueError::Full);
        }
        encode(&mut queue.outgoing);
        let entry =
            InFlight { slot: Arc::clone(&slot), remaining: count, earlier: Vec::new(), keeps_earlier };
        queue.in_flight.push_back(entry);
        queue.request_count += 1;
        queue.solo_streak = if queue.in_flight.len() == 1 { queue.solo_streak.saturating_add(1) } else { 0 };
        let request = queue.request_count;
        let reader_before = queue.reader;
        let mode = self.choose_wait_mode(&mut queue);
        let thread_stream = match mode {
            WaitMode::Wake => None,
            // The store's thread has to check at intervals whether the caller reads.
            _ => queue.thread_stream.take(),
        };
        let is_free = queue.writer == Writer::None;
        let writes = is_free && queue.solo_streak >= SOLO_STREAK;
        if is_free {
            queue.writer = if writes { Writer::Caller } else { Writer::Thread };
        }
        let wakes_thread = match (&mode, reader_before) {
            (WaitMode::Wake, Reader::None | Reader::Task(_)) => true,
            (WaitMode::Block | WaitMode::Task(_), Reader::Thread) => true,
            _ => is_free && !writes,
        };
        let to_wake = if wakes_thread { queue.thread_waker.take() } else { None };
        match writes {
            true => self.write(queue),
            false => drop(queue),
        }
        drop(thread_stream);
        to_wake.into_iter().for_each(wake_thread);
        Ok((slot, mode, request))
    }

    /// Waits until there may be room for another request.
    pub(super) async fn wait_for_room(&self) {
        let room = self.room.listen();
        let is_full = {
            let queue = self.queue.lock();
            queue.ended.is_none()
                && (queue.in_flight.len() >= MAX_IN_FLIGHT || queue.outgoing.len() >= MAX_UNSENT)
        };
        if is_full {
            via_notifier(&self.notifier, room).await;
        }
    }

    /// Writes the queued bytes. The caller must have set `queue.writer`.
    pub(super) fn write<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) {
        loop {
            let (mut bytes, mut at) = mem::take(&mut queue.partial);
            if at == bytes.len() {
                (bytes, at) = (mem::replace(&mut queue.outgoing, bytes), 0);
                queue.outgoing.clear();
                queue.outgoing.shrink_to(MAX_IDLE_CAPACITY);
            }
            if bytes.is_empty() {
                queue.partial = (bytes, 0);
                queue.writer = Writer::None;
                return;
            }
            drop(queue);
            let outcome = self.send(&bytes, &mut at);
            if outcome.is_ok() {
                self.room.notify(usize::MAX);
            }
            queue = self.queue.lock();
            queue.partial = (bytes, at);
            match outcome {
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    queue.writer = Writer::Blocked;
                    let to_wake = queue.thread_waker.take();
                    drop(queue);
                    to_wake.into_iter().for_each(wake_thread);
                    return;
                }
                Err(error) => {
                    drop(queue);
                    self.disconnect(io::Error::from(error).kind());
                    return;
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], at: &mut usize) -> Result<(), Errno> {
        while let Some(rest) = bytes.get(*at..).filter(|rest| !rest.is_empty()) {
            match send(&self.stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => *at += sent,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Chooses how the caller of the last request waits, and makes it the reader if it is to read.
    fn choose_wait_mode(&self, queue: &mut Queue) -> WaitMode {
        let is_solo = queue.in_flight.len() == 1 && queue.solo_streak >= SOLO_STREAK;
        let is_free = match queue.reader {
            Reader::None => true,
            Reader::Thread => is_solo,
            Reader::Blocking(_) | Reader::Task(_) => false,
        };
        // A reader that is in the middle of a read would not notice that it has been replaced.
        if !is_free || queue.reply_buffer.is_none() {
            return WaitMode::Wake;
        }
        if may_block() {
            queue.reader = Reader::Blocking(queue.request_count);
            return WaitMode::Block;
        }
        match self.task_stream_here(queue).filter(|_| is_solo) {
            Some(task_stream) => {
                queue.reader = Reader::Task(queue.request_count);
                WaitMode::Task(task_stream)
            }
            None => WaitMode::Wake,
        }
    }

    /// Returns the socket registered with the current runtime, if that is the one whose tasks may
    /// read.
    fn task_stream_here(&self, queue: &mut Queue) -> Option<Arc<tokio::net::TcpStream>> {
        let runtime = self.runtime.as_ref()?;
        if !Handle::try_current().is_ok_and(|current| current.id() == runtime.id()) {
            return None;
        }
        if queue.task_stream.is_none() {
            // Another runtime may have been given the same id after the runtime was dropped.
            let _entered = runtime.enter();
            let task_stream = self.stream.try_clone().and_then(tokio::net::TcpStream::from_std);
            queue.task_stream = task_stream.ok().map(Arc::new);
        }
        queue.task_stream.clone()
    }

    pub(super) fn is_reader(&self, reader: Reader) -> bool {
        self.queue.lock().reader == reader
    }

    /// Ends a caller's role as the reader.
    pub(super) fn release_reader(&self, role: Reader) {
        if role == Reader::None {
            return;
        }
        let mut queue = self.queue.lock();
        // The store's thread may have taken over.
        if queue.reader != role {
            return;
        }
        queue.reader = Reader::None;
        let to_wake = if queue.in_flight.is_empty() { None } else { queue.thread_waker.take() };
        drop(queue);
        to_wake.into_iter().for_each(wake_thread);
    }

    /// Reads and delivers what has been received, if the role is still that of the reader. Returns
    /// whether more bytes may be available.
    pub(super) fn read(&self, reader: Reader) -> bool {
        let reply_buffer = {
            let mut queue = self.queue.lock();
            if queue.reader == reader { queue.reply_buffer.take() } else { None }
        };
        let Some(mut reply_buffer) = reply_buffer else { return false };
        let read = loop {
            match recv(&self.stream, reply_buffer.read_space(), RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                Ok((read, _)) => break Ok(read),
                Err(error) => break Err(error),
            }
        };
        let (outcome, is_more) = match read {
            Ok(0) => (Err(ErrorKind::BrokenPipe), false),
            Ok(read) => (
                reply_buffer.parse(read, self.max_reply_len.load(Ordering::Relaxed)),
                read == reply_buffer.read_space().len(),
            ),
            Err(Errno::AGAIN) => (Ok(()), false),
            Err(error) => (Err(io::Error::from(error).kind()), false),
        };
        let mut queue = self.queue.lock();
        let outcome = outcome.and_then(|()| reply_buffer.assign(&mut queue.in_flight));
        let has_room = queue.in_flight.len() < MAX_IN_FLIGHT;
        drop(queue);
        reply_buffer.deliver(&self.notifier, &*self.on_push);
        let mut queue = self.queue.lock();
        queue.reply_buffer = Some(reply_buffer);
        queue.read_count += 1;
        let to_wake = match queue.reader {
            Reader::Task(_) if !queue.in_flight.is_empty() => queue.thread_waker.take(),
            _ => None,
        };
        drop(queue);
        to_wake.into_iter().for_each(wake_thread);
        if has_room {
            self.room.notify(usize::MAX);
        }
        if let Err(kind) = outcome {
            self.disconnect(kind);
        }
        is_more
    }

    /// Waits for up to one tick until something is received, and reads it.
    pub(super) fn wait_and_read(&self, reader: Reader) {
        let limit = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        if poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&limit)) != Ok(0) {
            self.read(reader);
        }
    }

    /// Ends the connection and delivers an error to every waiting caller.
    pub(super) fn disconnect(&self, kind: ErrorKind) {
        let mut queue = self.queue.lock();
        if queue.ended.is_some() {
            return;
        }
        queue.ended = Some(kind);
        let is_closed = queue.is_closed;
        let in_flight = mem::take(&mut queue.in_flight);
        let sockets = (queue.thread_stream.take(), queue.task_stream.take());
        let to_wake = queue.thread_waker.take();
        drop(queue);
        drop(sockets);
        let _ = self.stream.shutdown(Shutdown::Both);
        let callers: Vec<_> =
            in_flight.into_iter().filter_map(|entry| entry.slot.fill(Err(kind), None)).collect();
        self.notifier.wake(callers);
        to_wake.into_iter().for_each(wake_thread);
        self.room.notify(usize::MAX);
        if !is_closed {
            (self.on_disconnect)();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.queue.lock().ended.is_some()
    }

    /// Allows replies of any length from now on.
    pub(super) fn lift_reply_limit(&self) {
        self.max_reply_len.store(usize::MAX, Ordering::Relaxed);
    }

    /// Closes the connection: no caller will send a request any more.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let to_wake = queue.thread_waker.take();
        drop(queue);
        to_wake.into_iter().for_each(wake_thread);
    }
}

/// Tells the runtime that the socket has no more bytes, unless `is_more`.
pub(super) fn continue_or_would_block(is_more: bool) -> io::Result<()> {
    if is_more { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
}
