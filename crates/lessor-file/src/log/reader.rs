//! The thread that reads records back for async callers, which must not block.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll};
use std::thread;

use lessor_core::StoreError;
use lessor_core::store::{CallerWaker, Notifier};
use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// The queue of the reading thread. The thread is started with the first job.
#[derive(Debug, Default)]
pub(crate) struct Reader(Mutex<Option<Sender<Job>>>);

impl Reader {
    /// Runs `read` on the reading thread. The future resolves to its result; its task is woken
    /// through `notifier`.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        notifier: &Notifier,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<ReadBack<T>, StoreError> {
        let notifier = notifier.clone();
        let slot = Arc::new(Mutex::new(Slot { result: None, waker: None }));
        let filled = Arc::clone(&slot);
        self.submit(Box::new(move || {
            let result = read();
            let mut slot = filled.lock();
            slot.result = Some(result);
            let waker = slot.waker.take();
            drop(slot);
            notifier.wake(waker);
        }))?;
        Ok(ReadBack(slot))
    }

    fn submit(&self, job: Job) -> Result<(), StoreError> {
        let mut jobs = self.0.lock();
        let sender = match &*jobs {
            Some(sender) => sender,
            None => {
                let (sender, queue) = channel::<Job>();
                thread::Builder::new()
                    .name("lessor-file-reader".to_owned())
                    .spawn(move || queue.into_iter().for_each(|job| job()))
                    .map_err(|error| {
                        let reason = "the thread that reads the log could not be started";
                        StoreError::unavailable(reason).with_source(error)
                    })?;
                jobs.insert(sender)
            }
        };
        sender.send(job).map_err(|_| StoreError::unavailable("the thread that reads the log has ended"))
    }
}

#[derive(Debug)]
struct Slot<T> {
    result: Option<T>,
    waker: Option<CallerWaker>,
}

/// Resolves to the result of a job.
pub(crate) struct ReadBack<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for ReadBack<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let waker = CallerWaker::of(context);
        let mut slot = self.0.lock();
        match slot.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                let replaced = slot.waker.replace(waker);
                drop(slot);
                drop(replaced);
                Poll::Pending
            }
        }
    }
}
