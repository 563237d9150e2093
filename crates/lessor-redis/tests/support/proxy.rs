//! A proxy between a store and its server that injects faults: at the N-th message, or at random.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::dice::Dice;

/// The fault that one message meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is cut before any byte of the request arrives.
    RequestCutBefore,
    /// The server receives half of the request, and then the end of the connection.
    RequestCutAmid,
    /// From this request on, no byte passes in either direction. The connection stays open.
    RequestHangs,
    /// The request arrives after its caller has given up. The server executes it.
    RequestLate,
    /// The next `SET` arrives once [`Proxy::release`] is called. Other requests are not counted.
    SetHeld,
    ReplyCutBefore,
    ReplyCutAmid,
    ReplyCutAfter,
    /// The reply arrives after its caller has given up.
    ReplyLate,
}

pub(crate) const FAULTS: [Fault; 8] = [
    Fault::RequestCutBefore,
    Fault::RequestCutAmid,
    Fault::RequestHangs,
    Fault::RequestLate,
    Fault::ReplyCutBefore,
    Fault::ReplyCutAmid,
    Fault::ReplyCutAfter,
    Fault::ReplyLate,
];

impl Fault {
    fn is_of_request(self) -> bool {
        !matches!(self, Self::ReplyCutBefore | Self::ReplyCutAmid | Self::ReplyCutAfter | Self::ReplyLate)
    }
}

#[derive(Debug, Default)]
struct Orders {
    /// The planned faults, each so many messages of its kind after the one before.
    planned: Vec<(u64, Fault)>,
    /// The random faults: the number of messages in a thousand that meet one.
    random: Option<(Dice, u64)>,
    requests: u64,
    replies: u64,
    faults: u64,
    /// The text that counted requests contain, and their number.
    watched: (String, u64),
}

#[derive(Debug)]
struct Shared {
    server: AtomicU16,
    late: Duration,
    orders: Mutex<Orders>,
    streams: Mutex<Vec<TcpStream>>,
    is_closed: AtomicBool,
    is_released: AtomicBool,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy in front of the server on a port. Late messages are delayed by `late`.
    pub(crate) fn start(server: u16, late: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: AtomicU16::new(server),
            late,
            orders: Mutex::default(),
            streams: Mutex::default(),
            is_closed: AtomicBool::new(false),
            is_released: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let listener = thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.is_closed.load(Ordering::SeqCst) {
                    return;
                }
                let server = TcpStream::connect(("127.0.0.1", theirs.server.load(Ordering::SeqCst)));
                if let (Ok(client), Ok(server)) = (client, server) {
                    carry(&theirs, client, server);
                }
            }
        });
        Self { port, shared, listener: Some(listener) }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Plans faults: the `at`-th message of the fault's kind from now on meets it, and then the
    /// next fault is counted for.
    pub(crate) fn plan(&self, faults: &[(u64, Fault)]) {
        self.shared.orders.lock().planned = faults.to_vec();
    }

    /// Passes the request on that [`Fault::SetHeld`] holds. Its connection to the store may be
    /// gone.
    pub(crate) fn release(&self) {
        self.shared.is_released.store(true, Ordering::SeqCst);
    }

    /// Counts the requests that contain `part` from now on.
    pub(crate) fn watch(&self, part: &str) {
        self.shared.orders.lock().watched = (part.to_owned(), 0);
    }

    /// Returns the number of counted requests.
    pub(crate) fn watched(&self) -> u64 {
        self.shared.orders.lock().watched.1
    }

    /// Sets the server for new connections.
    pub(crate) fn lead_to(&self, server: u16) {
        self.shared.server.store(server, Ordering::SeqCst);
    }

    pub(crate) fn at_random(&self, seed: u64, of_a_thousand: u64) {
        self.shared.orders.lock().random = Some((Dice(seed), of_a_thousand));
    }

    /// Stops all faults from now on.
    pub(crate) fn quiet(&self) {
        let mut orders = self.shared.orders.lock();
        orders.planned.clear();
        orders.random = None;
    }

    /// Returns the number of requests, replies and faults so far.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let orders = self.shared.orders.lock();
        (orders.requests, orders.replies, orders.faults)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.release();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in self.shared.streams.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
    }
}

impl Shared {
    /// Draws the fault for the next message.
    fn draw(&self, is_request: bool, message: &[u8]) -> Option<Fault> {
        let mut orders = self.orders.lock();
        let Orders { planned, random, requests, replies, faults, watched: (part, met) } = &mut *orders;
        let has_part =
            !part.is_empty() && message.windows(part.len()).any(|window| window == part.as_bytes());
        *met += u64::from(is_request && has_part);
        *if is_request { requests } else { replies } += 1;
        let mut fault = None;
        if let Some((left, planned_fault)) = planned.first_mut()
            && planned_fault.is_of_request() == is_request
            && (*planned_fault != Fault::SetHeld
                || message.get(4..).is_some_and(|rest| rest.starts_with(b"$3\r\nSET")))
        {
            *left -= 1;
            if *left == 0 {
                fault = Some(*planned_fault);
                planned.remove(0);
            }
        }
        if let Some((dice, of_a_thousand)) = random
            && dice.below(1_000) < *of_a_thousand
        {
            let kinds = FAULTS.into_iter().filter(|fault| fault.is_of_request() == is_request);
            fault = kinds.clone().nth(usize::try_from(dice.below(kinds.count() as u64)).unwrap());
        }
        *faults += u64::from(fault.is_some());
        fault
    }
}

fn carry(shared: &Arc<Shared>, client: TcpStream, server: TcpStream) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
        shared.streams.lock().push(stream.try_clone().unwrap());
    }
    let hangs = Arc::new(AtomicBool::new(false));
    for (is_request, from, to) in [(true, &client, &server), (false, &server, &client)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let (shared, hangs) = (Arc::clone(shared), Arc::clone(&hangs));
        thread::spawn(move || {
            let _ = pass(&shared, is_request, &from, &to, &hangs);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}

/// Passes messages on until either end is gone, or a fault cuts the connection.
fn pass(
    shared: &Shared,
    is_request: bool,
    mut from: &TcpStream,
    mut to: &TcpStream,
    hangs: &AtomicBool,
) -> std::io::Result<()> {
    let mut pending = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        while let Some(length) = length_of(&pending) {
            let message: Vec<u8> = pending.drain(..length).collect();
            // A push message is not a reply.
            let fault = if message.starts_with(b">") { None } else { shared.draw(is_request, &message) };
            // The number of bytes that pass, and whether they are the last ones.
            let (passed, is_last) = match fault {
                None => (message.len(), false),
                Some(Fault::RequestHangs) => {
                    hangs.store(true, Ordering::SeqCst);
                    (0, false)
                }
                Some(Fault::RequestLate | Fault::ReplyLate) => {
                    park(shared.late);
                    (message.len(), false)
                }
                Some(Fault::SetHeld) => {
                    while !shared.is_released.load(Ordering::SeqCst) {
                        park(Duration::from_millis(1));
                    }
                    (message.len(), false)
                }
                Some(Fault::RequestCutBefore | Fault::ReplyCutBefore) => (0, true),
                Some(Fault::RequestCutAmid | Fault::ReplyCutAmid) => (message.len() / 2, true),
                Some(Fault::ReplyCutAfter) => (message.len(), true),
            };
            // The passed bytes are a prefix of the stream, as with any connection: no byte follows
            // one that was lost.
            if !hangs.load(Ordering::SeqCst) {
                to.write_all(&message[..passed])?;
            }
            if is_last {
                return Ok(());
            }
        }
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        pending.extend_from_slice(&piece[..read]);
    }
}

/// Returns the length of the first value, if the value is complete.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || -> i64 { std::str::from_utf8(&bytes[1..line - 2]).unwrap().parse().unwrap() };
    let mut length = line;
    let parts = match bytes[0] {
        b'$' | b'=' | b'!' => {
            if let Ok(size) = usize::try_from(number()) {
                length += size + 2;
            }
            0
        }
        b'*' | b'~' | b'>' => number(),
        b'%' => 2 * number(),
        b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => 0,
        other => panic!("no value begins with {other}"),
    };
    for _ in 0..parts {
        length += length_of(bytes.get(length..)?)?;
    }
    (length <= bytes.len()).then_some(length)
}

fn park(time: Duration) {
    thread::park_timeout(time);
}
