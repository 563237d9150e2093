//! One command file, shared by people and CI: `cargo xtask test`, `deep`, `mutants`, `instructions`, `bench`.

mod deep;
mod imports;
mod instructions;
mod mutants;
mod package;
mod shell;
mod step;
mod steps;

use std::process::ExitCode;

use shell::Shell;

const HELP: &str = "\
usage: cargo xtask <task>

  test [STEP…]    everything that CI runs, on a stable toolchain; or only the steps named:
                  redis fmt imports clippy tests models rules doctests docs features msrv instructions mutants deny
                  advisories
  mutants         plants faults in the sources, one at a time, and has the test meant for each catch it;
                  LESSOR_MUTANTS=a,b limits it to those whose name contains a or b
  instructions    counts the instructions of the in-memory paths under valgrind and compares them with
                  benches/instructions.txt; --bless writes that file
  deep            what needs a nightly toolchain: Miri over the core and the in-memory store, and
                  LESSOR_FUZZ_SECONDS (60) of fuzzing each of the decoders and recovery
  bench [ARG…]    the benchmarks of all stores beside what people use instead, as a page with plots in
                  target/benchmarks; --help shows what can be chosen
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let shell = Shell::new();
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("", &args[..]),
    };
    let done = match task {
        "test" => steps::run(&shell, rest),
        "mutants" => mutants::run(&shell).map(|summary| println!("{summary}")),
        "instructions" => match rest {
            [] => steps::run(&shell, &["instructions".to_owned()]),
            [bless] if bless == "--bless" => instructions::bless(&shell),
            _ => Err(format!("instructions takes --bless or nothing\n\n{HELP}")),
        },
        "deep" => deep::run(&shell),
        "bench" => bench(&shell, rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        "" => Err(format!("name a task\n\n{HELP}")),
        unknown => Err(format!("there is no task {unknown:?}\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments that come later count.
fn bench(shell: &Shell, rest: &[String]) -> Result<(), String> {
    // The table is of the in-memory store, whose build is shorter alone.
    let is_table = rest.iter().any(|argument| argument == "--table");
    if !is_table && package::REDIS.provide(shell).is_none() {
        println!(
            "THERE IS NO redis-server AND IT CANNOT BE INSTALLED, so nothing of the Redis store is measured"
        );
    }
    let out = shell.target.join("benchmarks").display().to_string();
    let stores = if is_table { "--no-default-features" } else { "--all-features" };
    let suite = ["bench", "--package", "lessor-benches", "--bench", "suite", stores, "--", "--out", &out];
    shell.cargo(&suite).args(rest).run()
}
