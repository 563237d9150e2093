//! Parses command lines of benchmarks.

use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

/// Passes each option and its value to `set`, which returns whether the option exists, and ignores
/// the options that `cargo bench` adds. Returns false if the command line is meant for another
/// benchmark: a word that is not an option is a filter, which cargo passes to all benchmarks of a
/// package.
pub(crate) fn read(
    arguments: Vec<OsString>,
    about: &str,
    mut set: impl FnMut(&str, &str) -> Result<bool, String>,
) -> Result<bool, String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(text)? {
        let name = match argument {
            Long("bench") => continue,
            Long("help") | Short('h') => return Err(about.to_owned()),
            Long(name) => name.to_owned(),
            Value(_) => return Ok(false),
            other => return Err(text(other.unexpected())),
        };
        let value = parser.value().and_then(|value| value.string()).map_err(text)?;
        if !set(&name, &value)? {
            return Err(format!("there is no option --{name}"));
        }
    }
    Ok(true)
}

pub(crate) fn number<T: FromStr<Err: Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error| format!("{value:?}: {error}"))
}

pub(crate) fn seconds(value: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(value)?).map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
}
