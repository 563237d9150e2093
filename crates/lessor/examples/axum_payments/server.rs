//! The endpoint `POST /payments`. This file is what an application contains.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_lite::FutureExt;
use lessor::{Backoff, Engine, ErrorKind, FailureClass, OnceError, Reconciled};
use serde::Serialize;

use crate::provider::{Failed, Payment, Provider, Receipt};

/// The time after which a server that was killed is replaced.
const TTL: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct App {
    engine: Engine,
    provider: Provider,
}

/// Returns the endpoint.
pub(crate) fn app(engine: Engine, provider: Provider) -> Router {
    Router::new()
        .route("/payments", post(pay))
        .layer(from_fn(answer_panics))
        .with_state(App { engine, provider })
}

/// Charges once per `Idempotency-Key`, and sends the same answer to each request with that key.
///
/// An application with several clients puts the name of the authenticated client into the key.
/// Otherwise, one client could read the answer of another.
async fn pay(State(app): State<App>, headers: HeaderMap, Json(payment): Json<Payment>) -> Response {
    let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
        return problem(StatusCode::BAD_REQUEST, "idempotency_key_missing");
    };
    let (books, provider) = (app.provider.clone(), app.provider);
    let outcome = app
        .engine
        .once(format!("payment:{key}"))
        .ttl(TTL)
        .fingerprint(&payment)
        .wait_timeout(Duration::from_secs(30))
        .classify(class)
        .reconcile(move |lease| match books.find(lease.key()) {
            Ok(Some(receipt)) => Reconciled::Done(receipt),
            Ok(None) => Reconciled::NotDone,
            Err(_) => Reconciled::Unknown,
        })
        .run_detached(
            |task| drop(tokio::spawn(task)),
            async move |lease| provider.charge(lease.key(), &payment).await,
        )
        .await;
    answer(outcome.map(|outcome| outcome.into_value()))
}

/// What each error of the provider means for the key.
fn class(failed: &Failed) -> FailureClass {
    match failed {
        Failed::Declined => FailureClass::keep().code("declined"),
        Failed::Overloaded => {
            FailureClass::retry(10, Backoff::fixed(Duration::from_secs(1))).code("overloaded")
        }
        Failed::NoAnswer => FailureClass::unsure(),
    }
}

fn answer(outcome: Result<Receipt, OnceError<Receipt, Failed>>) -> Response {
    match outcome {
        Ok(receipt) => (StatusCode::CREATED, Json(receipt)).into_response(),
        Err(OnceError::Work { error: Failed::Declined, .. }) => {
            problem(StatusCode::PAYMENT_REQUIRED, "declined")
        }
        Err(OnceError::Work { error: Failed::Overloaded, retry_after, .. }) => {
            later(StatusCode::SERVICE_UNAVAILABLE, "overloaded", retry_after)
        }
        // The next request looks for the charge in the provider's books.
        Err(
            OnceError::Work { error: Failed::NoAnswer, .. }
            | OnceError::InDoubt { .. }
            | OnceError::Lost(_)
            | OnceError::Unrecorded { .. },
        ) => later(StatusCode::ACCEPTED, "pending", None),
        Err(OnceError::InProgress(_)) => later(StatusCode::CONFLICT, "in_progress", None),
        Err(OnceError::Engine(error)) => match error.kind() {
            ErrorKind::Mismatch => problem(StatusCode::UNPROCESSABLE_ENTITY, "another_body_under_this_key"),
            ErrorKind::Invalid => problem(StatusCode::BAD_REQUEST, "idempotency_key_invalid"),
            _ => later(StatusCode::SERVICE_UNAVAILABLE, "unavailable", None),
        },
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    }
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
}

fn problem(status: StatusCode, code: &'static str) -> Response {
    (status, Json(Problem { code })).into_response()
}

/// A problem that a later request may not have.
fn later(status: StatusCode, code: &'static str, after: Option<Duration>) -> Response {
    // Seconds, rounded up.
    let seconds = after.unwrap_or_default().as_millis().div_ceil(1000).max(1);
    ([("retry-after", seconds.to_string())], problem(status, code)).into_response()
}

/// Answers 500 if the handler panics. `tower_http::catch_panic` does the same.
async fn answer_panics(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "failed"))
}
