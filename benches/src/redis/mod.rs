//! Guards on Redis: lessor, hand-written scripts on the same client, a lock crate, and the server's
//! limit.

mod hand;
mod locks;
mod redis_benchmark;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use lessor_contention::{Callers, LeaseService, Workload};

use self::server::{Mode, Server};
use crate::lessor::{redis, settle};
use crate::results::Sample;
use crate::work::{Contender, Work, measure_warm, runtime};

pub(crate) const CONTENDERS: [Contender; 4] = [
    Contender {
        name: "lessor",
        is_reference: false,
        note: "one store, and so one connection, for all callers; for tasks it runs on their runtime",
    },
    Contender {
        name: "by hand",
        is_reference: false,
        note: "SET NX GET PX, and a script to complete; tasks share a multiplexed connection, threads have one each; waiters poll \
               every 10 ms, as such scripts mostly do",
    },
    Contender {
        name: "rslock",
        is_reference: false,
        note: "SET NX PX and a script to unlock, on one multiplexed connection: keeps no results, and calls the script after a refusal too",
    },
    Contender {
        name: "redis-benchmark",
        is_reference: true,
        note: "redis-benchmark SET with one connection per thread, or for tasks one connection with one pipelined request per task; two requests count as a cycle",
    },
];

/// Starts a server with its files in `folder`, and measures on it.
pub(crate) fn run(
    name: &str,
    work: &Work,
    workload: &Workload,
    callers: Callers,
    (mode, length): (Mode, Duration),
    folder: &Path,
) -> Result<Sample, String> {
    let server = Server::start(folder, mode)?;
    let url = server.url();
    if name == "redis-benchmark" {
        let value = match callers {
            Callers::Threads(count) => redis_benchmark::cycles(server.port, count, 1, length)?,
            Callers::Tasks(count) => redis_benchmark::cycles(server.port, 1, count, length)?,
        };
        return Ok(Sample { value, latency: None });
    }
    Ok(match (name, callers) {
        ("lessor", _) => {
            let engine = redis(&url, matches!(callers, Callers::Tasks(_)).then(runtime))?;
            let sample = measured(engine.clone(), work, workload);
            settle(&engine);
            sample
        }
        ("by hand", Callers::Threads(threads)) => {
            // One more for the preparation.
            measured(hand::BlockingHand::connect(&url, threads + 1)?, work, workload)
        }
        ("by hand", Callers::Tasks(_)) => {
            measured(runtime().block_on(hand::AsyncHand::connect(&url))?, work, workload)
        }
        _ => measured(locks::Locks::new(&url), work, workload),
    })
}

fn measured(guard: impl LeaseService, work: &Work, workload: &Workload) -> Sample {
    // The preparation runs on this thread, and a multiplexed connection needs its runtime's timers.
    let _entered = runtime().enter();
    crate::suite::sample(*work, &measure_warm(guard, work, workload))
}
