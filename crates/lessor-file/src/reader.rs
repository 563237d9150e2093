//! Reading records back that are not kept in memory: on the caller's thread if that may block, else on one of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll};
use std::thread;

use lessor_core::store::{CallerWaker, may_block};
use lessor_core::{Key, Record, StoreError};
use parking_lot::Mutex;

use crate::index::Place;
use crate::log::Log;

/// The thread that reads for futures, once there was one to read for.
#[derive(Debug, Default)]
pub(crate) struct Reader(Mutex<Option<Sender<Job>>>);

#[derive(Debug)]
struct Job {
    log: Arc<Log>,
    key: Key,
    lsn: u64,
    place: Place,
    answer: Arc<Mutex<Answer>>,
}

#[derive(Debug, Default)]
struct Answer {
    outcome: Option<Result<Known, StoreError>>,
    waker: Option<CallerWaker>,
}

/// A record that was read back, and the LSN of the write that it is of.
pub(crate) type Known = Option<(u64, Record)>;

/// The record at a place, unless it has moved. It is kept in memory again if there is room.
pub(crate) async fn read_back(
    log: &Arc<Log>,
    key: &Key,
    lsn: u64,
    place: Place,
) -> Result<Known, StoreError> {
    if may_block() {
        return restore(log, key, lsn, &place);
    }
    let answer = Arc::new(Mutex::new(Answer::default()));
    let job = Job { log: Arc::clone(log), key: key.clone(), lsn, place, answer: Arc::clone(&answer) };
    log.reader.submit(job)?;
    Answered(answer).await
}

fn restore(log: &Log, key: &Key, lsn: u64, place: &Place) -> Result<Known, StoreError> {
    let Some(record) = log.read_record(key, lsn, place)? else { return Ok(None) };
    let visible = log.visible.load(Ordering::Acquire);
    log.index.write(key).restore(key, lsn, &record, visible);
    Ok(Some((lsn, record)))
}

impl Reader {
    fn submit(&self, job: Job) -> Result<(), StoreError> {
        let mut jobs = self.0.lock();
        let sender = match &*jobs {
            Some(sender) => sender,
            None => {
                let (sender, queue) = channel::<Job>();
                thread::Builder::new()
                    .name("lessor-file-reader".to_owned())
                    .spawn(move || queue.into_iter().for_each(Job::run))
                    .map_err(|error| StoreError::Unavailable {
                        reason: format!("no thread could be started to read the log: {error}"),
                    })?;
                jobs.insert(sender)
            }
        };
        sender
            .send(job)
            .map_err(|_| StoreError::Unavailable { reason: "the log's reader has ended".to_owned() })
    }
}

impl Job {
    fn run(self) {
        let outcome = restore(&self.log, &self.key, self.lsn, &self.place);
        let mut answer = self.answer.lock();
        answer.outcome = Some(outcome);
        let waker = answer.waker.take();
        drop(answer);
        self.log.notifier.wake(waker);
    }
}

struct Answered(Arc<Mutex<Answer>>);

impl Future for Answered {
    type Output = Result<Known, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = CallerWaker::of(context);
        let mut answer = self.0.lock();
        match answer.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                let former = answer.waker.replace(waker);
                drop(answer);
                drop(former);
                Poll::Pending
            }
        }
    }
}
