//! Lease ids of callers, with which a request can be sent again.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use hmac::{Hmac, KeyInit, Mac};
use lessor_core::{Engine, LeaseId, LeaseIdError, Limits, Message};
use sha2::Sha256;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::config::ConfigError;
use crate::error::Refusal;
use crate::json::Fields;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY: usize = 128;
/// The namespace of the secret. No namespace of callers has a colon in its name.
const NAMESPACE: &str = "http:secret";
/// The time for which the secret is kept. The longest that an engine allows has some days more.
const RETENTION: Duration = Duration::from_secs(3650 * 24 * 3600);
/// The key of the secret.
const SECRET: &str = "idempotency-key secret";
/// The maximum time until the secret is there.
const PATIENCE: Duration = Duration::from_secs(4);

/// The secret behind the header `Idempotency-Key`. It is stored with the leases, in order that a
/// request can be sent again after a restart.
#[derive(Debug)]
pub(crate) struct Secret {
    engine: Engine,
    secret: OnceCell<[u8; 32]>,
}

impl Secret {
    pub(crate) fn new(engine: &Engine) -> Result<Self, ConfigError> {
        let limits = Limits::new().retention(RETENTION);
        let engine = engine.namespace(NAMESPACE).limits(limits).open();
        let engine = engine.map_err(|error| ConfigError::new("engine", error))?;
        Ok(Self { engine, secret: OnceCell::new() })
    }

    /// Returns the lease id that the caller has chosen, if it has: with the field `lease_id`, or
    /// with the header `Idempotency-Key`, from which it follows.
    pub(crate) async fn chosen(
        &self,
        (namespace, key): (&str, &str),
        headers: &HeaderMap,
        fields: &Fields,
    ) -> Result<Option<LeaseId>, Refusal> {
        let chosen = fields.text("lease_id")?;
        let repeated = header(headers)?;
        match (chosen, repeated) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                let message = "give either lease_id or the header Idempotency-Key";
                Err(Refusal::field("body", "lease_id", "value_error", message))
            }
            (Some(id), None) => id.parse().map(Some).map_err(|error: LeaseIdError| {
                Refusal::field("body", "lease_id", "value_error", error.to_string())
            }),
            (None, Some(repeated)) => self.derive(namespace, key, repeated).await.map(Some),
        }
    }

    async fn derive(&self, namespace: &str, key: &str, repeated: &str) -> Result<LeaseId, Refusal> {
        let secret = self.secret.get_or_try_init(|| self.load()).await?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| Refusal::unavailable())?;
        // None of the three contains a zero byte.
        for part in [namespace, "\0", key, "\0", repeated] {
            mac.update(part.as_bytes());
        }
        let mut id = [0; 16];
        id.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        Ok(LeaseId::from_bytes(id))
    }

    /// Returns the stored secret, which is generated once.
    async fn load(&self) -> Result<[u8; 32], Refusal> {
        let halves = [LeaseId::random()?, LeaseId::random()?].map(LeaseId::to_bytes);
        let generated = halves.concat();
        let once = self.engine.once::<Vec<u8>, Message>(SECRET);
        let stored = timeout(PATIENCE, once.run_future(move |_| async { Ok(generated) })).await;
        let stored = stored.map_err(|_| Refusal::unavailable())?.map_err(|_| Refusal::unavailable())?;
        stored.into_value().try_into().map_err(|_| Refusal::unavailable())
    }
}

/// Returns the header `Idempotency-Key`, if there is one.
fn header(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(HEADER).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else { return Ok(None) };
    let refusal = |message| Refusal::field("header", "Idempotency-Key", "value_error", message);
    if second.is_some() {
        return Err(refusal("give the header once"));
    }
    match value.to_str() {
        Ok(text)
            if (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(text))
        }
        _ => Err(refusal("give 1 to 128 visible ASCII characters")),
    }
}
