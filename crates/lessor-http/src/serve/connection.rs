//! [`Connection`], which serves the requests of one client.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::timeout;

use super::crowd::Place;
use super::stream::Stream;

/// The maximum size of a head, and of what is read ahead of a request.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// The reply to a head that does not arrive.
const TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\n\
    cache-control: no-store\r\ncontent-length: 38\r\n\r\n{\"detail\":{\"error\":\"request_timeout\"}}";

pub(super) struct Connection {
    router: Router,
    place: Place,
    draining: watch::Receiver<bool>,
    head_timeout: Duration,
}

impl Connection {
    pub(super) fn new(
        router: Router,
        place: Place,
        draining: watch::Receiver<bool>,
        head_timeout: Duration,
    ) -> Self {
        Self { router, place, draining, head_timeout }
    }

    /// Serves the requests until the client or the server ends the connection.
    pub(super) async fn run<S>(self, stream: impl Future<Output = Option<S>>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (leave, progress) = (Arc::clone(&self.place.leave), self.place.progress.clone());
        let asked_to_leave = async {
            loop {
                leave.notified().await;
                if progress.rank().is_some() {
                    return;
                }
            }
        };
        tokio::select! {
            () = asked_to_leave => {}
            () = self.serve(stream) => {}
        }
    }

    async fn serve<S>(mut self, stream: impl Future<Output = Option<S>>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(Some(stream)) = timeout(self.head_timeout, stream).await else { return };
        let router = self.router.layer(Extension(self.place.progress.clone()));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(
                TokioIo::new(Stream::new(stream, self.head_timeout)),
                TowerToHyperService::new(router),
            );
        let draining = &mut self.draining;
        // The channel ends with the server, which drops this future too.
        let mut drained = pin!(async move { draining.wait_for(|draining| *draining).await.map(drop) });
        let mut is_draining = false;
        let ended = loop {
            tokio::select! {
                ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended,
                _ = &mut drained, if !is_draining => is_draining = true,
            }
            Pin::new(&mut connection).graceful_shutdown();
        };
        let mut stream = connection.into_parts().io.into_inner();
        if ended.is_err_and(|error| error.is_timeout()) && stream.is_unanswered() {
            let _ = stream.write_all(TIMED_OUT).await;
        }
        let _ = stream.shutdown().await;
    }
}
