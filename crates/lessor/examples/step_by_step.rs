//! Uses a lease in single steps: acquire, extend, checkpoint, complete. `Engine::once` does all of
//! this in one call. Single steps suit work whose parts run in different places.
//!
//! `cargo run -p lessor --example step_by_step`

use std::time::Duration;

use lessor::{Acquisition, Engine, Error};

const TTL: Duration = Duration::from_secs(30);

fn main() -> Result<(), Error> {
    let engine = lessor::open("memory:")?;

    // 1. The first caller becomes the holder, for 30 s.
    let Acquisition::Acquired(lease) = engine.acquire("import:7").ttl(TTL).holder("first").wait()? else {
        unreachable!("the key is new");
    };
    println!("first: attempt {} with token {}", lease.attempt(), lease.token());

    // 2. Meanwhile, other callers learn who holds the lease and when to try again.
    if let Acquisition::InProgress(view) = engine.acquire("import:7").wait()? {
        println!("other: {} holds it, try again in {:?}", view.holder().unwrap_or("?"), view.retry_after());
    }

    // 3. Long work extends its lease and saves its progress. `lease.keep_alive()` extends it in the
    //    background.
    lease.extend(TTL).wait()?;
    lease.checkpoint(&500).wait()?;

    // 4. The holder gives up. Dropping the lease makes it lapse immediately. If the process died,
    //    the lease would lapse at the end of its ttl.
    drop(lease);

    // 5. The next caller takes over and continues from the checkpoint.
    let lease = take_over(&engine)?;
    let from: u32 = lease.previous_checkpoint()?.unwrap_or(0);
    println!("second: attempt {}, continues from row {from}", lease.attempt());

    // 6. From now on all callers get this result, until its retention ends after 7 days.
    lease.complete(&format!("rows {from} to 1000 imported")).wait()?;
    if let Acquisition::Completed(view) = engine.acquire("import:7").wait()? {
        println!("other: {}", view.result::<String>()?);
    }
    Ok(())
}

fn take_over(engine: &Engine) -> Result<lessor::Lease, Error> {
    loop {
        // The engine abandons a dropped lease in the background, so for a moment it is still in
        // progress.
        match engine.acquire("import:7").ttl(TTL).holder("second").wait()? {
            Acquisition::Acquired(lease) => return Ok(lease),
            _ => engine.wait_for("import:7", TTL).wait()?,
        };
    }
}
