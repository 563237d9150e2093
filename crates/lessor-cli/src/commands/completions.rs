//! `lessor completions`.

use std::io;

use clap::Args;
use clap_complete::Shell;

use crate::exit::Code;
use crate::problem::Problem;

/// Print the completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, mut command: clap::Command) -> Result<Code, Problem> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "lessor", &mut script);
        io::Write::write_all(&mut io::stdout(), &script)?;
        Ok(Code::Done)
    }
}
