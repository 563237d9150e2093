//! The commands of the repository, for people and CI: `cargo xtask test`, `deep`, `mutants`,
//! `instructions`, `bench`.

mod deep;
mod examples;
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

  test [STEP…]    runs what CI runs, on a stable toolchain, or only the named steps:
                  redis fmt imports clippy tests models rules doctests docs features msrv instructions mutants deny
                  advisories
  mutants         plants faults in the sources, one at a time, and checks that their tests detect them;
                  LESSOR_MUTANTS=a,b selects the faults whose name contains a or b
  instructions    counts the instructions of the in-memory paths under valgrind and compares them with
                  benches/instructions.txt; --bless writes that file
  deep            runs what needs a nightly toolchain: Miri on the core and the in-memory store, and the
                  fuzzers of the decoders and of recovery, for LESSOR_FUZZ_SECONDS (60) each
  bench [ARG…]    measures all stores and alternatives, and writes a page with plots to
                  target/benchmarks; --help lists the options
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
            _ => Err(format!("instructions accepts only --bless\n\n{HELP}")),
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

/// Later arguments override earlier ones.
fn bench(shell: &Shell, rest: &[String]) -> Result<(), String> {
    // The table covers only the in-memory store, which builds faster alone.
    let is_table = rest.iter().any(|argument| argument == "--table");
    if !is_table && package::REDIS.provide(shell).is_none() {
        println!("redis-server IS MISSING AND CANNOT BE INSTALLED, so the Redis store is not measured");
    }
    let out = shell.target.join("benchmarks").display().to_string();
    let stores = if is_table { "--no-default-features" } else { "--all-features" };
    let suite = ["bench", "--package", "lessor-benches", "--bench", "suite", stores, "--", "--out", &out];
    shell.cargo(&suite).args(rest).run()
}
