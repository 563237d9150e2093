//! A client that speaks as much HTTP as it needs, and repeats its request until it has an answer.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::provider::Payment;

/// The number of times that a client asks, at most once per second.
const PATIENCE: u32 = 60;

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The time after which to ask again, if the answer says so.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        let after = headers.find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
        let retry_after = after.and_then(|(_, seconds)| seconds.parse().ok()).map(Duration::from_secs);
        Some(Self { status, retry_after, body: body.to_owned() })
    }

    /// Returns what must be the same for each request with one key.
    pub(crate) fn content(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// Sends a request and returns the open connection. Dropping it hangs up.
pub(crate) fn send(server: SocketAddr, key: Option<&str>, payment: &Payment) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(server)?;
    let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
    let body = serde_json::to_string(payment)?;
    let length = body.len();
    connection.write_all(
        format!(
            "POST /payments HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n{key}\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    )?;
    Ok(connection)
}

/// Sends a request and returns its answer.
pub(crate) fn ask(server: SocketAddr, key: Option<&str>, payment: &Payment) -> io::Result<Answer> {
    let mut text = String::new();
    send(server, key, payment)?.read_to_string(&mut text)?;
    Answer::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no answer"))
}

/// Sends a request until it has a final answer. The server may be away, or return at another
/// address.
#[expect(clippy::disallowed_methods, reason = "a client waits before it asks again")]
pub(crate) fn insist(
    server: impl Fn() -> SocketAddr,
    key: &str,
    payment: &Payment,
) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    for _ in 0..PATIENCE {
        let pause = match ask(server(), Some(key), payment) {
            Ok(answer) => match answer.retry_after {
                Some(after) => after,
                None => return Ok(answer),
            },
            Err(_) => Duration::from_millis(100),
        };
        std::thread::sleep(pause);
    }
    Err("there was no final answer".into())
}
