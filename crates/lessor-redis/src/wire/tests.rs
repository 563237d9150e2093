//! Connections to a server that echoes, and says it in pieces.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use futures_lite::future;
use lessor_core::Pending;
use lessor_core::store::Notifier;
use redis::{Value, cmd};
use tokio::runtime::{Builder, Handle, Runtime};

use super::line::{ALONE, Line, Part, Refusal};
use super::reading::Reading;
use super::waiting::{Answer, Entry, Slot};

struct Dice(u64);

impl Dice {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// One connection: its line, whether it was lost, how often something was pushed, and the server's end.
struct Connection {
    line: Arc<Line>,
    lost: Arc<AtomicBool>,
    pushes: Arc<AtomicU64>,
    server: TcpStream,
    driver: thread::JoinHandle<()>,
}

fn connect(runtime: Option<&Runtime>) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let (lost, pushes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (is_lost, heard) = (Arc::clone(&lost), Arc::clone(&pushes));
    let hear = move |_: &redis::PushInfo| {
        heard.fetch_add(1, Ordering::SeqCst);
    };
    let handle: Option<Handle> = runtime.map(|runtime| runtime.handle().clone());
    let line =
        Line::new(socket, handle, Notifier::new(), hear, move || is_lost.store(true, Ordering::SeqCst))
            .unwrap();
    let line = Arc::new(line);
    let theirs = Arc::clone(&line);
    let driver = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(theirs.drive());
    });
    Connection { line, lost, pushes, server, driver }
}

/// The first text of `ECHO`, and how long the request is.
fn request(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let Ok((super::replies::Said::Answer(Value::Array(parts)), length)) = super::replies::first(bytes) else {
        return None;
    };
    let [Value::BulkString(_), Value::BulkString(said)] = &parts[..] else { panic!("{parts:?}") };
    Some((said.clone(), length))
}

/// Answers until the connection ends or, one time of so many, cuts it amid an answer.
fn echo(mut server: &TcpStream, mut dice: Dice, cuts: usize) {
    let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
    server.set_nodelay(true).unwrap();
    loop {
        match server.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => asked.extend_from_slice(&piece[..read]),
        }
        let mut said = Vec::new();
        while let Some((text, length)) = request(&asked) {
            asked.drain(..length);
            if dice.below(8) == 0 {
                said.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
            }
            said.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            said.extend_from_slice(&text);
            said.extend_from_slice(b"\r\n");
            if cuts > 0 && dice.below(cuts) == 0 {
                said.truncate(said.len() - dice.below(text.len()));
                let _ = server.write_all(&said);
                let _ = server.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
        let mut rest = &said[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + dice.below(rest.len()));
            if server.write_all(now).is_err() {
                return;
            }
            rest = later;
        }
    }
}

/// How often callers have waited, and led in each way.
static FOLLOWED: AtomicU64 = AtomicU64::new(0);
static BLOCKED: AtomicU64 = AtomicU64::new(0);
static LED: AtomicU64 = AtomicU64::new(0);

async fn ask(line: &Line, text: &[u8]) -> Answer {
    let request = cmd("ECHO").arg(text).get_packed_command();
    loop {
        match line.push(1, false, |out| out.extend_from_slice(&request)) {
            Ok(waiting) => {
                match waiting.part {
                    Part::Wait => &FOLLOWED,
                    Part::Block => &BLOCKED,
                    Part::Task(_) => &LED,
                }
                .fetch_add(1, Ordering::SeqCst);
                return waiting.await;
            }
            Err(Refusal::Full) => line.room().await,
            Err(Refusal::Over(kind)) => return Err(kind),
        }
    }
}

/// On a thread that has nothing else to do.
fn wait<T>(asked: impl Future<Output = T> + Send) -> T {
    Pending::later(asked).wait()
}

fn text(caller: usize, round: usize, dice: &mut Dice) -> Vec<u8> {
    let size = if dice.below(50) == 0 { 200_000 } else { 1 + dice.below(300) };
    format!("{caller}/{round}/").bytes().cycle().take(size.max(12)).collect()
}

/// So many polls, and then it is given up.
async fn polled<T>(asked: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut asked = Box::pin(asked);
    let mut left = times;
    future::poll_fn(|context| {
        left = left.saturating_sub(1);
        match asked.as_mut().poll(context) {
            std::task::Poll::Ready(told) => std::task::Poll::Ready(Some(told)),
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

async fn rounds(line: &Line, caller: usize, rounds: usize) -> (u64, u64, u64) {
    let mut dice = Dice(caller as u64);
    let (mut told, mut given_up, mut failed) = (0, 0, 0);
    for round in 0..rounds {
        let text = text(caller, round, &mut dice);
        // Not all the time, or nobody would ever be alone for long.
        let gives_up = round % 60 < 20 && dice.below(4) == 0;
        let times = if gives_up { 1 + dice.below(2) } else { usize::MAX };
        match polled(ask(line, &text), times).await {
            Some(Ok(answered)) => {
                assert!(answered.last == Value::BulkString(text), "{caller}/{round}");
                told += 1;
            }
            Some(Err(_)) => failed += 1,
            None => given_up += 1,
        }
    }
    (told, given_up, failed)
}

/// Callers on threads, on a runtime that may lead, on one that may not, few and many, who give up at any moment, on connections that are cut.
#[test]
fn p6_every_answer_is_its_own_callers_whoever_writes_and_reads() {
    const ROUNDS: usize = 200;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut told, mut given_up, mut failed, mut pushes) = (0, 0, 0, 0);
    for seed in 0..60 {
        let cuts = if (seed / 6) % 3 == 0 { 100 } else { 0 };
        let Connection { line, lost, pushes: heard, server, driver } = connect(Some(&runtime));
        let [blocking, tasks, others] =
            [[1, 0, 0], [0, 1, 0], [1, 1, 0], [4, 0, 0], [3, 3, 3], [0, 0, 1]][seed % 6];
        let mut sums = Vec::new();
        thread::scope(|scope| {
            let server = &server;
            scope.spawn(move || echo(server, Dice(seed as u64), cuts));
            let mut callers = Vec::new();
            for caller in 0..blocking {
                let line = &line;
                callers.push(scope.spawn(move || wait(rounds(line, caller, ROUNDS))));
            }
            for caller in 0..others {
                let line = &line;
                callers.push(scope.spawn(move || future::block_on(rounds(line, 10 + caller, ROUNDS))));
            }
            let tasks: Vec<_> = (0..tasks)
                .map(|caller| {
                    let line = Arc::clone(&line);
                    runtime.spawn(async move { rounds(&line, 20 + caller, ROUNDS).await })
                })
                .collect();
            sums.extend(callers.into_iter().map(|caller| caller.join().unwrap()));
            sums.extend(tasks.into_iter().map(|task| runtime.block_on(task).unwrap()));
            line.close();
        });
        driver.join().unwrap();
        assert!(cuts > 0 || !lost.load(Ordering::SeqCst), "{seed}: closed, not lost");
        for (one, two, three) in sums {
            assert!(cuts > 0 || three == 0, "{seed}: {three} failed");
            (told, given_up, failed) = (told + one, given_up + two, failed + three);
        }
        pushes += heard.load(Ordering::SeqCst);
    }
    let counts = [&FOLLOWED, &BLOCKED, &LED].map(|count| count.load(Ordering::SeqCst));
    println!(
        "{told} answers, {given_up} given up, {failed} failed, {pushes} pushes; waited and led: {counts:?}"
    );
    assert!(counts.into_iter().all(|count| count > 100));
    assert!(told > 0 && given_up > 0 && failed > 0 && pushes > 0);
}

/// What was said in one piece is the same in two, wherever it is cut, and in pieces of each size.
#[test]
fn p6_answers_are_the_same_wherever_what_is_read_ends() {
    let said = b"$3\r\none\r\n>2\r\n+invalidate\r\n_\r\n+OK\r\n*2\r\n:1\r\n$5\r\nthree\r\n-ERR four\r\n$0\r\n\r\n:6\r\n";
    let read_all = |pieces: &[&[u8]]| {
        let mut reading = Reading::new();
        let slots: Vec<Arc<Slot>> = (0..5).map(|_| Arc::default()).collect();
        // The second waits for two, and wants both.
        let entry = |at: usize| Entry {
            slot: Arc::clone(&slots[at]),
            left: if at == 1 { 2 } else { 1 },
            former: Vec::new(),
            keeps_former: true,
        };
        let mut waiting = (0..5).map(entry).collect();
        let heard = std::cell::Cell::new(0);
        for piece in pieces {
            reading.space()[..piece.len()].copy_from_slice(piece);
            reading.take_in(piece.len(), usize::MAX).unwrap();
            reading.hand_out(&mut waiting).unwrap();
            reading.tell(&Notifier::new(), &|_| heard.set(heard.get() + 1));
        }
        assert_eq!((waiting.len(), heard.get()), (0, 1));
        slots.iter().map(|slot| slot.take().unwrap().unwrap()).collect::<Vec<_>>()
    };
    let whole = read_all(&[said]);
    assert_eq!(whole[0].last, Value::BulkString(b"one".to_vec()));
    assert_eq!(whole[1].former, [Value::Okay]);
    assert_eq!(whole[4].last, Value::Int(6));
    for cut in 1..said.len() {
        let (first, second) = said.split_at(cut);
        assert_eq!(read_all(&[first, second]), whole, "cut at {cut}");
        assert_eq!(read_all(&said.chunks(cut).collect::<Vec<_>>()), whole, "in pieces of {cut}");
    }
}

/// What comes without having been asked for makes everything behind it doubtful.
#[test]
fn p6_a_server_that_says_what_nobody_asked_for_or_what_no_server_says_is_not_listened_to() {
    for said in ["+OK\r\n", "$3\r\nfar\r\n$3\r\nmore\r\n", "nonsense\r\n"] {
        let Connection { line, lost, mut server, driver, .. } = connect(None);
        server.write_all(said.as_bytes()).unwrap();
        driver.join().unwrap();
        assert!(lost.load(Ordering::SeqCst) && line.is_over(), "{said:?}");
        assert!(matches!(wait(ask(&line, b"more")), Err(ErrorKind::InvalidData)), "{said:?}");
    }
}

/// A caller that leads is kept and not polled any more. Others have their answers all the same.
#[test]
fn a_caller_that_is_not_polled_any_more_holds_nobody_up() {
    const FORMER: u32 = 2 * ALONE;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for leads_as_task in [false, true] {
        let Connection { line, server, driver, .. } = connect(Some(&runtime));
        thread::scope(|scope| {
            let (line, server) = (&line, &server);
            let is_held = Arc::new(Barrier::new(2));
            let released = Arc::clone(&is_held);
            scope.spawn(move || {
                // The first ones are answered, and the one that is kept is not, until another one was asked.
                let (mut counted, mut server) = (Vec::new(), server);
                let mut piece = [0; 256];
                for round in 0..FORMER + 2 {
                    while request(&counted).is_none() {
                        let read = server.read(&mut piece).unwrap();
                        counted.extend_from_slice(&piece[..read]);
                    }
                    let (text, length) = request(&counted).unwrap();
                    counted.drain(..length);
                    if round == FORMER {
                        released.wait();
                    }
                    let text = String::from_utf8(text).unwrap();
                    server.write_all(format!("${}\r\n{text}\r\n", text.len()).as_bytes()).unwrap();
                }
            });
            let lead = async {
                for _ in 0..FORMER {
                    ask(line, b"former").await.unwrap();
                }
                let mut kept = Box::pin(ask(line, b"kept"));
                assert!(future::poll_once(kept.as_mut()).await.is_none());
                Some(kept)
            };
            let kept = if leads_as_task { runtime.block_on(lead) } else { wait(lead) }.unwrap();
            is_held.wait();
            let told = future::block_on(ask(line, b"other")).unwrap();
            assert_eq!(told.last, Value::BulkString(b"other".to_vec()));
            assert_eq!(wait(kept).unwrap().last, Value::BulkString(b"kept".to_vec()));
            line.close();
        });
        driver.join().unwrap();
    }
}

/// More than the socket takes, while the server reads nothing: it waits, up to a limit, and nothing of it is lost or comes twice.
#[test]
fn p6_what_a_server_does_not_take_yet_waits_and_is_bounded() {
    let Connection { line, server, driver, .. } = connect(None);
    let text = vec![b'x'; 300_000];
    let request = cmd("ECHO").arg(&text[..]).get_packed_command();
    let mut waiting = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        match line.push(1, false, |out| out.extend_from_slice(&request)) {
            Ok(pushed) => {
                waiting.push(pushed);
                assert!(waiting.len() < 1_000, "there is no limit");
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Full);
                refused += 1;
                thread::park_timeout(Duration::from_millis(5));
            }
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| echo(&server, Dice(1), 0));
        // Once there is room, one more.
        let more = scope.spawn(|| future::block_on(ask(&line, b"more")));
        for pushed in waiting {
            assert!(future::block_on(pushed).unwrap().last == Value::BulkString(text.clone()));
        }
        assert_eq!(more.join().unwrap().unwrap().last, Value::BulkString(b"more".to_vec()));
        line.close();
    });
    driver.join().unwrap();
}

/// Whoever waits for an answer, in whatever way, is told when the connection ends.
#[test]
fn the_end_of_a_connection_wakes_everybody() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for (way, server_ends_it) in [(0, true), (1, true), (2, true), (0, false), (1, false), (2, false)] {
        let Connection { line, lost, server, driver, .. } = connect(Some(&runtime));
        thread::scope(|scope| {
            let line = &line;
            let caller = scope.spawn(|| match way {
                0 => wait(ask(line, b"never")),
                1 => runtime.block_on(ask(line, b"never")),
                _ => future::block_on(ask(line, b"never")),
            });
            (&server).read_exact(&mut [0; 25]).unwrap();
            if server_ends_it {
                server.shutdown(std::net::Shutdown::Both).unwrap();
            } else {
                line.close();
            }
            assert!(caller.join().unwrap().is_err());
        });
        driver.join().unwrap();
        assert_eq!(lost.load(Ordering::SeqCst), server_ends_it);
    }
}

/// Callers that do not look at their answers, though these have come, cannot have them kept without a limit.
#[test]
fn answers_that_nobody_takes_are_bounded() {
    const MIB: usize = 1 << 20;
    let mut reading = Reading::new();
    let mut waiting = std::collections::VecDeque::new();
    let mut answer = |reading: &mut Reading, size: usize| {
        let slot = Arc::new(Slot::default());
        waiting.push_back(Entry {
            slot: Arc::clone(&slot),
            left: 1,
            former: Vec::new(),
            keeps_former: false,
        });
        let said = format!("${size}\r\n{}\r\n", "x".repeat(size));
        let length = reading.space().len();
        for piece in said.as_bytes().chunks(length) {
            reading.space()[..piece.len()].copy_from_slice(piece);
            reading.take_in(piece.len(), usize::MAX).unwrap();
        }
        reading.hand_out(&mut waiting).unwrap();
        reading.tell(&Notifier::new(), &|_| {});
        slot
    };
    let mut slots: Vec<_> = (0..64).map(|_| answer(&mut reading, MIB)).collect();
    let refused = answer(&mut reading, MIB);
    assert_eq!(refused.take(), Some(Err(ErrorKind::OutOfMemory)));
    // A small one is no trouble.
    assert!(matches!(answer(&mut reading, 10).take(), Some(Ok(_))));
    // One is taken, the other given up.
    assert!(matches!(slots.pop().unwrap().take(), Some(Ok(_))));
    drop(slots.pop());
    slots.push(answer(&mut reading, MIB));
    slots.push(answer(&mut reading, MIB));
    assert_eq!(answer(&mut reading, MIB).take(), Some(Err(ErrorKind::OutOfMemory)));
    assert!(slots.iter().all(|slot| matches!(slot.take(), Some(Ok(_)))));
    assert!(matches!(answer(&mut reading, 100 * MIB).take(), Some(Ok(_))), "if it is the only one");
}
