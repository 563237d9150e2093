//! What follows a failure (replay, retry, release, in doubt) and a crash (take over, leave in doubt,
//! look first).
//!
//! `cargo run -p lessor --example policies`

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use lessor::{Acquisition, Backoff, Engine, FailureClass, OnLapsed, OnceError, Outcome, Reconciled};
use serde::{Deserialize, Serialize};

/// The errors of the work. They are stored, so each later caller gets the same one.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Failed {
    MailboxFull,
    NoRoute,
    TimedOut,
}

/// What each error means.
fn class(error: &Failed) -> FailureClass {
    let backoff = Backoff::exponential(Duration::from_millis(20), Duration::from_secs(1));
    match error {
        Failed::MailboxFull => FailureClass::keep().code("mailbox_full"),
        Failed::NoRoute => FailureClass::retry(4, backoff).code("no_route"),
        Failed::TimedOut => FailureClass::unsure(),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = lessor::open("memory:")?;
    replay_is_the_default(&engine)?;
    retry_with_backoff(&engine)?;
    unsure_until_someone_looks(&engine)?;
    in_doubt_until_resolved(&engine)
}

/// By default a failure is an outcome like any other: later callers get it, and the work is not run
/// again.
fn replay_is_the_default(engine: &Engine) -> Result<(), Box<dyn Error>> {
    for _ in 0..2 {
        let sent = engine.once("mail:1").classify(class).run(|_lease| Err::<String, _>(Failed::MailboxFull));
        match sent {
            // The first caller and the second one get the same error.
            Err(OnceError::Work { error: Failed::MailboxFull, is_replay, .. }) => {
                println!("kept: the mailbox is full (replayed: {is_replay})");
            }
            other => return Err(format!("the failure was not kept: {other:?}").into()),
        }
    }
    Ok(())
}

/// A retryable failure opens the key again after a backoff. This caller waits through the backoffs.
#[expect(clippy::disallowed_methods, reason = "a deadline is an instant of the standard library")]
fn retry_with_backoff(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let sent: Outcome<String> = engine
        .once("mail:2")
        .classify(class)
        .retry_until(Instant::now() + Duration::from_secs(10))
        .run(|lease| if lease.attempt() < 3 { Err(Failed::NoRoute) } else { Ok("sent".to_owned()) })?;
    println!("retried: {} at attempt {}", sent.value(), sent.attempt());
    Ok(())
}

/// If the work does not know whether it was done, nobody runs it again blindly. The next caller
/// looks first.
fn unsure_until_someone_looks(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let sent = engine.once("mail:3").classify(class).run(|_lease| Err::<String, _>(Failed::TimedOut));
    let Err(OnceError::InDoubt { error: Some(Failed::TimedOut), .. }) = sent else {
        return Err(format!("the key is not in doubt: {sent:?}").into());
    };
    let found_in_the_outbox = || true;
    let found: Outcome<String> = engine
        .once("mail:3")
        .classify(class)
        .reconcile(move |_lease| match found_in_the_outbox() {
            true => Reconciled::Done("sent before".to_owned()),
            false => Reconciled::NotDone,
        })
        .run(|_lease| Err(Failed::MailboxFull))?;
    println!("reconciled: {} (the work did not run again: {})", found.value(), found.is_reconciled());
    Ok(())
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

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MailboxFull => "the mailbox is full",
            Self::NoRoute => "there is no route to the host",
            Self::TimedOut => "there was no answer in time",
        })
    }
}
