//! The server on real sockets, and clients that are hostile.

use std::time::Duration;

use lessor_core::Engine;
use lessor_http::{Config, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::server::{Server, shop};

/// The time after which a test fails that waits for something.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    address: std::net::SocketAddr,
    engine: Engine,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn start(config: Config) -> Running {
    let engine = Server::new().engine;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = engine.clone();
    let task = tokio::spawn(async move {
        let shutdown = async { stopped.await.unwrap_or_default() };
        serve(listener, &served, &config, shutdown).await.unwrap();
    });
    Running { address, engine, stop: Some(stop), task }
}

/// Returns settings with these limits: connections, and the times for heads and bodies.
fn limited(connections: usize, head: Duration, body: Duration) -> Config {
    let mut config = shop();
    config.server.max_connections = connections;
    config.server.head_timeout = head;
    config.server.body_timeout = body;
    config
}

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3600);

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-shop\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Running {
    async fn send(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(bytes.as_ref()).await.unwrap();
        client
    }

    /// Returns the replies to these bytes, until the server closes the connection.
    async fn replies(&self, bytes: impl AsRef<[u8]>) -> String {
        rest(self.send(bytes).await).await
    }

    /// Asserts that a client gets a reply.
    async fn assert_replies(&self) {
        let reply = self.replies(post("/v1/ai/lease", "connection: close\r\n", r#"{"key":"new"}"#)).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }
}

async fn rest(mut client: TcpStream) -> String {
    let mut replies = Vec::new();
    // A connection may be reset after its last reply.
    let _ = timeout(PATIENCE, client.read_to_end(&mut replies)).await.unwrap();
    String::from_utf8(replies).unwrap()
}

#[tokio::test]
async fn a_head_that_stalls_is_answered_with_408_and_an_idle_connection_is_closed() {
    let server = start(limited(10, SHORT, LONG)).await;
    let reply = server.replies("POST /v1/ai/lease HTTP/1.1\r\nhost: x").await;
    assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    assert!(reply.ends_with("{\"detail\":{\"error\":\"request_timeout\"}}"), "{reply}");
    assert_eq!(server.replies("").await, "");
    let reply = server.replies(post("/v1/ai/lease", "", r#"{"key":"k"}"#)).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.matches("HTTP/1.1").count() == 1, "{reply}");
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_with_408() {
    let server = start(limited(10, LONG, SHORT)).await;
    let head = post("/v1/ai/lease", "", "").replace("content-length: 0", "content-length: 20");
    for request in [
        head + "{\"key\":",
        post("/v1/ai/lease", "transfer-encoding: chunked\r\n", "").replace("content-length: 0\r\n", "")
            + "5\r\n{\"key",
    ] {
        let reply = server.replies(request).await;
        assert!(reply.starts_with("HTTP/1.1 408"), "{reply}");
    }
}

#[tokio::test]
async fn a_request_with_two_lengths_is_never_run_as_two() {
    let server = start(limited(10, LONG, LONG)).await;
    let hidden = post("/v1/ai/lease", "connection: close\r\n", r#"{"key":"hidden"}"#);
    let chunked = format!("0\r\n\r\n{hidden}");
    for request in [
        post("/v1/ai/lease", "transfer-encoding: chunked\r\n", &chunked),
        post("/v1/ai/lease", "", &chunked).replace("\r\n\r\n0", "\r\ntransfer-encoding: chunked\r\n\r\n0"),
        post("/v1/ai/lease", "content-length: 2\r\n", &hidden),
        post("/v1/ai/lease", "", &hidden).replace("content-length", "content-length: 0\r\ncontent-length"),
        post("/v1/ai/lease", "transfer-encoding: gzip\r\n", &hidden),
        post("/v1/ai/lease", "transfer-encoding: xchunked\r\n", &chunked),
    ] {
        let reply = server.replies(&request).await;
        assert!(
            reply.starts_with("HTTP/1.1 4") && reply.matches("HTTP/1.1").count() == 1,
            "{request}\n\n{reply}"
        );
    }
    let shop = server.engine.namespace("shop").open().unwrap();
    assert!(shop.status("hidden").await.unwrap().is_none());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let server = start(limited(10, LONG, LONG)).await;
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-shop\r\n\r\n");
    let requests =
        post("/v1/ai/lease", "", r#"{"key":"k"}"#) + &get("/v1/ai/status?key=k") + &get("/v1/nowhere");
    let replies = server.replies(requests + &post("/v1/ai/lease", "connection: close\r\n", "{}")).await;
    let statuses: Vec<&str> = replies.split("HTTP/1.1 ").skip(1).map(|reply| &reply[..3]).collect();
    assert_eq!(statuses, ["200", "200", "404", "422"], "{replies}");
}

#[tokio::test]
async fn idle_connections_and_slow_requests_hold_nobody_up() {
    let server = start(limited(16, LONG, LONG)).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(server.send("").await);
    }
    server.assert_replies().await;
    for _ in 0..50 {
        clients.push(server.send("POST /v1/ai/lease HTTP/1.1\r\nhost: x\r\nauthor").await);
        clients.push(
            server
                .send(post("/v1/ai/lease", "", "{").replace("content-length: 1", "content-length: 9"))
                .await,
        );
    }
    server.assert_replies().await;
}

#[tokio::test]
async fn a_request_that_is_worked_on_is_not_cut_off_to_make_room() {
    let server = start(limited(2, LONG, LONG)).await;
    let shop = server.engine.namespace("shop").open().unwrap();
    let lessor_core::Acquisition::Acquired(lease) = shop.acquire("k").await.unwrap() else {
        panic!("the key is new")
    };
    let poll = "GET /v1/ai/status?key=k&wait=30 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-shop\r\nconnection: close\r\n\r\n";
    let polling = server.send(poll).await;
    while server.engine.stats().waiting == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        let _idle = server.send("").await;
        server.assert_replies().await;
    }
    let second = server.send(poll).await;
    while server.engine.stats().waiting < 2 {
        tokio::task::yield_now().await;
    }
    // There is no room for this request until a poll is answered.
    let third = server.send(post("/v1/ai/lease", "connection: close\r\n", r#"{"key":"l"}"#)).await;
    // The server asks for room again every 20 ms.
    tokio::time::sleep(Duration::from_millis(100)).await;
    lease.release().await.unwrap();
    for polling in [polling, second] {
        let reply = rest(polling).await;
        assert!(reply.contains("\"status\":\"released\""), "{reply}");
    }
    assert!(rest(third).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_shutdown_answers_the_requests_under_way_and_closes_idle_connections() {
    let mut server = start(limited(10, LONG, LONG)).await;
    let shop = server.engine.namespace("shop").open().unwrap();
    let lessor_core::Acquisition::Acquired(lease) = shop.acquire("k").await.unwrap() else {
        panic!("the key is new")
    };
    let idle = server.send("").await;
    let poll =
        "GET /v1/ai/status?key=k&wait=30 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-shop\r\n\r\n";
    let polling = server.send(poll).await;
    while server.engine.stats().waiting == 0 {
        tokio::task::yield_now().await;
    }
    server.stop.take().unwrap().send(()).unwrap();
    assert_eq!(rest(idle).await, "");
    assert!(TcpStream::connect(server.address).await.is_err() && !server.task.is_finished());
    lease.release().await.unwrap();
    let reply = rest(polling).await;
    assert!(reply.contains("\"status\":\"released\""), "{reply}");
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn heads_that_are_no_http_or_too_large_are_refused() {
    let server = start(limited(10, LONG, LONG)).await;
    for request in
        ["\u{0}\u{1}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n", "GET / HTTP/1.1\r\nna me: x\r\n\r\n"]
    {
        assert!(server.replies(request).await.starts_with("HTTP/1.1 400"), "{request:?}");
    }
    let large = format!("GET / HTTP/1.1\r\nname: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    for request in [large, many] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        // The server may close the connection before everything is sent.
        let _ = client.write_all(request.as_bytes()).await;
        let reply = rest(client).await;
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431"), "{reply}");
    }
    server.assert_replies().await;
}

#[tokio::test]
async fn a_server_without_keys_is_refused_except_on_a_loopback_address() {
    let engine = Server::new().engine;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = serve(listener, &engine, &Config::new(), std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    let server = start(Config::new()).await;
    let reply = server
        .replies("GET /v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer any\r\nconnection: close\r\n\r\n")
        .await;
    assert!(reply.contains("\"namespace\":\"default\""), "{reply}");
}
