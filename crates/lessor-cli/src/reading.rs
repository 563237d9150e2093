//! Readings of several commands.

use lessor::{Engine, Key, State, View};

use crate::exit::Code;
use crate::problem::Problem;
use crate::record;

/// The number of keys that are read at once.
const PAGE: usize = 1000;

/// Reads all keys with a prefix and in one of these states, or in any if there is none. Ends when
/// `take` returns false.
pub(crate) fn pages(
    engine: &Engine,
    prefix: &str,
    states: &[State],
    mut take: impl FnMut(Vec<(Key, View)>) -> Result<bool, Problem>,
) -> Result<(), Problem> {
    let mut after = None;
    loop {
        let request = engine.list().prefix(prefix).after(after).limit(PAGE);
        let page = states.iter().fold(request, |request, state| request.state(*state)).wait()?;
        after = page.next;
        if !take(page.entries)? || after.is_none() {
            return Ok(());
        }
    }
}

/// Returns the state of a key in words, for the announcement of a change. Without `force`, a live
/// lease is an error already here.
pub(crate) fn state_of(engine: &Engine, key: &str, force: bool) -> Result<String, Problem> {
    let view = engine.status(key).wait()?.ok_or_else(|| Problem::from(lessor::Error::NotFound))?;
    let state = record::state(view.state(), view.is_in_doubt());
    match view.ttl_left() {
        Some(_) if !force => Err(Problem::new(
            Code::Busy,
            "the key is in progress; wait for the end of its lease, or use --force to supersede its holder",
        )),
        _ => Ok(format!("the key is {state}, attempt {}, version {}", view.attempt(), view.version())),
    }
}
