//! An idempotent payment endpoint on axum: `POST /payments` with an `Idempotency-Key`.
//!
//! Clients retry, race, hang up in the middle of a charge and send another body under the same key.
//! The provider declines, is overloaded and does not answer. The server panics, and is killed in the
//! middle of a charge. At the end, the program checks that each payment was charged once.
//!
//! `cargo run -p lessor --example axum_payments`
//!
//! `server.rs` is what an application contains. The server is a process of its own, which the
//! program starts, kills and starts again over the same store.

mod client;
mod provider;
mod server;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::{Answer, ask, insist, send};
use provider::{Card, Payment, Provider};

type Failure = Box<dyn Error + Send + Sync>;

const RACERS: usize = 20;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => play(tempfile::tempdir()?.path()),
        ["--server", folder] => serve(Path::new(folder)),
        _ => Err("usage: axum_payments".into()),
    }
}

/// Serves the endpoint on a free port until its input ends.
#[tokio::main]
async fn serve(folder: &Path) -> Result<(), Failure> {
    let engine = lessor::open(&format!("file:{}", folder.join("leases").display()))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let app = server::app(engine.clone(), Provider::new(folder));
    let end = tokio::task::spawn_blocking(|| io::stdin().lines().for_each(drop));
    axum::serve(listener, app).with_graceful_shutdown(async { drop(end.await) }).await?;
    engine.close(Duration::from_secs(60)).await?;
    Ok(())
}

fn play(folder: &Path) -> Result<(), Failure> {
    let mut server = Server::start(folder)?;
    let story = Story { provider: Provider::new(folder), address: Mutex::new(server.address) };
    story.a_retry_gets_the_same_answer()?;
    story.another_body_is_refused()?;
    story.failures_are_replayed()?;
    story.an_overload_passes()?;
    story.racers_share_one_charge()?;
    story.a_client_hangs_up()?;
    story.the_provider_does_not_answer()?;
    story.a_panic_answers_500()?;
    story.the_server_is_killed(&mut server, folder)?;
    story.check()
}

struct Story {
    provider: Provider,
    address: Mutex<SocketAddr>,
}

fn payment(cents: u64, card: Card) -> Payment {
    Payment { cents, card }
}

fn reference(key: &str) -> String {
    format!("payment:{key}")
}

fn expect(what: &str, is_so: bool) -> Result<(), Failure> {
    if is_so { Ok(()) } else { Err(format!("this does not hold: {what}").into()) }
}

impl Story {
    fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, key: &str, payment: &Payment, status: u16) -> Result<Answer, Failure> {
        let answer = ask(self.address(), Some(key), payment)?;
        println!("  {} {}", answer.status, answer.body);
        if answer.status == status { Ok(answer) } else { Err(format!("{key}: {answer:?}").into()) }
    }

    fn charges(&self, key: &str) -> io::Result<usize> {
        let reference = reference(key);
        Ok(self.provider.charges()?.iter().filter(|(charged, _)| *charged == reference).count())
    }

    fn a_retry_gets_the_same_answer(&self) -> Result<(), Failure> {
        println!("a client pays, loses the answer, and asks again");
        let payment = payment(4200, Card::Accepted);
        let first = self.ask("order-1", &payment, 201)?;
        expect("the second answer is the first", self.ask("order-1", &payment, 201)? == first)
    }

    fn another_body_is_refused(&self) -> Result<(), Failure> {
        println!("a client uses the key for another payment, or no key");
        self.ask("order-1", &payment(100, Card::Accepted), 422)?;
        let answer = ask(self.address(), None, &payment(100, Card::Accepted))?;
        println!("  {} {}", answer.status, answer.body);
        expect("a request without a key is refused", answer.status == 400)
    }

    fn failures_are_replayed(&self) -> Result<(), Failure> {
        println!("the card is declined, also when the client asks again");
        let payment = payment(4200, Card::Declined);
        let first = self.ask("order-2", &payment, 402)?;
        expect("the second answer is the first", self.ask("order-2", &payment, 402)? == first)
    }

    fn an_overload_passes(&self) -> Result<(), Failure> {
        println!("the provider is overloaded, and the client asks again later");
        let payment = payment(900, Card::Accepted);
        self.provider.set_overloaded(true)?;
        let first = self.ask("order-3", &payment, 503)?;
        let second = self.ask("order-3", &payment, 503)?;
        expect("the second answer is the first", second.content() == first.content())?;
        expect("the answers say when to ask again", second.retry_after.is_some())?;
        self.provider.set_overloaded(false)?;
        let last = insist(|| self.address(), "order-3", &payment)?;
        println!("  {} {}", last.status, last.body);
        expect("the payment succeeds", last.status == 201)
    }

    fn racers_share_one_charge(&self) -> Result<(), Failure> {
        println!("{RACERS} clients race with one key");
        let payment = &payment(700, Card::Slow);
        let answers = std::thread::scope(|scope| {
            let racer = || scope.spawn(|| insist(|| self.address(), "order-4", payment));
            let racers: Vec<_> = (0..RACERS).map(|_| racer()).collect();
            wait_until("the charge begins", || self.provider.was_asked(&reference("order-4")))?;
            self.provider.let_go(true)?;
            let join = racers.into_iter().map(|racer| racer.join().map_err(|_| "a client panicked")?);
            join.collect::<Result<Vec<Answer>, Failure>>()
        })?;
        self.provider.let_go(false)?;
        let all_equal = answers.iter().all(|answer| answers.first() == Some(answer) && answer.status == 201);
        expect("all get one receipt", all_equal)?;
        println!("  {} charge(s), {RACERS} equal receipts", self.charges("order-4")?);
        Ok(())
    }

    fn a_client_hangs_up(&self) -> Result<(), Failure> {
        println!("a client hangs up in the middle of a charge");
        let payment = payment(800, Card::Slow);
        let connection = send(self.address(), Some("order-5"), &payment)?;
        wait_until("the charge begins", || self.provider.was_asked(&reference("order-5")))?;
        drop(connection);
        self.provider.let_go(true)?;
        // Nobody asks again, so only the detached work can make the charge.
        wait_until("the charge continues", || Ok(self.charges("order-5")? == 1))?;
        println!("  the charge continues");
        self.ask("order-5", &payment, 201).map(drop)
    }

    fn the_provider_does_not_answer(&self) -> Result<(), Failure> {
        println!("the connection to the provider breaks, so nobody knows whether it has charged");
        let payment = payment(1100, Card::Broken);
        self.ask("order-6", &payment, 202)?;
        println!("  the next request finds the charge in the provider's books");
        self.ask("order-6", &payment, 201).map(drop)
    }

    fn a_panic_answers_500(&self) -> Result<(), Failure> {
        println!("the program panics");
        let payment = payment(4200, Card::Bug);
        let first = self.ask("order-7", &payment, 500)?;
        expect("the second answer is the first", self.ask("order-7", &payment, 500)? == first)
    }

    fn the_server_is_killed(&self, server: &mut Server, folder: &Path) -> Result<(), Failure> {
        println!("the server is killed (SIGKILL) after the charge and before its answer");
        let payment = &payment(1300, Card::Stuck);
        let answer = std::thread::scope(|scope| {
            let client = scope.spawn(|| insist(|| self.address(), "order-8", payment));
            wait_until("the charge", || Ok(self.charges("order-8")? == 1))?;
            server.kill()?;
            println!("  another server starts, and the client asks until it has an answer");
            *server = Server::start(folder)?;
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = server.address;
            client.join().map_err(|_| "the client panicked")?
        })?;
        println!("  {} {}", answer.status, answer.body);
        expect("the client gets the receipt", answer.status == 201)
    }

    /// Compares the provider's books with what the clients wanted.
    fn check(&self) -> Result<(), Failure> {
        let wanted = [(1, 4200), (3, 900), (4, 700), (5, 800), (6, 1100), (8, 1300)];
        let wanted: BTreeMap<String, Vec<u64>> =
            wanted.map(|(order, cents)| (format!("payment:order-{order}"), vec![cents])).into();
        let mut charged = BTreeMap::<String, Vec<u64>>::new();
        for (reference, cents) in self.provider.charges()? {
            charged.entry(reference).or_default().push(cents);
        }
        if charged != wanted {
            return Err(format!("the charges are {charged:?}, and not {wanted:?}").into());
        }
        println!("checked: {} payments, {} charges", wanted.len(), charged.values().flatten().count());
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "another process has the event")]
fn wait_until(what: &str, mut is_so: impl FnMut() -> io::Result<bool>) -> Result<(), Failure> {
    for _ in 0..6000 {
        if is_so()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("not within a minute: {what}").into())
}

/// A server in a process of its own. Dropping it kills it.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--server")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The panic of the story is printed here.
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("a process without an output")?).read_line(&mut line)?;
        match line.trim().parse() {
            Ok(address) => Ok(Self { process, address }),
            Err(_) => {
                process.kill()?;
                Err("the server does not start".into())
            }
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
