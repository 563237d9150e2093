//! Holding a lease by hand: acquire, renew, leave a checkpoint, complete. What `once` does in one call, for work whose parts
//! lie apart.
//!
//! `cargo run -p lessor --example step_by_step`

use std::time::Duration;

use lessor::{Acquisition, Engine, Error};

const TTL: Duration = Duration::from_secs(30);

fn main() -> Result<(), Error> {
    let engine = lessor::open("memory:")?;

    // 1. The first to ask becomes the holder. It has 30 s, unless it asks for more.
    let Acquisition::Acquired(lease) = engine.acquire("import:7").ttl(TTL).holder("first").wait()? else {
        unreachable!("nobody has asked before");
    };
    println!("first: attempt {} with token {}", lease.attempt(), lease.token());

    // 2. While it works, everybody else learns that somebody is at it, and when to look again.
    if let Acquisition::InProgress(view) = engine.acquire("import:7").wait()? {
        println!("other: {} holds it, look again in {:?}", view.holder().unwrap_or("?"), view.retry_after());
    }

    // 3. Long work renews its lease, and leaves behind how far it came. `lease.keep_alive()` does the former in the
    //    background.
    lease.extend(TTL).wait()?;
    lease.checkpoint(&500).wait()?;

    // 4. The holder dies. Dropping the lease is how that looks from inside the process; had the process died, the lease
    //    would lapse with its ttl.
    drop(lease);

    // 5. The next to ask takes over. It is told so, and goes on from the checkpoint.
    let lease = take_over(&engine)?;
    let from: u32 = lease.previous_checkpoint()?.unwrap_or(0);
    println!("second: attempt {}, goes on from row {from}", lease.attempt());

    // 6. From here on everybody gets this result, until its retention ends after 7 days.
    lease.complete(&format!("rows {from} to 1000 imported")).wait()?;
    if let Acquisition::Completed(view) = engine.acquire("import:7").wait()? {
        println!("other: {}", view.result::<String>()?);
    }
    Ok(())
}

fn take_over(engine: &Engine) -> Result<lessor::Lease, Error> {
    loop {
        // A dropped lease is given up by the engine's background thread, a moment later: until then it is in progress.
        match engine.acquire("import:7").ttl(TTL).holder("second").wait()? {
            Acquisition::Acquired(lease) => return Ok(lease),
            _ => engine.wait_for("import:7", TTL).wait()?,
        };
    }
}
