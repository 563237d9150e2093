//! Replies, and the slots in which they wait for their callers.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use lessor_core::store::CallerWaker;
use parking_lot::Mutex;
use redis::Value;

/// The replies to one request.
#[derive(Debug, PartialEq)]
pub(super) struct Replies {
    /// The replies to all commands but the last, if the caller asked for them.
    pub(super) earlier: Vec<Value>,
    pub(super) last: Value,
}

pub(super) type ReplyResult = Result<Replies, ErrorKind>;

/// A reply, and its share of the memory limit for unclaimed replies.
type StoredReply = (ReplyResult, Option<UnclaimedShare>);

/// The place where a reply is stored, and the waker of the caller that waits for it.
#[derive(Debug, Default)]
pub(super) struct ReplySlot(Mutex<(Option<StoredReply>, Option<CallerWaker>)>);

impl ReplySlot {
    pub(super) fn fill(&self, reply: ReplyResult, share: Option<UnclaimedShare>) -> Option<CallerWaker> {
        let mut slot = self.0.lock();
        slot.0 = Some((reply, share));
        slot.1.take()
    }

    pub(super) fn take(&self) -> Option<ReplyResult> {
        self.0.lock().0.take().map(|(reply, _)| reply)
    }

    pub(super) fn take_or_register(&self, context: &Context<'_>) -> Option<ReplyResult> {
        let mut slot = self.0.lock();
        if let Some((reply, _)) = slot.0.take() {
            return Some(reply);
        }
        if slot.1.as_ref().is_some_and(|waker| waker.is_of(context)) {
            return None;
        }
        drop(slot);
        // Cloning or dropping a waker runs the caller's code, so neither is done under the lock.
        let waker = CallerWaker::of(context);
        let mut slot = self.0.lock();
        if let Some((reply, _)) = slot.0.take() {
            return Some(reply);
        }
        let previous = slot.1.replace(waker);
        drop(slot);
        drop(previous);
        None
    }
}

/// The size up to which a reply is not counted. The number of requests in flight is limited, so the
/// memory of small replies is too.
const SMALL_REPLY: usize = 4 << 10;
/// The maximum number of bytes of all unclaimed replies. A single reply may be larger.
const MAX_UNCLAIMED: usize = 64 << 20;

/// The number of bytes of the replies that no caller has taken yet.
#[derive(Clone, Debug, Default)]
pub(super) struct UnclaimedReplies(Arc<AtomicUsize>);

/// The bytes of one reply.
#[derive(Debug)]
pub(super) struct UnclaimedShare {
    all: UnclaimedReplies,
    bytes: usize,
}

impl UnclaimedReplies {
    /// Counts a reply. Returns an error in its place if there is no memory left for it.
    pub(super) fn admit(&self, reply: ReplyResult) -> StoredReply {
        let bytes = reply.as_ref().map_or(0, Replies::size);
        if bytes <= SMALL_REPLY {
            return (reply, None);
        }
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let share = UnclaimedShare { all: self.clone(), bytes };
        if before > 0 && before.saturating_add(bytes) > MAX_UNCLAIMED {
            return (Err(ErrorKind::OutOfMemory), None);
        }
        (reply, Some(share))
    }
}

impl Drop for UnclaimedShare {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Replies {
    fn size(&self) -> usize {
        self.earlier.iter().map(size).sum::<usize>() + size(&self.last)
    }
}

/// Returns the approximate number of bytes of a value.
fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.len(),
        Value::Array(values) | Value::Set(values) => values.iter().map(|value| size(value) + 64).sum(),
        Value::Map(pairs) => pairs.iter().map(|(name, value)| size(name) + size(value) + 128).sum(),
        _ => 0,
    }
}

/// A request in flight: it waits for `remaining` more values.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) slot: Arc<ReplySlot>,
    pub(super) remaining: usize,
    pub(super) earlier: Vec<Value>,
    pub(super) keeps_earlier: bool,
}
