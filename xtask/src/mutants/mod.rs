//! Plants faults in the sources, one at a time. Each must be detected by the test that is meant for
//! it, because a test that cannot fail proves nothing.
//!
//! The faults are in the lists of [`ALL`]. A fault whose source text does not occur exactly once, or
//! that does not compile, is outdated, which is an error too.

mod cli;
mod crash;
mod facade;
mod fence;
mod file;
mod http;
mod list;
mod macros;
mod namespaces;
mod observe;
mod once;
mod records;
mod redis;
mod sandbox;
mod values;

use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::shell::Shell;
use crate::step::timed;
use cli::CLI;
use crash::CRASH;
use facade::FACADE;
use fence::FENCE;
use file::FILE;
use http::HTTP;
use list::{MUTANTS, Mutant, Test};
use macros::MACROS;
use namespaces::NAMESPACES;
use observe::OBSERVE;
use once::ONCE;
use records::RECORDS;
use redis::REDIS;
use sandbox::{PATIENCE, Ran, Sandbox};
use values::VALUES;

/// All faults, by their subject.
const ALL: &[&[Mutant]] = &[
    MUTANTS, VALUES, RECORDS, ONCE, OBSERVE, NAMESPACES, FILE, HTTP, REDIS, FACADE, FENCE, MACROS, CRASH, CLI,
];

/// The faults that CI plants, which are only a part. `cargo xtask mutants` plants all.
const IN_CI: &str = include_str!("ci.txt");

/// Plants the selected faults. Returns `caught N of N`.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let in_ci =
        || if std::env::var_os("CI").is_some() { IN_CI.trim().replace('\n', ",") } else { String::new() };
    let only = std::env::var("LESSOR_MUTANTS").unwrap_or_else(|_| in_ci());
    let only: Vec<&str> = only.split(',').filter(|part| !part.is_empty()).collect();
    let mut chosen: Vec<&Mutant> = ALL
        .iter()
        .copied()
        .flatten()
        .filter(|mutant| only.is_empty() || only.iter().any(|part| mutant.name.contains(part)))
        .collect();
    chosen.sort_by_key(|mutant| mutant.test.package);
    if chosen.is_empty() {
        return Err("no fault has a name that contains LESSOR_MUTANTS".to_owned());
    }
    let sandboxes = [Sandbox::new(shell, "front")?, Sandbox::new(shell, "back")?];
    let patience = prove_tests_pass(&sandboxes, &chosen)?;
    let problems = each(&sandboxes, chosen.clone(), |sandbox, mutant| {
        let patience = patience.get(&mutant.test.to_string()).copied().unwrap_or(PATIENCE);
        let (verdict, took) = timed(|| try_out(sandbox, mutant, patience));
        let word = if verdict.is_ok() { "caught" } else { "NOT CAUGHT" };
        println!("{word:<11}{:>6.1} s  {}", took.as_secs_f64(), mutant.name);
        verdict.err().map(|problem| format!("{}: {problem}", mutant.name))
    });
    let all: usize = ALL.iter().map(|list| list.len()).sum();
    let count = format!("caught {} of {}, {all} in all", chosen.len() - problems.len(), chosen.len());
    if problems.is_empty() { Ok(count) } else { Err(format!("{count}\n  {}", problems.join("\n  "))) }
}

/// Applies `work` to each of `items` and collects the results. One sandbox processes them from the
/// front, and the other from the back. Items are sorted by package, so few packages are built in
/// both.
fn each<I: Send, T: Send>(
    sandboxes: &[Sandbox<'_>; 2],
    items: impl IntoIterator<Item = I>,
    work: impl Fn(&Sandbox<'_>, I) -> Option<T> + Sync,
) -> Vec<T> {
    let queue = Mutex::new(items.into_iter().collect::<VecDeque<I>>());
    let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    let [front, back] = sandboxes;
    let drain = |sandbox, take: fn(&mut VecDeque<I>) -> Option<I>| {
        let mut found = Vec::new();
        loop {
            let Some(item) = take(&mut lock()) else { return found };
            found.extend(work(sandbox, item));
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| drain(back, VecDeque::pop_back));
        let mut found = drain(front, VecDeque::pop_front);
        found.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        found
    })
}

/// Checks that all tests pass without a fault. Returns the time limit of each test with a fault,
/// which is so much longer than without that only a hang exceeds it.
fn prove_tests_pass(
    sandboxes: &[Sandbox<'_>; 2],
    chosen: &[&Mutant],
) -> Result<BTreeMap<String, Duration>, String> {
    let tests: BTreeMap<(&str, String), Test> =
        chosen.iter().map(|mutant| ((mutant.test.package, mutant.test.to_string()), mutant.test)).collect();
    let outcomes = each(sandboxes, tests, |sandbox, ((_, name), test)| {
        Some(match sandbox.run(test, PATIENCE) {
            Ran::Passed { tests: 0, .. } => Err(format!("{name}: the test does not exist")),
            Ran::Passed { took, .. } => Ok((name, took * 10 + Duration::from_secs(10))),
            Ran::Failed => Err(format!("{name} fails")),
            Ran::Hung => Err(format!("{name} does not end")),
            Ran::NotBuilt(error) => Err(format!("{name} cannot be built:\n{error}")),
        })
    });
    let problems: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.clone().err()).collect();
    match problems.is_empty() {
        true => Ok(outcomes.into_iter().flatten().collect()),
        false => Err(format!("without any fault:\n  {}", problems.join("\n  "))),
    }
}

/// Runs the test of a fault. Tests that race real threads may miss a fault on a busy machine, so
/// each has more than one attempt.
const GOES: usize = 3;

fn try_out(sandbox: &Sandbox, mutant: &Mutant, patience: Duration) -> Result<(), String> {
    let _planted = sandbox.plant(mutant)?;
    for _ in 0..GOES {
        match sandbox.run(mutant.test, patience) {
            Ran::Failed | Ran::Hung => return Ok(()),
            Ran::Passed { .. } => {}
            Ran::NotBuilt(error) => return Err(format!("outdated, does not compile:\n{error}")),
        }
    }
    Err(format!("{} passes in spite of the fault, {GOES} times", mutant.test))
}
