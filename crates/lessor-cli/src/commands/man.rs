//! `lessor man`.

use std::io;
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man as Page;

use crate::exit::Code;
use crate::problem::Problem;

/// Print the man page, or write the pages of all commands to a folder
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder for lessor.1, lessor-run.1 and so on
    folder: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(&self, command: clap::Command) -> Result<Code, Problem> {
        match &self.folder {
            None => Page::new(command).render(&mut io::stdout())?,
            Some(folder) => clap_mangen::generate_to(command, folder)?,
        }
        Ok(Code::Done)
    }
}
