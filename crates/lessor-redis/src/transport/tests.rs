//! Tests of the socket against a server that echoes and replies in fragments.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use futures_lite::future;
use lessor_core::store::Notifier;
use redis::{Value, cmd};
use tokio::runtime::{Builder, Handle, Runtime};

use super::reply::{InFlight, ReplyResult, ReplySlot};
use super::reply_buffer::ReplyBuffer;
use super::socket::{EnqueueError, SOLO_STREAK, Socket, WaitMode};

struct Dice(u64);

impl Dice {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// One connection: its socket, whether it was disconnected, the number of push messages, and the
/// server's end of the connection.
struct TestSocket {
    socket: Arc<Socket>,
    disconnected: Arc<AtomicBool>,
    pushes: Arc<AtomicU64>,
    server: TcpStream,
    driver: thread::JoinHandle<()>,
}

fn connect(runtime: Option<&Runtime>) -> TestSocket {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let (disconnected, pushes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (is_disconnected, pushes_seen) = (Arc::clone(&disconnected), Arc::clone(&pushes));
    let on_push = move |_: &redis::PushInfo| {
        pushes_seen.fetch_add(1, Ordering::SeqCst);
    };
    let handle: Option<Handle> = runtime.map(|runtime| runtime.handle().clone());
    let socket = Socket::new(socket, handle, Notifier::new(), on_push, move || {
        is_disconnected.store(true, Ordering::SeqCst);
    })
    .unwrap();
    let socket = Arc::new(socket);
    let driven = Arc::clone(&socket);
    let driver = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(driven.run());
    });
    TestSocket { socket, disconnected, pushes, server, driver }
}

/// Parses one `ECHO` request. Returns its text, and the length of the request.
fn request(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let Ok((super::resp::RespFrame::Reply(Value::Array(parts)), length)) = super::resp::parse_frame(bytes)
    else {
        return None;
    };
    let [Value::BulkString(_), Value::BulkString(sent)] = &parts[..] else { panic!("{parts:?}") };
    Some((sent.clone(), length))
}

/// Echoes until the connection ends. If `cuts` is not 0, one in `cuts` replies is cut off in the
/// middle, and the connection with it.
fn echo(mut server: &TcpStream, mut dice: Dice, cuts: usize) {
    let (mut received, mut piece) = (Vec::new(), [0; 4096]);
    server.set_nodelay(true).unwrap();
    loop {
        match server.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => received.extend_from_slice(&piece[..read]),
        }
        let mut sent = Vec::new();
        while let Some((text, length)) = request(&received) {
            received.drain(..length);
            if dice.below(8) == 0 {
                sent.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
            }
            sent.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            sent.extend_from_slice(&text);
            sent.extend_from_slice(b"\r\n");
            if cuts > 0 && dice.below(cuts) == 0 {
                sent.truncate(sent.len() - dice.below(text.len()));
                let _ = server.write_all(&sent);
                let _ = server.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + dice.below(rest.len()));
            if server.write_all(now).is_err() {
                return;
            }
            rest = later;
        }
    }
}

/// The number of requests whose caller was woken, read on its blocked thread, or read in its task.
static WOKEN: AtomicU64 = AtomicU64::new(0);
static READ_BLOCKING: AtomicU64 = AtomicU64::new(0);
static READ_IN_TASK: AtomicU64 = AtomicU64::new(0);

async fn request_echo(socket: &Socket, text: &[u8]) -> ReplyResult {
    let request = cmd("ECHO").arg(text).get_packed_command();
    loop {
        match socket.request(1, false, |out| out.extend_from_slice(&request)) {
            Ok(in_flight) => {
                match in_flight.mode {
                    WaitMode::Wake => &WOKEN,
                    WaitMode::Block => &READ_BLOCKING,
                    WaitMode::Task(_) => &READ_IN_TASK,
                }
                .fetch_add(1, Ordering::SeqCst);
                return in_flight.await;
            }
            Err(EnqueueError::Full) => socket.wait_for_room().await,
            Err(EnqueueError::Disconnected(kind)) => return Err(kind),
        }
    }
}

/// Runs on a thread that may block.
fn wait<T>(future: impl Future<Output = T> + Send) -> T {
    lessor_core::block_on(future)
}

fn text(caller: usize, round: usize, dice: &mut Dice) -> Vec<u8> {
    let size = if dice.below(50) == 0 { 200_000 } else { 1 + dice.below(300) };
    format!("{caller}/{round}/").bytes().cycle().take(size.max(12)).collect()
}

/// Polls a future at most `times` times, and then drops it.
async fn polled<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future = Box::pin(future);
    let mut remaining = times;
    future::poll_fn(|context| {
        remaining = remaining.saturating_sub(1);
        match future.as_mut().poll(context) {
            std::task::Poll::Ready(replied) => std::task::Poll::Ready(Some(replied)),
            std::task::Poll::Pending if remaining == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

async fn rounds(socket: &Socket, caller: usize, rounds: usize) -> (u64, u64, u64) {
    let mut dice = Dice(caller as u64);
    let (mut replied, mut given_up, mut failed) = (0, 0, 0);
    for round in 0..rounds {
        let text = text(caller, round, &mut dice);
        // Callers give up in some rounds only. Otherwise no caller would be alone for long.
        let gives_up = round % 60 < 20 && dice.below(4) == 0;
        let times = if gives_up { 1 + dice.below(2) } else { usize::MAX };
        match polled(request_echo(socket, &text), times).await {
            Some(Ok(answered)) => {
                assert!(answered.last == Value::BulkString(text), "{caller}/{round}");
                replied += 1;
            }
            Some(Err(_)) => failed += 1,
            None => given_up += 1,
        }
    }
    (replied, given_up, failed)
}

/// Callers on threads, on a runtime whose tasks may read, and on one whose tasks may not; few and
/// many; giving up at any moment; on connections that are cut.
#[test]
fn p6_every_reply_reaches_its_own_caller_whichever_party_writes_and_reads() {
    const ROUNDS: usize = 200;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut replied, mut given_up, mut failed, mut pushes) = (0, 0, 0, 0);
    for seed in 0..60 {
        let cuts = if (seed / 6) % 3 == 0 { 100 } else { 0 };
        let TestSocket { socket, disconnected, pushes: pushes_seen, server, driver } =
            connect(Some(&runtime));
        let [blocking, tasks, others] =
            [[1, 0, 0], [0, 1, 0], [1, 1, 0], [4, 0, 0], [3, 3, 3], [0, 0, 1]][seed % 6];
        let mut sums = Vec::new();
        thread::scope(|scope| {
            let server = &server;
            scope.spawn(move || echo(server, Dice(seed as u64), cuts));
            let mut callers = Vec::new();
            for caller in 0..blocking {
                let socket = &socket;
                callers.push(scope.spawn(move || wait(rounds(socket, caller, ROUNDS))));
            }
            for caller in 0..others {
                let socket = &socket;
                callers.push(scope.spawn(move || future::block_on(rounds(socket, 10 + caller, ROUNDS))));
            }
            let tasks: Vec<_> = (0..tasks)
                .map(|caller| {
                    let socket = Arc::clone(&socket);
                    runtime.spawn(async move { rounds(&socket, 20 + caller, ROUNDS).await })
                })
                .collect();
            sums.extend(callers.into_iter().map(|caller| caller.join().unwrap()));
            sums.extend(tasks.into_iter().map(|task| runtime.block_on(task).unwrap()));
            socket.close();
        });
        driver.join().unwrap();
        assert!(cuts > 0 || !disconnected.load(Ordering::SeqCst), "{seed}: closed, not disconnected");
        for (one, two, three) in sums {
            assert!(cuts > 0 || three == 0, "{seed}: {three} failed");
            (replied, given_up, failed) = (replied + one, given_up + two, failed + three);
        }
        pushes += pushes_seen.load(Ordering::SeqCst);
    }
    let counts = [&WOKEN, &READ_BLOCKING, &READ_IN_TASK].map(|count| count.load(Ordering::SeqCst));
    println!(
        "{replied} answers, {given_up} given up, {failed} failed, {pushes} pushes; waited and led: {counts:?}"
    );
    assert!(counts.into_iter().all(|count| count > 100));
    assert!(replied > 0 && given_up > 0 && failed > 0 && pushes > 0);
}

/// Replies received in one piece are the same in two pieces, wherever the cut is, and in pieces of
/// any size.
#[test]
fn p6_replies_do_not_depend_on_where_a_read_ends() {
    let sent = b"$3\r\none\r\n>2\r\n+invalidate\r\n_\r\n+OK\r\n*2\r\n:1\r\n$5\r\nthree\r\n-ERR four\r\n$0\r\n\r\n:6\r\n";
    let read_all = |pieces: &[&[u8]]| {
        let mut reply_buffer = ReplyBuffer::new();
        let slots: Vec<Arc<ReplySlot>> = (0..5).map(|_| Arc::default()).collect();
        // The second request waits for two values, and keeps both.
        let entry = |at: usize| InFlight {
            slot: Arc::clone(&slots[at]),
            remaining: if at == 1 { 2 } else { 1 },
            earlier: Vec::new(),
            keeps_earlier: true,
        };
        let mut in_flight = (0..5).map(entry).collect();
        let pushes_seen = std::cell::Cell::new(0);
        for piece in pieces {
            reply_buffer.read_space()[..piece.len()].copy_from_slice(piece);
            reply_buffer.parse(piece.len(), usize::MAX).unwrap();
            reply_buffer.assign(&mut in_flight).unwrap();
            reply_buffer.deliver(&Notifier::new(), &|_| pushes_seen.set(pushes_seen.get() + 1));
        }
        assert_eq!((in_flight.len(), pushes_seen.get()), (0, 1));
        slots.iter().map(|slot| slot.take().unwrap().unwrap()).collect::<Vec<_>>()
    };
    let whole = read_all(&[sent]);
    assert_eq!(whole[0].last, Value::BulkString(b"one".to_vec()));
    assert_eq!(whole[1].earlier, [Value::Okay]);
    assert_eq!(whole[4].last, Value::Int(6));
    for cut in 1..sent.len() {
        let (first, second) = sent.split_at(cut);
        assert_eq!(read_all(&[first, second]), whole, "cut at {cut}");
        assert_eq!(read_all(&sent.chunks(cut).collect::<Vec<_>>()), whole, "in pieces of {cut}");
    }
}

/// A reply without a request makes all later replies unreliable.
#[test]
fn p6_unsolicited_and_malformed_replies_end_the_connection() {
    for sent in ["+OK\r\n", "$3\r\nfar\r\n$3\r\nmore\r\n", "nonsense\r\n"] {
        let TestSocket { socket, disconnected, mut server, driver, .. } = connect(None);
        server.write_all(sent.as_bytes()).unwrap();
        driver.join().unwrap();
        assert!(disconnected.load(Ordering::SeqCst) && socket.has_ended(), "{sent:?}");
        assert!(matches!(wait(request_echo(&socket, b"more")), Err(ErrorKind::InvalidData)), "{sent:?}");
    }
}

/// The reading caller is kept without being polled. Other callers receive their replies all the
/// same.
#[test]
fn a_reading_caller_that_is_no_longer_polled_delays_no_other_caller() {
    const FORMER: u32 = 2 * SOLO_STREAK;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for reads_in_task in [false, true] {
        let TestSocket { socket, server, driver, .. } = connect(Some(&runtime));
        thread::scope(|scope| {
            let (socket, server) = (&socket, &server);
            let is_held = Arc::new(Barrier::new(2));
            let released = Arc::clone(&is_held);
            scope.spawn(move || {
                // The first requests are answered. The stalled one is answered after another one
                // has been sent.
                let (mut received, mut server) = (Vec::new(), server);
                let mut piece = [0; 256];
                for round in 0..FORMER + 2 {
                    while request(&received).is_none() {
                        let read = server.read(&mut piece).unwrap();
                        received.extend_from_slice(&piece[..read]);
                    }
                    let (text, length) = request(&received).unwrap();
                    received.drain(..length);
                    if round == FORMER {
                        released.wait();
                    }
                    let text = String::from_utf8(text).unwrap();
                    server.write_all(format!("${}\r\n{text}\r\n", text.len()).as_bytes()).unwrap();
                }
            });
            let lead = async {
                for _ in 0..FORMER {
                    request_echo(socket, b"earlier").await.unwrap();
                }
                let mut stalled = Box::pin(request_echo(socket, b"stalled"));
                assert!(future::poll_once(stalled.as_mut()).await.is_none());
                Some(stalled)
            };
            let stalled = if reads_in_task { runtime.block_on(lead) } else { wait(lead) }.unwrap();
            is_held.wait();
            let replied = future::block_on(request_echo(socket, b"other")).unwrap();
            assert_eq!(replied.last, Value::BulkString(b"other".to_vec()));
            assert_eq!(wait(stalled).unwrap().last, Value::BulkString(b"stalled".to_vec()));
            socket.close();
        });
        driver.join().unwrap();
    }
}

/// Requests that the server does not read yet wait, up to a limit. None is lost, and none is sent
/// twice.
#[test]
fn p6_unsent_requests_wait_and_are_limited() {
    let TestSocket { socket, server, driver, .. } = connect(None);
    let text = vec![b'x'; 300_000];
    let request = cmd("ECHO").arg(&text[..]).get_packed_command();
    let mut in_flight = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        match socket.request(1, false, |out| out.extend_from_slice(&request)) {
            Ok(pushed) => {
                in_flight.push(pushed);
                assert!(in_flight.len() < 1_000, "there is no limit");
            }
            Err(refusal) => {
                assert_eq!(refusal, EnqueueError::Full);
                refused += 1;
                thread::park_timeout(Duration::from_millis(5));
            }
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| echo(&server, Dice(1), 0));
        // One more request, once there is room.
        let more = scope.spawn(|| future::block_on(request_echo(&socket, b"more")));
        for pushed in in_flight {
            assert!(future::block_on(pushed).unwrap().last == Value::BulkString(text.clone()));
        }
        assert_eq!(more.join().unwrap().unwrap().last, Value::BulkString(b"more".to_vec()));
        socket.close();
    });
    driver.join().unwrap();
}

/// Each waiting caller receives an error when the connection ends, in whichever way it waits.
#[test]
fn the_end_of_a_connection_wakes_every_caller() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for (way, server_ends_it) in [(0, true), (1, true), (2, true), (0, false), (1, false), (2, false)] {
        let TestSocket { socket, disconnected, server, driver, .. } = connect(Some(&runtime));
        thread::scope(|scope| {
            let socket = &socket;
            let caller = scope.spawn(|| match way {
                0 => wait(request_echo(socket, b"never")),
                1 => runtime.block_on(request_echo(socket, b"never")),
                _ => future::block_on(request_echo(socket, b"never")),
            });
            (&server).read_exact(&mut [0; 25]).unwrap();
            if server_ends_it {
                server.shutdown(std::net::Shutdown::Both).unwrap();
            } else {
                socket.close();
            }
            assert!(caller.join().unwrap().is_err());
        });
        driver.join().unwrap();
        assert_eq!(disconnected.load(Ordering::SeqCst), server_ends_it);
    }
}

/// Replies that have been received and that no caller takes are limited in size.
#[test]
fn unclaimed_replies_are_limited() {
    const MIB: usize = 1 << 20;
    let mut reply_buffer = ReplyBuffer::new();
    let mut in_flight = std::collections::VecDeque::new();
    let mut answer = |reply_buffer: &mut ReplyBuffer, size: usize| {
        let slot = Arc::new(ReplySlot::default());
        in_flight.push_back(InFlight {
            slot: Arc::clone(&slot),
            remaining: 1,
            earlier: Vec::new(),
            keeps_earlier: false,
        });
        let sent = format!("${size}\r\n{}\r\n", "x".repeat(size));
        let length = reply_buffer.read_space().len();
        for piece in sent.as_bytes().chunks(length) {
            reply_buffer.read_space()[..piece.len()].copy_from_slice(piece);
            reply_buffer.parse(piece.len(), usize::MAX).unwrap();
        }
        reply_buffer.assign(&mut in_flight).unwrap();
        reply_buffer.deliver(&Notifier::new(), &|_| {});
        slot
    };
    let mut slots: Vec<_> = (0..64).map(|_| answer(&mut reply_buffer, MIB)).collect();
    let refused = answer(&mut reply_buffer, MIB);
    assert_eq!(refused.take(), Some(Err(ErrorKind::OutOfMemory)));
    // A small reply is not received.
    assert!(matches!(answer(&mut reply_buffer, 10).take(), Some(Ok(_))));
    // One reply is taken, and another one is dropped with its caller.
    assert!(matches!(slots.pop().unwrap().take(), Some(Ok(_))));
    drop(slots.pop());
    slots.push(answer(&mut reply_buffer, MIB));
    slots.push(answer(&mut reply_buffer, MIB));
    assert_eq!(answer(&mut reply_buffer, MIB).take(), Some(Err(ErrorKind::OutOfMemory)));
    assert!(slots.iter().all(|slot| matches!(slot.take(), Some(Ok(_)))));
    assert!(matches!(answer(&mut reply_buffer, 100 * MIB).take(), Some(Ok(_))), "if it is the only one");
}
