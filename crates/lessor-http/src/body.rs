//! Reads the bodies of requests, within limits on size, time and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::Refusal;

/// The size up to which a body takes nothing of the common memory.
const SMALL: usize = 16 << 10;

/// The limits on bodies.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    /// The memory for large bodies, in KiB.
    memory: Arc<Semaphore>,
    timeout: Duration,
}

impl Bodies {
    pub(crate) fn new(max_buffered: usize, timeout: Duration) -> Self {
        let kib = (max_buffered >> 10).min(Semaphore::MAX_PERMITS);
        Self { memory: Arc::new(Semaphore::new(kib)), timeout }
    }

    /// Returns the whole body, and the share of the common memory that it takes.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > limit as u64) {
            return Err(Refusal::body_too_large(limit));
        }
        match timeout(self.timeout, self.collect(body, limit)).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::code(StatusCode::REQUEST_TIMEOUT, "request_timeout").closing()),
        }
    }

    async fn collect(
        &self,
        mut body: Body,
        limit: usize,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        let (mut read, mut share) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(Refusal::code(StatusCode::BAD_REQUEST, "body_incomplete").closing());
            };
            let Ok(data) = frame.into_data() else { continue };
            let length = read.len() + data.len();
            if length > limit {
                return Err(Refusal::body_too_large(limit));
            }
            if length > SMALL && share.is_none() {
                let kib = u32::try_from(limit.div_ceil(1 << 10)).unwrap_or(u32::MAX);
                let Ok(taken) = Arc::clone(&self.memory).try_acquire_many_owned(kib) else {
                    return Err(Refusal::code(StatusCode::TOO_MANY_REQUESTS, "rate_limited").closing());
                };
                share = Some(taken);
            }
            read.extend_from_slice(&data);
        }
        Ok((read.into(), share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_bodies_share_their_memory() {
        let bodies = Bodies::new(64 << 10, Duration::from_secs(60));
        let read =
            async |size: usize| bodies.read(&HeaderMap::new(), vec![b' '; size].into(), 64 << 10).await;
        let (_first, share) = read(SMALL + 1).await.unwrap();
        assert_eq!(read(SMALL + 1).await.unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
        // A small body is always read.
        assert_eq!(read(SMALL).await.unwrap().0.len(), SMALL);
        drop(share);
        read(SMALL + 1).await.unwrap();
    }
}
