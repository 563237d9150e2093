//! Faults planted in the sources, one at a time. Each has to be caught by the test that is meant for it: a test that
//! cannot fail proves nothing.
//!
//! [`list`], [`log`] and [`redis`] have them. A fault whose source text is no longer there exactly once, or that does not compile, is stale, and
//! that is an error too.

mod list;
mod log;
mod redis;
mod sandbox;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::shell::Shell;
use crate::steps::timed;
use list::{MUTANTS, Mutant, Test};
use log::LOG;
use redis::REDIS;
use sandbox::{PATIENCE, Ran, Sandbox};

/// Returns `caught N of N`.
pub(crate) fn run(shell: &Shell) -> Result<String, String> {
    let only = std::env::var("LESSOR_MUTANTS").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|part| !part.is_empty()).collect();
    let chosen: Vec<&Mutant> = MUTANTS
        .iter()
        .chain(LOG)
        .chain(REDIS)
        .filter(|mutant| only.is_empty() || only.iter().any(|part| mutant.name.contains(part)))
        .collect();
    if chosen.is_empty() {
        return Err("LESSOR_MUTANTS names none that there is".to_owned());
    }
    let sandbox = Sandbox::new(shell)?;
    let patience = prove_tests_pass(&sandbox, &chosen)?;
    let mut problems = Vec::new();
    for mutant in &chosen {
        let patience = patience.get(&mutant.test.to_string()).copied().unwrap_or(PATIENCE);
        let (verdict, took) = timed(|| try_out(&sandbox, mutant, patience));
        let word = if verdict.is_ok() { "caught" } else { "NOT CAUGHT" };
        println!("{word:<11}{:>6.1} s  {}", took.as_secs_f64(), mutant.name);
        if let Err(problem) = verdict {
            problems.push(format!("{}: {problem}", mutant.name));
        }
    }
    let count = format!("caught {} of {}", chosen.len() - problems.len(), chosen.len());
    if problems.is_empty() { Ok(count) } else { Err(format!("{count}\n  {}", problems.join("\n  "))) }
}

/// A fault is caught only if its test passes without it. Returns how long each test may take with one: so much longer than
/// without that it has to hang.
fn prove_tests_pass(sandbox: &Sandbox, chosen: &[&Mutant]) -> Result<BTreeMap<String, Duration>, String> {
    let tests: BTreeMap<String, Test> =
        chosen.iter().map(|mutant| (mutant.test.to_string(), mutant.test)).collect();
    let mut patience = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, test) in tests {
        match sandbox.run(test, PATIENCE) {
            Ran::Passed { tests: 0, .. } => problems.push(format!("{name}: there is no such test")),
            Ran::Passed { took, .. } => {
                patience.insert(name, took * 10 + Duration::from_secs(10));
            }
            Ran::Failed => problems.push(format!("{name} fails")),
            Ran::Hung => problems.push(format!("{name} does not end")),
            Ran::NotBuilt(error) => problems.push(format!("{name} cannot be built:\n{error}")),
        }
    }
    match problems.is_empty() {
        true => Ok(patience),
        false => Err(format!("without any fault already:\n  {}", problems.join("\n  "))),
    }
}

/// Tests that race real threads may miss a fault when the machine is busy with something else, so each has more than one
/// go at it.
const GOES: usize = 3;

fn try_out(sandbox: &Sandbox, mutant: &Mutant, patience: Duration) -> Result<(), String> {
    let _planted = sandbox.plant(mutant)?;
    for _ in 0..GOES {
        match sandbox.run(mutant.test, patience) {
            Ran::Failed | Ran::Hung => return Ok(()),
            Ran::Passed { .. } => {}
            Ran::NotBuilt(error) => return Err(format!("stale, it does not compile:\n{error}")),
        }
    }
    Err(format!("{} passes all the same, {GOES} times", mutant.test))
}
