//! The receive buffer: bytes become frames, and frames are assigned to the requests in flight.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::mem;
use std::sync::Arc;

use lessor_core::store::{CallerWaker, Notifier};
use redis::{PushInfo, Value};

use super::reply::{InFlight, Replies, ReplyResult, ReplySlot, UnclaimedReplies};
use super::resp::{ParseError, RespFrame, parse_frame};

/// The number of bytes that are read at once.
const READ_SIZE: usize = 64 << 10;
/// The capacity that an empty buffer keeps.
const MAX_IDLE_CAPACITY: usize = 256 << 10;

pub(super) struct ReplyBuffer {
    chunk: Box<[u8]>,
    /// The beginning of an incomplete frame, and the minimum length of that frame.
    partial: (Vec<u8>, usize),
    values: Vec<Value>,
    pushes: Vec<PushInfo>,
    completed: Vec<(Arc<ReplySlot>, ReplyResult)>,
    wakers: Vec<CallerWaker>,
    unclaimed: UnclaimedReplies,
}

impl ReplyBuffer {
    pub(super) fn new() -> Self {
        Self {
            chunk: vec![0; READ_SIZE].into(),
            partial: (Vec::new(), 0),
            values: Vec::new(),
            pushes: Vec::new(),
            completed: Vec::new(),
            wakers: Vec::new(),
            unclaimed: UnclaimedReplies::default(),
        }
    }

    /// Returns the memory to read into.
    pub(super) fn read_space(&mut self) -> &mut [u8] {
        &mut self.chunk
    }

    /// Parses the first `read` bytes of the read memory. Fails on a frame that is longer than
    /// `max_len`.
    pub(super) fn parse(&mut self, read: usize, max_len: usize) -> Result<(), ErrorKind> {
        let Self { chunk, partial: (partial, min_len), values, pushes, .. } = self;
        let received = chunk.get(..read).unwrap_or_default();
        let mut buffer = mem::take(partial);
        let has_partial = !buffer.is_empty();
        if has_partial {
            buffer.extend_from_slice(received);
            if buffer.len() < *min_len {
                *partial = buffer;
                return Ok(());
            }
        }
        let all = if has_partial { &*buffer } else { received };
        let mut at = 0;
        while let Some(rest) = all.get(at..).filter(|rest| !rest.is_empty()) {
            match parse_frame(rest) {
                Ok((frame, length)) => {
                    match frame {
                        RespFrame::Reply(value) => values.push(value),
                        RespFrame::Push(push) => pushes.push(push),
                    }
                    at += length;
                }
                Err(ParseError::Incomplete(needed)) if needed > max_len => {
                    return Err(ErrorKind::InvalidData);
                }
                Err(ParseError::Incomplete(needed)) => {
                    *min_len = needed;
                    break;
                }
                Err(ParseError::Malformed) => return Err(ErrorKind::InvalidData),
            }
        }
        if has_partial {
            buffer.drain(..at);
        } else {
            buffer.extend_from_slice(received.get(at..).unwrap_or_default());
        }
        if buffer.is_empty() {
            buffer.shrink_to(MAX_IDLE_CAPACITY);
        }
        *partial = buffer;
        Ok(())
    }

    /// Assigns each reply to the oldest request in flight. A reply without a request is an error,
    /// because later replies could then not be assigned correctly.
    pub(super) fn assign(&mut self, in_flight: &mut VecDeque<InFlight>) -> Result<(), ErrorKind> {
        for value in self.values.drain(..) {
            let entry = in_flight.front_mut().ok_or(ErrorKind::InvalidData)?;
            entry.remaining = entry.remaining.saturating_sub(1);
            if entry.remaining > 0 {
                if entry.keeps_earlier {
                    entry.earlier.push(value);
                }
            } else if let Some(InFlight { slot, earlier, .. }) = in_flight.pop_front() {
                self.completed.push((slot, Ok(Replies { earlier, last: value })));
            }
        }
        Ok(())
    }

    /// Delivers the replies and the push messages. Both run code of the application, so no lock is
    /// held.
    pub(super) fn deliver(&mut self, notifier: &Notifier, on_push: &dyn Fn(&PushInfo)) {
        for (slot, reply) in self.completed.drain(..) {
            let (reply, share) = self.unclaimed.admit(reply);
            self.wakers.extend(slot.fill(reply, share));
        }
        notifier.wake(self.wakers.drain(..));
        mem::take(&mut self.pushes).iter().for_each(on_push);
    }
}
