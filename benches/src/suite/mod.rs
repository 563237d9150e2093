//! The whole suite: every contender runs every workload, in turns, several times.

mod args;
pub(crate) mod cases;
mod machine;
mod rounds;
mod table;

use std::ffi::OsString;
use std::path::Path;

use self::args::Options;
#[cfg(feature = "all-stores")]
use crate::log::open::Child;
use crate::page;
use crate::results::{Latency, Results, Sample};
use crate::work::Work;

/// Runs the cases that the command line selects, with files in `folder`, and writes the results to
/// the folder that it selects.
pub fn main(folder: &Path) -> Result<(), String> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    #[cfg(feature = "all-stores")]
    if let Some(child) = Child::from_args(&arguments) {
        return child.run();
    }
    let Some(options) = Options::parse(arguments)? else { return Ok(()) };
    let (cases, seconds) = rounds::all(&options, folder);
    let results = Results { machine: machine::describe(), seconds, cases };
    if options.is_table {
        print!("{}", table::of(&results));
        return Ok(());
    }
    print!("{}", rounds::summary(&results));
    let Some(out) = &options.out else { return Ok(()) };
    page::write(&results, out).map_err(|error| format!("{}: {error}", out.display()))?;
    println!("\nthe page was written to {}", out.join("README.md").display());
    Ok(())
}

/// Converts a sample to the form that is stored.
pub(crate) fn sample(work: Work, sample: &lessor_contention::Sample) -> Sample {
    let lessor_contention::Latency { p50, p90, p99, p999, max, .. } = sample.latency;
    let value = match work {
        Work::Waiters => sample.elapsed.as_secs_f64(),
        _ => sample.per_second,
    };
    Sample { value, latency: Some(Latency { p50, p90, p99, p999, most: max }) }
}
