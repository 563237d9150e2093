//! A connection of the store's own.
//!
//! Requests are put behind one another, and so are those who wait for the answers. What there is to be sent is written by one at a time: by a
//! caller that has found nothing else under way for a while, else by the store's thread, with all that has gathered by then.
//!
//! What comes is read by one at a time as well, the leader, which hands it out. That is a caller, as long as there is only one, if its thread
//! has nothing else to do than to wait or its runtime wakes it; else the store's thread. So a lone caller waits for no other thread. It may
//! lead no longer than it is polled: the store's thread looks every so often whether anything is read.

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

use super::reading::Reading;
use super::waiting::{Entry, Slot, Waiting};
use crate::wake::{shielded, wake_thread};

/// How many may wait for their answers, those included that have given up.
const WAITING: usize = 64 << 10;
/// How much may wait to be written before nothing is added.
const UNSENT: usize = 4 << 20;
/// How long an answer may be before it is known what is there: that of a cluster's map is the longest, with some 2 MiB.
const UNTRUSTED: usize = 8 << 20;
/// What buffers keep when they are empty.
const KEPT: usize = 256 << 10;
/// How many requests in a row have to find nothing else under way before a caller leads: to take the lead and to give it back costs more than
/// it saves once, and a few callers miss each other now and then.
pub(super) const ALONE: u32 = 16;
/// How long a caller that leads waits before it looks whether its time is over, and the store's thread before it leads when nobody does.
pub(super) const TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Nobody,
    Caller,
    Thread,
    /// The thread too, once the socket takes more.
    Blocked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leader {
    Nobody,
    /// The caller with this request, which waits with its thread.
    Blocking(u64),
    /// The caller with this request, on a runtime that wakes it.
    Task(u64),
    Thread,
}

/// What a caller does to have its answer.
pub(super) enum Part {
    Wait,
    Block,
    Task(Arc<tokio::net::TcpStream>),
}

pub(super) struct Queue {
    pub(super) out: Vec<u8>,
    /// What was begun, and how far it was written.
    pub(super) begun: (Vec<u8>, usize),
    pub(super) writer: Writer,
    pub(super) waiting: VecDeque<Entry>,
    pub(super) leader: Leader,
    /// With whoever reads, while it does.
    pub(super) reading: Option<Box<Reading>>,
    /// While the store's thread leads.
    pub(super) armed: Option<Arc<tokio::net::TcpStream>>,
    /// While callers on their runtime lead, one after the other.
    pub(super) theirs: Option<Arc<tokio::net::TcpStream>>,
    /// How many requests have found nothing else under way, one after the other.
    pub(super) alone: u32,
    pub(super) requests: u64,
    /// How often something was read.
    pub(super) reads: u64,
    pub(super) thread: Option<Waker>,
    /// How it has ended.
    pub(super) over: Option<ErrorKind>,
    /// Nobody will send anything more.
    pub(super) is_closed: bool,
}

pub(super) struct Line {
    pub(super) socket: TcpStream,
    pub(super) queue: Mutex<Queue>,
    /// There is room for more.
    room: Event,
    /// Whose tasks may lead.
    runtime: Option<Handle>,
    notifier: Notifier,
    /// How long one answer may be.
    longest: AtomicUsize,
    hear: Box<dyn Fn(&PushInfo) + Send + Sync>,
    lost: Box<dyn Fn() + Send + Sync>,
}

/// Nothing was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Over(ErrorKind),
}

impl Line {
    /// On a socket on which nothing is under way.
    pub(super) fn new(
        socket: TcpStream,
        runtime: Option<Handle>,
        notifier: Notifier,
        hear: impl Fn(&PushInfo) + Send + Sync + 'static,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let queue = Queue {
            out: Vec::new(),
            begun: (Vec::new(), 0),
            writer: Writer::Nobody,
            waiting: VecDeque::new(),
            leader: Leader::Nobody,
            reading: Some(Box::new(Reading::new())),
            armed: None,
            theirs: None,
            alone: 0,
            requests: 0,
            reads: 0,
            thread: None,
            over: None,
            is_closed: false,
        };
        Ok(Self {
            socket,
            queue: Mutex::new(queue),
            room: Event::new(),
            runtime,
            notifier,
            longest: AtomicUsize::new(UNTRUSTED),
            hear: Box::new(hear),
            lost: Box::new(lost),
        })
    }

    /// Puts a request behind the others. `pack` writes it down.
    pub(super) fn push(
        &self,
        count: usize,
        keeps_former: bool,
        pack: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Waiting<'_>, Refusal> {
        let slot = Arc::new(Slot::default());
        let mut queue = self.queue.lock();
        if let Some(kind) = queue.over {
            return Err(Refusal::Over(kind));
        }
        if queue.waiting.len() >= WAITING || queue.out.len() >= UNSENT {
            return Err(Refusal::Full);
        }
        pack(&mut queue.out);
        let entry = Entry { slot: Arc::clone(&slot), left: count, former: Vec::new(), keeps_former };
        queue.waiting.push_back(entry);
        queue.requests += 1;
        queue.alone = if queue.waiting.len() == 1 { queue.alone.saturating_add(1) } else { 0 };
        let number = queue.requests;
        let former = queue.leader;
        let part = self.part(&mut queue);
        let armed = match part {
            Part::Wait => None,
            // The thread has to look from time to time whether anybody leads.
            _ => queue.armed.take(),
        };
        let is_free = queue.writer == Writer::Nobody;
        let writes = is_free && queue.alone >= ALONE;
        if is_free {
            queue.writer = if writes { Writer::Caller } else { Writer::Thread };
        }
        let calls = match (&part, former) {
            (Part::Wait, Leader::Nobody | Leader::Task(_)) => true,
            (Part::Block | Part::Task(_), Leader::Thread) => true,
            _ => is_free && !writes,
        };
        let called = if calls { queue.thread.take() } else { None };
        match writes {
            true => self.write(queue),
            false => drop(queue),
        }
        drop(armed);
        called.into_iter().for_each(wake_thread);
        Ok(Waiting { line: self, slot, part, number })
    }

    /// Until there may be room.
    pub(super) async fn room(&self) {
        let room = self.room.listen();
        let is_full = {
            let queue = self.queue.lock();
            queue.over.is_none() && (queue.waiting.len() >= WAITING || queue.out.len() >= UNSENT)
        };
        if is_full {
            shielded(&self.notifier, room).await;
        }
    }

    /// Writes what there is, as its writer.
    pub(super) fn write<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) {
        loop {
            let (mut bytes, mut at) = mem::take(&mut queue.begun);
            if at == bytes.len() {
                (bytes, at) = (mem::replace(&mut queue.out, bytes), 0);
                queue.out.clear();
                queue.out.shrink_to(KEPT);
            }
            if bytes.is_empty() {
                queue.begun = (bytes, 0);
                queue.writer = Writer::Nobody;
                return;
            }
            drop(queue);
            let outcome = self.send(&bytes, &mut at);
            if outcome.is_ok() {
                self.room.notify(usize::MAX);
            }
            queue = self.queue.lock();
            queue.begun = (bytes, at);
            match outcome {
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    queue.writer = Writer::Blocked;
                    let called = queue.thread.take();
                    drop(queue);
                    called.into_iter().for_each(wake_thread);
                    return;
                }
                Err(error) => {
                    drop(queue);
                    self.end(io::Error::from(error).kind());
                    return;
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], at: &mut usize) -> Result<(), Errno> {
        while let Some(rest) = bytes.get(*at..).filter(|rest| !rest.is_empty()) {
            match send(&self.socket, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => *at += sent,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What the caller does whose request is the last one there; it leads if that is more than to wait.
    fn part(&self, queue: &mut Queue) -> Part {
        let is_alone = queue.waiting.len() == 1 && queue.alone >= ALONE;
        let is_free = match queue.leader {
            Leader::Nobody => true,
            Leader::Thread => is_alone,
            Leader::Blocking(_) | Leader::Task(_) => false,
        };
        // Who reads just now would not be seen to have led.
        if !is_free || queue.reading.is_none() {
            return Part::Wait;
        }
        if may_block() {
            queue.leader = Leader::Blocking(queue.requests);
            return Part::Block;
        }
        match self.registered(queue).filter(|_| is_alone) {
            Some(theirs) => {
                queue.leader = Leader::Task(queue.requests);
                Part::Task(theirs)
            }
            None => Part::Wait,
        }
    }

    /// The socket as the runtime knows it that this is called on, if that is the one whose tasks may lead.
    fn registered(&self, queue: &mut Queue) -> Option<Arc<tokio::net::TcpStream>> {
        let runtime = self.runtime.as_ref()?;
        if !Handle::try_current().is_ok_and(|current| current.id() == runtime.id()) {
            return None;
        }
        if queue.theirs.is_none() {
            // The current one may be another one with the same number, if that runtime has ended.
            let _entered = runtime.enter();
            let theirs = self.socket.try_clone().and_then(tokio::net::TcpStream::from_std);
            queue.theirs = theirs.ok().map(Arc::new);
        }
        queue.theirs.clone()
    }

    pub(super) fn is_led_by(&self, leader: Leader) -> bool {
        self.queue.lock().leader == leader
    }

    /// Leads no more.
    pub(super) fn follow(&self, led: Leader) {
        if led == Leader::Nobody {
            return;
        }
        let mut queue = self.queue.lock();
        // The thread may have begun to lead.
        if queue.leader != led {
            return;
        }
        queue.leader = Leader::Nobody;
        let called = if queue.waiting.is_empty() { None } else { queue.thread.take() };
        drop(queue);
        called.into_iter().for_each(wake_thread);
    }

    /// Takes in what there is to read, as the leader. Returns whether that may not have been all.
    pub(super) fn read(&self, leader: Leader) -> bool {
        let reading = {
            let mut queue = self.queue.lock();
            if queue.leader == leader { queue.reading.take() } else { None }
        };
        let Some(mut reading) = reading else { return false };
        let read = loop {
            match recv(&self.socket, reading.space(), RecvFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                Ok((read, _)) => break Ok(read),
                Err(error) => break Err(error),
            }
        };
        let (outcome, is_more) = match read {
            Ok(0) => (Err(ErrorKind::BrokenPipe), false),
            Ok(read) => {
                (reading.take_in(read, self.longest.load(Ordering::Relaxed)), read == reading.space().len())
            }
            Err(Errno::AGAIN) => (Ok(()), false),
            Err(error) => (Err(io::Error::from(error).kind()), false),
        };
        let mut queue = self.queue.lock();
        let outcome = outcome.and_then(|()| reading.hand_out(&mut queue.waiting));
        let has_room = queue.waiting.len() < WAITING;
        drop(queue);
        reading.tell(&self.notifier, &*self.hear);
        let mut queue = self.queue.lock();
        queue.reading = Some(reading);
        queue.reads += 1;
        let called = match queue.leader {
            Leader::Task(_) if !queue.waiting.is_empty() => queue.thread.take(),
            _ => None,
        };
        drop(queue);
        called.into_iter().for_each(wake_thread);
        if has_room {
            self.room.notify(usize::MAX);
        }
        if let Err(kind) = outcome {
            self.end(kind);
        }
        is_more
    }

    /// Waits a moment for something to read, and takes it in, as the leader.
    pub(super) fn read_once_there(&self, leader: Leader) {
        let limit = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        if poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&limit)) != Ok(0) {
            self.read(leader);
        }
    }

    /// Nothing more is sent or read, and whoever waits is told.
    pub(super) fn end(&self, kind: ErrorKind) {
        let mut queue = self.queue.lock();
        if queue.over.is_some() {
            return;
        }
        queue.over = Some(kind);
        let is_closed = queue.is_closed;
        let waiting = mem::take(&mut queue.waiting);
        let sockets = (queue.armed.take(), queue.theirs.take());
        let called = queue.thread.take();
        drop(queue);
        drop(sockets);
        let _ = self.socket.shutdown(Shutdown::Both);
        let callers: Vec<_> =
            waiting.into_iter().filter_map(|entry| entry.slot.fill(Err(kind), None)).collect();
        self.notifier.wake(callers);
        called.into_iter().for_each(wake_thread);
        self.room.notify(usize::MAX);
        if !is_closed {
            (self.lost)();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.queue.lock().over.is_some()
    }

    /// From now on answers may be as long as a server can make them.
    pub(super) fn trust(&self) {
        self.longest.store(usize::MAX, Ordering::Relaxed);
    }

    /// Nobody will send anything more.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let called = queue.thread.take();
        drop(queue);
        called.into_iter().for_each(wake_thread);
    }
}
