//! Why tokens: a holder that was away for too long comes back, does not know it, and is refused where it matters.
//!
//! A lease keeps two holders apart in time, as long as both look at it. One that pauses right before its write cannot
//! look. So the write carries the token, and the sink remembers the highest that it has seen.
//!
//! `cargo run -p lessor --example fencing`

use std::time::Duration;

use lessor::{Acquisition, Engine, Error, Lease, Token};

/// Anything that can compare and store a number beside its data: a row with a `token` column, an object's metadata.
#[derive(Default)]
struct Sink {
    highest: Option<Token>,
    content: String,
}

impl Sink {
    fn write(&mut self, token: Token, content: &str) -> Result<(), String> {
        match self.highest {
            // Equal is the same holder, who may write more than once.
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

    // Alice gets the lease, and is held up before she writes: a long pause, a suspended machine.
    let alice = acquire(&engine)?;
    println!("alice has token {}", alice.token());
    engine.wait_for("report", Duration::from_secs(10)).wait()?;

    // Her lease has lapsed. Bob takes over and writes.
    let bob = acquire(&engine)?;
    println!("bob has token {}", bob.token());
    assert!(bob.token() > alice.token());
    sink.write(bob.token(), "written by bob")?;
    bob.complete("by bob").wait()?;

    // Alice goes on where she was held up. Without the token, her write would now undo Bob's.
    match sink.write(alice.token(), "written by alice") {
        Err(refusal) => println!("the sink refuses alice: {refusal}"),
        Ok(()) => return Err("the sink took a stale write".into()),
    }
    // The engine refuses her as well, and `is_lost` would have told her.
    match alice.complete("by alice").wait() {
        Err(error @ Error::NotHolder { .. }) => println!("the engine refuses alice: {error}"),
        other => return Err(format!("a stale holder completed: {other:?}").into()),
    }
    assert!(alice.is_lost());
    assert_eq!(sink.content, "written by bob");
    println!("the sink holds what was {}", sink.content);
    Ok(())
}

fn acquire(engine: &Engine) -> Result<Lease, Box<dyn std::error::Error>> {
    match engine.acquire("report").ttl(Duration::from_millis(50)).wait()? {
        Acquisition::Acquired(lease) => Ok(lease),
        other => Err(format!("somebody else has it: {other:?}").into()),
    }
}
