//! The policies after a failure (replay or retry) and after a crash (take over or leave in doubt).
//!
//! `cargo run -p lessor --example policies`

use std::error::Error;
use std::time::Duration;

use lessor::{Acquisition, Backoff, Engine, OnFailed, OnLapsed, OnceError, Outcome};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = lessor::open("memory:")?;
    replay_is_the_default(&engine)?;
    retry_with_backoff(&engine)?;
    in_doubt_until_resolved(&engine)
}

/// By default a failure is an outcome like any other: later callers get it, and the work is not run
/// again.
fn replay_is_the_default(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let _ = engine.once("mail:1").run(|_lease| Err::<(), _>("mailbox is full"));
    match engine.once("mail:1").run(|_lease| Ok::<_, String>(())) {
        Err(OnceError::Failed(view)) => {
            println!("replayed: code {:?}, {:?}", view.error_code(), view.error_detail());
            Ok(())
        }
        other => Err(format!("the failure was not replayed: {other:?}").into()),
    }
}

/// With a retry policy, the key can be acquired again after each failure, when the backoff has
/// passed.
fn retry_with_backoff(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let backoff = Backoff::exponential(Duration::from_millis(20), Duration::from_secs(1));
    let policy = OnFailed::Retry { max_attempts: 4, backoff };
    let mut calls = 0;
    loop {
        calls += 1;
        let sent: Result<Outcome<String>, _> = engine
            .once("mail:2")
            .on_failed(policy)
            .run(|lease| if lease.attempt() < 3 { Err("no route to host") } else { Ok("sent".to_owned()) });
        match sent {
            Ok(outcome) => {
                println!("retried: {} at attempt {}, call {calls}", outcome.value(), outcome.attempt());
                return Ok(());
            }
            // The work ran in this call and failed.
            Err(OnceError::Work(error)) => println!("retried: {error}"),
            // This call came too early, or no attempt is left.
            Err(OnceError::Failed(view)) => match view.retry_after() {
                Some(wait) => pause(wait),
                None => return Err("no attempt is left".into()),
            },
            Err(other) => return Err(other.into()),
        }
    }
}

/// If doing the work twice is worse than not doing it, a crash leaves the key in doubt (at most
/// once).
fn in_doubt_until_resolved(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let ask = || engine.acquire("payout:3").on_lapsed(OnLapsed::InDoubt).wait();
    let Acquisition::Acquired(lease) = ask()? else { return Err("another holder has the lease".into()) };
    // The holder dies during the work. Was the money sent?
    drop(lease);
    engine.wait_for("payout:3", Duration::from_secs(10)).wait()?;

    match ask()? {
        Acquisition::InDoubt(view) => println!("in doubt: {} after attempt {}", view.state(), view.attempt()),
        other => return Err(format!("the key is not in doubt: {other:?}").into()),
    }
    // An operator checks the bank's books and finds the payment. If it were not there, `released()`
    // would allow another attempt.
    engine.resolve("payout:3").completed("sent, found in the books").wait()?;

    match ask()? {
        Acquisition::Completed(view) => println!("resolved: {}", view.result::<String>()?),
        other => return Err(format!("it was not resolved: {other:?}").into()),
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the caller waits for the end of the backoff")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
