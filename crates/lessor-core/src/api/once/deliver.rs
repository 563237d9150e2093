//! Runs a piece of work and stores its outcome.

use std::any::Any;
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{FutureExt, future};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{Instrument, Span};

use super::codes::{ERRORED, PANICKED, RESULT_REFUSED};
use super::failure_class::{FailureClass, Kind, retry_after_by};
use super::hooks::Hooks;
use super::outcome::{Details, OnceError, Outcome, record_outcome};
use super::reconcile::Reconciled;
use crate::api::lease::Lease;
use crate::api::within::Working;
use crate::data::error::Error;
use crate::data::error_kind::ErrorKind;
use crate::data::failure::Failure;
use crate::data::record::GrantEnd;
use crate::data::state::State;
use crate::data::time::Monotonic;
use crate::data::value::json_text_that_reads_back;
use crate::rules::Ack;
use crate::rules::policies::OnFailed;
use crate::rules::settings::check_error_code;
use crate::run::context::{Handle, Work};
use crate::run::observer::event::Event;
use crate::sync::pending::{Pending, block_on};

/// The maximum size of the error detail that the engine records, in bytes.
const MAX_DETAIL: usize = 4096;
/// The maximum number of attempts to send an outcome while the store does not answer.
const ATTEMPTS: u32 = 6;
/// The pause after the first attempt. Doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

pub(super) type Panic = Box<dyn Any + Send>;
pub(super) type Delivered<T, E> = Result<Outcome<T>, OnceError<T, E>>;

/// Work that has to run under a lease.
pub(super) struct Delivery<T, E> {
    pub(super) lease: Held,
    pub(super) waited: bool,
    pub(super) hooks: Hooks<T, E>,
    pub(super) on_failed: OnFailed,
    /// The span of the call.
    pub(super) span: Span,
    /// The value that the work returned, while its outcome is being stored.
    pub(super) returned: Option<Result<T, E>>,
}

/// A lease that ends with the call, even if the work has kept a reference to it.
pub(super) struct Held {
    lease: Arc<Lease>,
    work: Work,
}

impl Held {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease: Arc::new(lease), work: Work::NotBegun }
    }

    /// Returns a reference for the work.
    pub(super) fn share(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }

    /// Takes into account that the work begins.
    fn begin(&mut self) {
        self.work = Work::MayHaveBegun;
    }
}

impl Deref for Held {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lease.give_up(self.work);
    }
}

/// The result of the caller's code.
enum Worked<T, E> {
    /// The work ran.
    Work(Result<T, E>),
    /// The work did not run, because this is the result of an earlier holder.
    Done(T),
    /// It is not known whether an earlier holder did the work.
    Unknown,
    /// A reconcile function panicked.
    LookPanicked(Panic),
    Panicked(Panic),
    /// The lease was lost before the work began, or the future of the work was dropped.
    Lost,
}

impl<T, E> Delivery<T, E>
where
    T: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    /// Runs the work and stores its outcome.
    pub(super) fn run(&mut self, work: impl FnOnce(&Lease) -> Result<T, E>) -> Delivered<T, E> {
        let span = self.span.clone();
        let _entered = span.enter();
        let worked = match block_on(self.before_work()) {
            Some(worked) => worked,
            None => {
                let began = self.work_begins();
                let returned = guarded(&self.lease, || work(&self.lease));
                self.worked(began, returned)
            }
        };
        let delivered = block_on(self.deliver(worked));
        record_outcome(&span, &delivered);
        delivered
    }

    /// Runs async work and stores its outcome. The work is dropped when the lease is lost.
    pub(super) async fn run_future(&mut self, work: impl Future<Output = Result<T, E>>) -> Delivered<T, E> {
        if self.span.is_disabled() {
            return self.run_in_span(work).await;
        }
        let span = self.span.clone();
        let delivered = self.run_in_span(work).instrument(span.clone()).await;
        record_outcome(&span, &delivered);
        delivered
    }

    async fn run_in_span(&mut self, work: impl Future<Output = Result<T, E>>) -> Delivered<T, E> {
        let lease = self.lease.share();
        let lost = async {
            lease.lost().await;
            Worked::Lost
        };
        let worked = async {
            if let Some(worked) = self.before_work().await {
                return worked;
            }
            let began = self.work_begins();
            let returned = working(&self.lease, work).await;
            self.worked(began, returned)
        };
        let worked = future::or(worked, lost).await;
        self.deliver(worked).await
    }

    /// Returns `None` if the work has to run. The lease may have lapsed before it was received, and
    /// may be lost during the look, so another caller may already be running the work.
    async fn before_work(&mut self) -> Option<Worked<T, E>> {
        if self.lease.is_lost() {
            return Some(Worked::Lost);
        }
        let looked = self.look().await;
        if looked.is_none() && self.lease.is_lost() { Some(Worked::Lost) } else { looked }
    }

    /// Takes into account that the work begins. Returns the time, if durations are measured.
    fn work_begins(&mut self) -> Option<Monotonic> {
        self.lease.begin();
        self.engine().observer.work_began()
    }

    /// Reports the duration of the work, which began at `began`.
    fn worked(&self, began: Option<Monotonic>, returned: Result<Result<T, E>, Panic>) -> Worked<T, E> {
        self.engine().observer.work_ended(began, matches!(returned, Ok(Ok(_))));
        match returned {
            Ok(returned) => Worked::Work(returned),
            Err(panic) => Worked::Panicked(panic),
        }
    }

    /// Looks for the effect of an earlier holder whose lease has lapsed. Returns `None` if there is
    /// none.
    async fn look(&mut self) -> Option<Worked<T, E>> {
        let lapsed = self.lease.previous_grant().is_some_and(|previous| previous.ended() == GrantEnd::Lapsed);
        let look = self.hooks.reconcile.as_mut().filter(|_| lapsed)?;
        let lease = self.lease.share();
        Some(match working(&self.lease, async move { look(lease).await }).await {
            Ok(Reconciled::NotDone) => return None,
            Ok(Reconciled::Done(value)) => Worked::Done(value),
            Ok(Reconciled::Unknown) => Worked::Unknown,
            Err(panic) => Worked::LookPanicked(panic),
        })
    }

    /// Stores the outcome.
    async fn deliver(&mut self, worked: Worked<T, E>) -> Delivered<T, E> {
        match worked {
            Worked::Work(Ok(value)) => self.complete(value, false).await,
            Worked::Done(value) => self.complete(value, true).await,
            Worked::Work(Err(error)) => Err(self.fail(error).await),
            Worked::Unknown => Err(unknown(&self.lease).await),
            Worked::Lost => Err(OnceError::Lost(None)),
            Worked::LookPanicked(panic) => {
                if let Err(error) = send(&self.lease, || self.lease.leave_in_doubt()).await {
                    not_stored(&self.lease, "that the outcome is unknown", &error);
                }
                resume_unwind(panic)
            }
            Worked::Panicked(panic) => Err(panicked(&self.lease, panic).await),
        }
    }

    async fn complete(&mut self, value: T, reconciled: bool) -> Delivered<T, E> {
        let limit = self.engine().settings.limits.max_result;
        // Serialize and Deserialize are the caller's code too.
        match guarded(&self.lease, || self.hooks.encode(&value, limit)) {
            Ok(Ok(payload)) => {
                match self.store(Ok(value), |lease| lease.complete_with(payload.clone())).await {
                    (Some(Ok(value)), Ok(ack)) => Ok(self.outcome(value, ack, reconciled)),
                    (work, sent) => Err(undelivered(work, sent)),
                }
            }
            Ok(Err(error)) => Err(self.refused(Ok(value), error).await),
            Err(panic) => Err(self.panicked_with(value, panic).await),
        }
    }

    async fn fail(&mut self, error: E) -> OnceError<T, E> {
        match guarded(&self.lease, || self.failure(&error)) {
            Ok(Made::Failure { code, detail, retry_after }) => {
                let by_policy = retry_after_by(self.on_failed, self.lease.attempt());
                let failure = Failure::new(&code, Some(&detail));
                let failure = match retry_after {
                    Some(wait) => failure.retry_after(wait),
                    None => failure,
                };
                match self.store(Err(error), |lease| lease.fail_by(failure.clone())).await {
                    (Some(Err(error)), Ok(_)) => {
                        let retry_after = [retry_after, by_policy].into_iter().flatten().min();
                        OnceError::Work { error, is_replay: false, retry_after }
                    }
                    // The work has failed the lease itself, with another code. The class was not
                    // stored.
                    (Some(Err(error)), Err(Error::Finished { state: State::Failed })) => {
                        OnceError::Work { error, is_replay: false, retry_after: by_policy }
                    }
                    (work, sent) => undelivered(work, sent),
                }
            }
            Ok(Made::Released) => match self.store(Err(error), Lease::release).await {
                (Some(work), Ok(_)) => OnceError::Released(work),
                (work, sent) => undelivered(work, sent),
            },
            Ok(Made::InDoubt) => match self.store(Err(error), Lease::leave_in_doubt).await {
                (Some(Err(error)), Ok(_)) => OnceError::InDoubt { error: Some(error), view: None },
                (work, sent) => undelivered(work, sent),
            },
            Ok(Made::Refused(problem)) => self.refused(Err(error), problem).await,
            Err(panic) => self.panicked_with(error, panic).await,
        }
    }

    /// Returns what to store for an error of the work.
    fn failure(&self, error: &E) -> Made {
        let FailureClass { kind, code } = self.hooks.class(error);
        match kind {
            Kind::Release => return Made::Released,
            Kind::Unsure => return Made::InDoubt,
            Kind::Keep | Kind::Retry(_) => {}
        }
        let limit = self.engine().settings.limits.max_error_detail;
        let detail = match json_text_that_reads_back("error of the work", error, limit) {
            Ok(detail) => detail,
            Err(problem) => return Made::Refused(problem),
        };
        let code = code.unwrap_or(Cow::Borrowed(ERRORED));
        let code = match check_error_code(&code) {
            Ok(_) => code,
            Err(error) => {
                self.engine()
                    .record(&Event::InvalidCode { key: self.lease.stored_key().into(), error: &error });
                Cow::Borrowed(ERRORED)
            }
        };
        Made::Failure { code, detail, retry_after: kind.retry_after(self.lease.attempt()) }
    }

    /// Stores that the outcome of the work cannot be stored. The work was done, and another run
    /// would return the same.
    async fn refused(&mut self, work: Result<T, E>, error: Error) -> OnceError<T, E> {
        let failure = Failure::new(RESULT_REFUSED, Some(shorten(&error.to_string())));
        match self.store(work, |lease| lease.fail_by(failure.clone())).await {
            (Some(work), Ok(_)) => OnceError::Refused { work, error },
            (work, sent) => undelivered(work, sent),
        }
    }

    /// Sends an outcome, and returns what the work returned with the store's answer. Until then it
    /// is in `returned`, so that it is not lost if this future is dropped.
    async fn store(
        &mut self,
        work: Result<T, E>,
        act: impl Fn(&Lease) -> Pending<Result<Ack, Error>>,
    ) -> (Option<Result<T, E>>, Result<Ack, Error>) {
        self.returned = Some(work);
        let sent = send(&self.lease, || act(&self.lease)).await;
        (self.returned.take(), sent)
    }

    /// Stores that the caller's code for `value` panicked, and resumes the panic.
    async fn panicked_with<V>(&mut self, value: V, panic: Panic) -> OnceError<T, E> {
        // Dropped before the panic is resumed, because a second panic would abort the process.
        let dropped = guarded(&self.lease, || drop(value));
        let ended = panicked(&self.lease, panic).await;
        drop(dropped);
        ended
    }

    fn engine(&self) -> &Handle {
        self.lease.engine()
    }

    fn outcome(&self, value: T, ack: Ack, reconciled: bool) -> Outcome<T> {
        let details = Details {
            replayed: false,
            reconciled,
            waited: self.waited,
            late: ack.is_late(),
            attempt: self.lease.attempt(),
            after: self.lease.previous_grant().map(|previous| previous.ended()),
        };
        Outcome { value, details }
    }
}

/// The outcome to store for an error of the work.
enum Made {
    Failure { code: Cow<'static, str>, detail: String, retry_after: Option<Duration> },
    Released,
    InDoubt,
    Refused(Error),
}

/// Runs the caller's code as part of the work of `lease`, and catches a panic.
fn guarded<R>(lease: &Lease, call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(|| {
        let _working = Working::on(lease.handle());
        call()
    }))
}

/// Runs the caller's future as part of the work of `lease`, and catches a panic. The future is
/// dropped inside as well.
async fn working<R>(lease: &Lease, call: impl Future<Output = R>) -> Result<R, Panic> {
    let guarded = AssertUnwindSafe(async {
        let mut call = pin!(call);
        poll_fn(|context| {
            let _working = Working::on(lease.handle());
            call.as_mut().poll(context)
        })
        .await
    });
    guarded.catch_unwind().await
}

/// Returns the error for work whose outcome was not stored.
fn undelivered<T, E>(work: Option<Result<T, E>>, sent: Result<Ack, Error>) -> OnceError<T, E> {
    let (Some(work), Err(error)) = (work, sent) else { return OnceError::Engine(Error::unexpected()) };
    match error {
        Error::Released => OnceError::Released(work),
        Error::Finished { state } => OnceError::Overruled { state, work },
        Error::NotHolder { .. } | Error::NotFound => OnceError::Lost(Some(work)),
        error => OnceError::Unrecorded { work, error },
    }
}

/// Stores that it is not known whether an earlier holder did the work.
async fn unknown<T, E>(lease: &Lease) -> OnceError<T, E> {
    match send(lease, || lease.leave_in_doubt()).await {
        Ok(_) => OnceError::InDoubt { error: None, view: None },
        Err(Error::NotHolder { .. } | Error::NotFound) => OnceError::Lost(None),
        Err(problem) => OnceError::Engine(problem),
    }
}

/// Stores that the caller's code panicked, and resumes the panic.
async fn panicked<T, E>(lease: &Lease, panic: Panic) -> OnceError<T, E> {
    match send(lease, || lease.fail_by(Failure::new(PANICKED, None))).await {
        // The work ended the lease itself before it panicked.
        Ok(_) | Err(Error::Finished { .. } | Error::Released) => {}
        Err(error) => {
            not_stored(lease, "the failure of work that panicked", &error);
        }
    }
    resume_unwind(panic)
}

fn not_stored(lease: &Lease, what: &'static str, error: &Error) {
    lease.engine().record(&Event::NotStored { key: lease.stored_key().into(), what, error });
}

/// Sends an outcome, and retries while the store does not answer.
async fn send(lease: &Lease, act: impl Fn() -> Pending<Result<Ack, Error>>) -> Result<Ack, Error> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match act().await {
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Indeterminate) => {
                let at = Monotonic::now().saturating_add(pause);
                lease.engine().background.leases.pause_until(at).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
    act().await
}

fn shorten(detail: &str) -> &str {
    detail.get(..detail.floor_char_boundary(MAX_DETAIL)).unwrap_or_default()
}
