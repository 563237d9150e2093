//! The reference: `redis-benchmark`, which sends SETs of 64 bytes prepared in advance, and counts
//! the replies.

use std::process::Command;
use std::time::Duration;

/// Returns half the number of SETs per second, with `clients` that pipeline `pipeline` requests
/// each.
pub(super) fn cycles(port: u16, clients: u64, pipeline: u64, length: Duration) -> Result<f64, String> {
    let together = clients * pipeline;
    // A short run first determines how many requests take the wanted time.
    let first = sets(port, clients, pipeline, 50 * together.max(4))?;
    let count = (first * length.as_secs_f64()) as u64;
    Ok(sets(port, clients, pipeline, count.max(50 * together))? / 2.0)
}

fn sets(port: u16, clients: u64, pipeline: u64, count: u64) -> Result<f64, String> {
    let output = Command::new("redis-benchmark")
        .args(["-t", "set", "-d", "64", "-r", "100000000", "--csv", "-p", &port.to_string()])
        .args(["-c", &clients.to_string(), "-P", &pipeline.to_string(), "-n", &count.to_string()])
        .output()
        .map_err(|error| format!("redis-benchmark: {error}"))?;
    let output = String::from_utf8_lossy(&output.stdout);
    let line = output.lines().find_map(|line| line.strip_prefix("\"SET\",\""));
    let rate = line.and_then(|line| line.split('"').next()?.parse().ok());
    rate.ok_or_else(|| format!("redis-benchmark printed {output:?}"))
}
