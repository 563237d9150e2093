//! What has come, and what it says, until it is with those who wait for it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::mem;
use std::sync::Arc;

use lessor_core::store::{CallerWaker, Notifier};
use redis::{PushInfo, Value};

use super::replies::{Said, Stop, first};
use super::waiting::{Answer, Answered, Entry, Slot, Untaken};

/// How much is read at once.
const PIECE: usize = 64 << 10;
/// What buffers keep when they are empty.
const KEPT: usize = 256 << 10;

pub(super) struct Reading {
    piece: Box<[u8]>,
    /// The beginning of something of which the rest has yet to come, and how long it is at least.
    begun: (Vec<u8>, usize),
    values: Vec<Value>,
    pushes: Vec<PushInfo>,
    done: Vec<(Arc<Slot>, Answer)>,
    woken: Vec<CallerWaker>,
    untaken: Untaken,
}

impl Reading {
    pub(super) fn new() -> Self {
        Self {
            piece: vec![0; PIECE].into(),
            begun: (Vec::new(), 0),
            values: Vec::new(),
            pushes: Vec::new(),
            done: Vec::new(),
            woken: Vec::new(),
            untaken: Untaken::default(),
        }
    }

    /// Where to read to.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.piece
    }

    /// So much was read. No answer may be longer than `longest`.
    pub(super) fn take_in(&mut self, read: usize, longest: usize) -> Result<(), ErrorKind> {
        let Self { piece, begun: (begun, least), values, pushes, .. } = self;
        let came = piece.get(..read).unwrap_or_default();
        let mut buffer = mem::take(begun);
        let is_begun = !buffer.is_empty();
        if is_begun {
            buffer.extend_from_slice(came);
            if buffer.len() < *least {
                *begun = buffer;
                return Ok(());
            }
        }
        let all = if is_begun { &*buffer } else { came };
        let mut at = 0;
        while let Some(rest) = all.get(at..).filter(|rest| !rest.is_empty()) {
            match first(rest) {
                Ok((said, length)) => {
                    match said {
                        Said::Answer(value) => values.push(value),
                        Said::Push(push) => pushes.push(push),
                    }
                    at += length;
                }
                Err(Stop::More(more)) if more > longest => return Err(ErrorKind::InvalidData),
                Err(Stop::More(more)) => {
                    *least = more;
                    break;
                }
                Err(Stop::Malformed) => return Err(ErrorKind::InvalidData),
            }
        }
        if is_begun {
            buffer.drain(..at);
        } else {
            buffer.extend_from_slice(came.get(at..).unwrap_or_default());
        }
        if buffer.is_empty() {
            buffer.shrink_to(KEPT);
        }
        *begun = buffer;
        Ok(())
    }

    /// Gives each what it waits for. An answer that nobody waits for is an error: nothing that follows can be trusted.
    pub(super) fn hand_out(&mut self, waiting: &mut VecDeque<Entry>) -> Result<(), ErrorKind> {
        for value in self.values.drain(..) {
            let entry = waiting.front_mut().ok_or(ErrorKind::InvalidData)?;
            entry.left = entry.left.saturating_sub(1);
            if entry.left > 0 {
                if entry.keeps_former {
                    entry.former.push(value);
                }
            } else if let Some(Entry { slot, former, .. }) = waiting.pop_front() {
                self.done.push((slot, Ok(Answered { former, last: value })));
            }
        }
        Ok(())
    }

    /// Wakes those who have got something. They may do anything, so no lock is held meanwhile.
    pub(super) fn tell(&mut self, notifier: &Notifier, hear: &dyn Fn(&PushInfo)) {
        for (slot, answer) in self.done.drain(..) {
            let (answer, share) = self.untaken.admit(answer);
            self.woken.extend(slot.fill(answer, share));
        }
        notifier.wake(self.woken.drain(..));
        mem::take(&mut self.pushes).iter().for_each(hear);
    }
}
