//! The command line.

use clap::{Parser, Subcommand};

#[cfg(feature = "serve")]
use crate::commands::serve;
use crate::commands::{
    backup, bench, cancel, completions, dump, explain, forget, list, man, namespaces, purge, resolve, run,
    show, stats, truncate, verify, watch,
};
use crate::exit::{CODES, Code};
use crate::place::Global;
use crate::problem::Problem;
use crate::run::guard::Guard;

/// Run a command exactly once under a key, and look at and repair the leases of any store
#[derive(Debug, Parser)]
#[command(name = "lessor", version, max_term_width = 100, after_help = CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    #[cfg(feature = "serve")]
    Serve(serve::Serve),
    List(list::List),
    Show(show::Show),
    Explain(explain::Explain),
    Watch(watch::Watch),
    Namespaces(namespaces::Namespaces),
    Resolve(resolve::Resolve),
    Cancel(cancel::Cancel),
    Forget(forget::Forget),
    Purge(purge::Purge),
    Stats(stats::Stats),
    Backup(backup::Backup),
    Verify(verify::Verify),
    Dump(dump::Dump),
    Truncate(truncate::Truncate),
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(hide = true)]
    RunGuard(Guard),
}

impl Cli {
    pub(crate) fn run(&self) -> Result<Code, Problem> {
        let global = &self.global;
        match &self.command {
            Command::Run(run) => run.run(global),
            #[cfg(feature = "serve")]
            Command::Serve(serve) => serve.run(global),
            Command::List(list) => list.run(global),
            Command::Show(show) => show.run(global),
            Command::Explain(explain) => explain.run(global),
            Command::Watch(watch) => watch.run(global),
            Command::Namespaces(namespaces) => namespaces.run(global),
            Command::Resolve(resolve) => resolve.run(global),
            Command::Cancel(cancel) => cancel.run(global),
            Command::Forget(forget) => forget.run(global),
            Command::Purge(purge) => purge.run(global),
            Command::Stats(stats) => stats.run(global),
            Command::Backup(backup) => backup.run(global),
            Command::Verify(verify) => verify.run(global),
            Command::Dump(dump) => dump.run(global),
            Command::Truncate(truncate) => truncate.run(global),
            Command::Bench(bench) => bench.run(global),
            Command::Completions(completions) => completions.run(<Self as clap::CommandFactory>::command()),
            Command::RunGuard(guard) => guard.run(),
            Command::Man(man) => man.run(<Self as clap::CommandFactory>::command()),
        }
    }
}
