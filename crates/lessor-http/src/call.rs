//! [`Call`], an authorized request, and its access to the engine.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use lessor_core::{Ack, Error, ErrorKind, LeaseHandle, LeaseId, Pending, Timestamp, Usage};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::counters::{Counted, Kind};
use crate::error::Refusal;
use crate::json::Fields;
use crate::namespaces::Tenant;
use crate::query::Query;
use crate::resent::Secret;
use crate::time::day;

/// The time for which an outcome is delivered again and again while the store fails.
const PERSISTENCE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const MAX_PAUSE: Duration = Duration::from_millis(400);

/// A request whose caller is known.
pub(crate) struct Call {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) headers: HeaderMap,
    pub(crate) query: String,
    pub(crate) body: Bytes,
    pub(crate) store_timeout: Duration,
    pub(crate) secret: Arc<Secret>,
}

impl Call {
    pub(crate) fn fields(&self) -> Result<Fields, Refusal> {
        Fields::parse(&self.body)
    }

    pub(crate) fn query(&self) -> Result<Query, Refusal> {
        Query::parse(&self.query)
    }

    /// Returns the answer of the engine to a reading.
    pub(crate) async fn read<T>(&self, pending: Pending<Result<T, Error>>) -> Result<T, Refusal> {
        self.read_within(Duration::ZERO, pending).await
    }

    /// Returns the answer of the engine to a reading that may take `wait` by itself.
    pub(crate) async fn read_within<T>(
        &self,
        wait: Duration,
        pending: Pending<Result<T, Error>>,
    ) -> Result<T, Refusal> {
        let answer = timeout(wait.saturating_add(self.store_timeout), pending).await;
        Ok(answer.map_err(|_| Refusal::unavailable())??)
    }

    /// Returns the answer of the engine to an operation that may write.
    pub(crate) async fn write<T>(
        &self,
        pending: impl IntoFuture<Output = Result<T, Error>>,
    ) -> Result<T, Refusal> {
        let answer = timeout(self.store_timeout, pending).await;
        Ok(answer.map_err(|_| Refusal::indeterminate())??)
    }

    /// Delivers an outcome. While the store is unavailable, the operation is sent again for 3 s, in
    /// order that finished work is not recorded as failed.
    pub(crate) async fn deliver(
        &self,
        send: impl Fn() -> Pending<Result<Ack, Error>>,
    ) -> Result<Ack, Refusal> {
        let deadline = Instant::now() + PERSISTENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = timeout_at(deadline + MAX_PAUSE, send()).await;
            let error = match answer.map_err(|_| Refusal::indeterminate())? {
                Ok(ack) => return Ok(ack),
                Err(error) => error,
            };
            let is_temporary = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Indeterminate);
            if !is_temporary || Instant::now() + pause > deadline {
                return Err(error.into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Returns the handle of the lease with the id of the request. An id that has another form than
    /// those of the engine is replaced with a new one, which no lease has either.
    pub(crate) fn handle(&self, key: &str, fields: &Fields) -> Result<LeaseHandle, Refusal> {
        let id = match fields.required("lease_id")?.parse() {
            Ok(id) => id,
            Err(_) => LeaseId::random()?,
        };
        Ok(self.tenant.ai.lease_handle(key, id)?)
    }

    /// Returns the number of grants in this month, and the limit.
    pub(crate) async fn usage(&self, kind: Kind) -> Result<Usage, Refusal> {
        let engine = if kind == Kind::Ai { &self.tenant.ai } else { &self.tenant.make };
        self.read(engine.usage()).await
    }

    pub(crate) async fn now(&self) -> Result<Timestamp, Refusal> {
        self.read(self.tenant.ai.now()).await
    }

    pub(crate) async fn count(&self, kind: Kind, counted: Counted) {
        // What is counted does not decide about the reply.
        if let Ok(now) = self.now().await {
            self.tenant.counters.count(&day(now), kind, counted);
        }
    }
}
