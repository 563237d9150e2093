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
mod run;
mod time;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use commands::run::own;
use exit::Code;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If standard error is closed, only the exit code remains.
            let _ = error.print();
            return usage(&error).into();
        }
    };
    match cli.run() {
        Ok(code) => code.into(),
        Err(problem) => {
            if !problem.is_end_of_output() {
                eprintln!("lessor: {problem}");
            }
            problem.code.into()
        }
    }
}

/// Returns the exit code for a command line that is not run. Low codes of `run` are the command's.
fn usage(error: &clap::Error) -> Code {
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    match error.use_stderr() {
        false => Code::Done,
        true if words.any(|word| word == "run") => Code::Run(own::ERROR),
        true => Code::Usage,
    }
}
