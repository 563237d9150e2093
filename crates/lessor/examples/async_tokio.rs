//! Under Tokio, a hundred tasks request one page, and one of them fetches it.
//!
//! lessor works with any executor. `cargo run -p lessor --example async_tokio`

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lessor::Engine;

/// The number of fetches.
static FETCHED: AtomicU32 = AtomicU32::new(0);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let engine = lessor::open("memory:")?;

    let tasks: Vec<_> = (0..100).map(|_| tokio::spawn(page(engine.clone()))).collect();
    let mut waited = 0;
    for task in tasks {
        let (page, has_waited) = task.await??;
        assert_eq!(page, "<h1>hello</h1>");
        waited += u32::from(has_waited);
    }
    println!("fetched {} time(s); {waited} of 100 waited for it", FETCHED.load(Ordering::Relaxed));

    // Dropping the future of the work abandons its lease, so the next caller does not wait for the
    // end of the ttl.
    let hopeless = engine.once("page:/slow").ttl(Duration::from_secs(3600)).run_async(async |_lease| {
        std::future::pending::<()>().await;
        Ok::<_, String>(())
    });
    let cancelled = tokio::time::timeout(Duration::from_millis(20), hopeless).await.is_err();
    let next = engine.once("page:/slow").run_async(async |_lease| Ok::<_, String>(())).await?;
    println!("cancelled: {cancelled}; taken over after {:?}", next.took_over_after());

    // Abandons the dropped leases and closes the store.
    engine.close(Duration::from_secs(5)).await?;
    Ok(())
}

/// Returns the page, and whether this task waited for another one.
async fn page(engine: Engine) -> Result<(String, bool), Box<dyn Error + Send + Sync>> {
    let outcome = engine
        .once("page:/hello")
        .run_async(async |_lease| {
            FETCHED.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, String>("<h1>hello</h1>".to_owned())
        })
        .await?;
    let waited = outcome.has_waited();
    Ok((outcome.into_value(), waited))
}
