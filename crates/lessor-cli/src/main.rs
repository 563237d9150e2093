//! `lessor`, the command line for every store. `docs/cli.md` describes it.

mod args;
mod commands;
mod confirm;
mod exit;
mod output;
mod pace;
mod place;
mod problem;
mod progress;
mod reading;
mod record;
mod time;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code.into(),
        Err(problem) => {
            if !problem.is_end_of_output() {
                eprintln!("lessor: {problem}");
            }
            problem.code.into()
        }
    }
}
