//! Shows the purpose of tokens: a holder that was suspended for too long is refused at the sink.
//!
//! A lease separates two holders in time, as long as both check it. A holder that is suspended
//! right before its write cannot check it. So the write carries the token, and a fence at the sink
//! remembers the highest token that it has seen.
//!
//! `cargo run -p lessor --example fencing`

use std::fs;
use std::time::Duration;

use lessor::fence::{FenceError, FileFence};
use lessor::{Acquisition, Engine, Error, Lease};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = lessor::open("memory:")?;
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.txt");
    // The report outlives this process, so its fence does too. `MemoryFence` is for a sink in
    // memory, and `lessor::fence::sql` for one in a database.
    let fence = FileFence::open(folder.path().join("fence"))?;

    // Alice gets the lease and is suspended before her write.
    let alice = acquire(&engine)?;
    println!("alice has token {}", alice.token());
    engine.wait_for("report", Duration::from_secs(10)).wait()?;

    // Her lease has lapsed. Bob takes over and writes.
    let bob = acquire(&engine)?;
    println!("bob has token {}", bob.token());
    assert!(bob.token() > alice.token());
    fence.run(bob.key(), bob.token(), || fs::write(&report, "written by bob"))??;
    bob.complete("by bob").wait()?;

    // Alice continues. Without the fence, her write would now replace Bob's.
    match fence.run(alice.key(), alice.token(), || fs::write(&report, "written by alice")) {
        Err(FenceError::Stale(refusal)) => println!("the sink refuses alice: {refusal}"),
        other => return Err(format!("the sink did not refuse an outdated write: {other:?}").into()),
    }
    // The engine refuses her completion too. `is_lost` is also true by now.
    match alice.complete("by alice").wait() {
        Err(error @ Error::NotHolder { .. }) => println!("the engine refuses alice: {error}"),
        other => return Err(format!("a former holder completed: {other:?}").into()),
    }
    assert!(alice.is_lost());

    // The next process remembers.
    drop(fence);
    let fence = FileFence::open(folder.path().join("fence"))?;
    assert!(fence.run(alice.key(), alice.token(), || fs::write(&report, "written by alice")).is_err());
    assert_eq!(fs::read_to_string(&report)?, "written by bob");
    println!("the sink holds what was {}", fs::read_to_string(&report)?);
    Ok(())
}

fn acquire(engine: &Engine) -> Result<Lease, Box<dyn std::error::Error>> {
    match engine.acquire("report").ttl(Duration::from_millis(50)).wait()? {
        Acquisition::Acquired(lease) => Ok(lease),
        other => Err(format!("another holder has the lease: {other:?}").into()),
    }
}
