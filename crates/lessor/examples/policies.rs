//! What happens after a failure and after a crash is your decision: replay or retry, take over or leave in doubt.
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

/// A failure is an outcome like any other: later callers get it, and the work is not run again.
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

/// With a policy to retry, the key opens again after each failure, once the backoff is over.
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
            // This call ran the work, which failed.
            Err(OnceError::Work(error)) => println!("retried: {error}"),
            // This one came too early: it is told when to come again, or that no attempt is left.
            Err(OnceError::Failed(view)) => match view.retry_after() {
                Some(wait) => pause(wait),
                None => return Err("no attempt is left".into()),
            },
            Err(other) => return Err(other.into()),
        }
    }
}

/// Where doing it twice is worse than not doing it, a crash leaves the key in doubt: at most once.
fn in_doubt_until_resolved(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let ask = || engine.acquire("payout:3").on_lapsed(OnLapsed::InDoubt).wait();
    let Acquisition::Acquired(lease) = ask()? else { return Err("somebody else has it".into()) };
    // The holder dies in the middle. Was the money sent?
    drop(lease);
    engine.wait_for("payout:3", Duration::from_secs(10)).wait()?;

    match ask()? {
        Acquisition::InDoubt(view) => println!("in doubt: {} after attempt {}", view.state(), view.attempt()),
        other => return Err(format!("nobody noticed the crash: {other:?}").into()),
    }
    // Somebody looks at the bank's books: it was sent. Had it not been, `released()` would open the key again.
    engine.resolve("payout:3").completed("sent, found in the books").wait()?;

    match ask()? {
        Acquisition::Completed(view) => println!("resolved: {}", view.result::<String>()?),
        other => return Err(format!("it was not resolved: {other:?}").into()),
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a caller that has nothing else to do until the backoff is over"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
