//! Guards on Redis: lessor, scripts written by hand on the same client, a crate for locks, and what the server can do at most.

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
        note: "one store, and so one connection, for all callers; for tasks it is told of their runtime",
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
        note: "SET NX PX and a script to unlock, on one multiplexed connection: keeps no result, and unlocks after a refusal",
    },
    Contender {
        name: "redis-benchmark",
        is_reference: true,
        note: "redis-benchmark SET with as many connections, or for tasks as many requests in the pipeline of one; two count as a cycle",
    },
];

/// On a server of its own, with its files in `folder`.
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
            // One for whoever prepares.
            measured(hand::BlockingHand::connect(&url, threads + 1)?, work, workload)
        }
        ("by hand", Callers::Tasks(_)) => {
            measured(runtime().block_on(hand::AsyncHand::connect(&url))?, work, workload)
        }
        _ => measured(locks::Locks::new(&url), work, workload),
    })
}

fn measured(guard: impl LeaseService, work: &Work, workload: &Workload) -> Sample {
    // What prepares runs on this thread, and a multiplexed connection needs its runtime's timers.
    let _entered = runtime().enter();
    crate::suite::sample(*work, &measure_warm(guard, work, workload))
}
