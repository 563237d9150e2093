//! Shows the purpose of tokens: a holder that was suspended for too long is refused at the sink.
//!
//! A lease separates two holders in time, as long as both check it. A holder that is suspended
//! right before its write cannot check it. So the write carries the token, and the sink stores the
//! highest token that it has seen.
//!
//! `cargo run -p lessor --example fencing`

use std::time::Duration;

use lessor::{Acquisition, Engine, Error, Lease, Token};

/// Any sink that can store and compare a number with its data, such as a table with a column for
/// the token, or an object store with metadata.
#[derive(Default)]
struct Sink {
    highest: Option<Token>,
    content: String,
}

impl Sink {
    fn write(&mut self, token: Token, content: &str) -> Result<(), String> {
        match self.highest {
            // An equal token is that of the same holder, which may write more than once.
            Some(highest) if token < highest => Err(format!("token {token} is older than {highest}")),
            _ => {
                self.highest = Some(token);
                content.clone_into(&mut self.content);
                Ok(())
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = lessor::open("memory:")?;
    let mut sink = Sink::default();

    // Alice gets the lease and is suspended before her write.
    let alice = acquire(&engine)?;
    println!("alice has token {}", alice.token());
    engine.wait_for("report", Duration::from_secs(10)).wait()?;

    // Her lease has lapsed. Bob takes over and writes.
    let bob = acquire(&engine)?;
    println!("bob has token {}", bob.token());
    assert!(bob.token() > alice.token());
    sink.write(bob.token(), "written by bob")?;
    bob.complete("by bob").wait()?;

    // Alice continues. Without the token, her write would now replace Bob's.
    match sink.write(alice.token(), "written by alice") {
        Err(refusal) => println!("the sink refuses alice: {refusal}"),
        Ok(()) => return Err("the sink accepted an outdated write".into()),
    }
    // The engine refuses her completion too. `is_lost` is also true by now.
    match alice.complete("by alice").wait() {
        Err(error @ Error::NotHolder { .. }) => println!("the engine refuses alice: {error}"),
        other => return Err(format!("a former holder completed: {other:?}").into()),
    }
    assert!(alice.is_lost());
    assert_eq!(sink.content, "written by bob");
    println!("the sink holds what was {}", sink.content);
    Ok(())
}

fn acquire(engine: &Engine) -> Result<Lease, Box<dyn std::error::Error>> {
    match engine.acquire("report").ttl(Duration::from_millis(50)).wait()? {
        Acquisition::Acquired(lease) => Ok(lease),
        other => Err(format!("another holder has the lease: {other:?}").into()),
    }
}
