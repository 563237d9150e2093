//! `lessor backup`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::exit::Code;
use crate::output::Shown;
use crate::place::Global;
use crate::problem::Problem;
use crate::progress;

/// Copy a file store to a new folder, which can be opened as a store
///
/// The store must not be open in another process. An application that has it open copies it with
/// `FileStore::backup_to`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder of the copy, which must be empty or not exist
    to: PathBuf,
}

#[derive(Debug, Serialize)]
struct Copied {
    to: PathBuf,
    records: usize,
}

impl Backup {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let store = global.place()?.whole("backup")?.existing_file_store("backup")?;
        let bar = progress::spinner("copying the records");
        let copied = store.backup_to(&self.to);
        bar.finish_and_clear();
        copied?;
        let records = store.len();
        store.close()?;
        global.output().show(&Copied { to: self.to.clone(), records })?;
        Ok(Code::Done)
    }
}

impl Shown for Copied {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} records were copied to {}", self.records, self.to.display())
    }
}
