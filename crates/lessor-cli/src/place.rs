//! The store that a command works on.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lessor::file::FileStore;
use lessor::{Engine, Settings, Store, StoreUrl};

use crate::exit::Code;
use crate::output::Output;
use crate::problem::Problem;
use crate::{progress, time};

/// The heading of the options of all commands.
const ALL: &str = "Options of all commands";

/// The options of all commands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The store: file:FOLDER, redis://HOST:PORT/DATABASE?prefix=NAME or memory:
    #[arg(long, global = true, env = "LESSOR_STORE", hide_env_values = true, value_name = "URL", help_heading = ALL)]
    store: Option<String>,
    /// The part of the store with this name, whose keys are its own
    #[arg(long, global = true, value_name = "NAME", help_heading = ALL)]
    namespace: Option<String>,
    /// Print JSON: one object, or one object a line for lists
    #[arg(long, global = true, help_heading = ALL)]
    pub(crate) json: bool,
    /// How long to wait for another process that has the folder of a file store open
    #[arg(long, global = true, value_name = "DURATION", default_value = "1s", value_parser = time::parse, help_heading = ALL)]
    open_wait: Duration,
}

/// A store that is not opened yet.
#[derive(Debug)]
pub(crate) struct Place {
    url: StoreUrl,
    namespace: Option<String>,
    open_wait: Duration,
}

/// An engine over a store, which is closed with the end of this value.
#[derive(Debug)]
pub(crate) struct Opened {
    engine: Engine,
}

impl Global {
    /// Returns standard output in the form that the caller chose.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json)
    }

    /// Returns the store that the caller named.
    pub(crate) fn place(&self) -> Result<Place, Problem> {
        let url = self.store.as_deref().ok_or_else(|| {
            let reason = "no store is given; use --store URL, such as --store file:/var/lib/leases, or set LESSOR_STORE";
            Problem::new(Code::Usage, reason)
        })?;
        Ok(Place { url: url.parse()?, namespace: self.namespace.clone(), open_wait: self.open_wait })
    }

    /// Opens the store that the caller named, for a command that concerns the whole store. It must
    /// exist.
    pub(crate) fn open_whole(&self, command: &str) -> Result<Opened, Problem> {
        self.place()?.whole(command)?.existing(Settings::default())
    }

    /// Opens the store that the caller named. It must exist.
    pub(crate) fn open(&self) -> Result<Opened, Problem> {
        self.place()?.existing(Settings::default())
    }
}

impl Place {
    /// Opens a store that exists. A new one would be empty, which hides a mistake in the URL.
    pub(crate) fn existing(&self, settings: Settings) -> Result<Opened, Problem> {
        match &self.url {
            StoreUrl::File { folder, .. } => has_files(folder)?,
            StoreUrl::Memory => {
                eprintln!(
                    "lessor: the in-memory store of this process is new and empty; use a store that outlives it"
                );
            }
            _ => {}
        }
        self.open(settings)
    }

    /// Waits for another process that has the folder open for at least this time.
    pub(crate) fn wait_longer(self, wait: Duration) -> Self {
        Self { open_wait: self.open_wait.max(wait), ..self }
    }

    /// Opens a store, and creates the folder of a file store.
    pub(crate) fn open(&self, settings: Settings) -> Result<Opened, Problem> {
        let store: Arc<dyn Store> = match &self.url {
            StoreUrl::File { .. } => Arc::new(self.file_store("open")?),
            url => url.open()?,
        };
        let engine = Engine::with_settings(store, settings)?;
        Ok(Opened {
            engine: match &self.namespace {
                Some(name) => engine.namespace(name).open()?,
                None => engine,
            },
        })
    }

    /// Refuses a namespace, for a command that concerns the whole store.
    pub(crate) fn whole(self, command: &str) -> Result<Self, Problem> {
        match self.namespace {
            None => Ok(self),
            Some(_) => {
                let reason = format!("`{command}` concerns the whole store; leave out --namespace");
                Err(Problem::new(Code::Usage, reason))
            }
        }
    }

    /// Opens the log of a file store, for a command that other stores do not offer.
    pub(crate) fn existing_file_store(&self, command: &str) -> Result<FileStore, Problem> {
        self.existing_folder(command)?;
        self.file_store(command)
    }

    fn file_store(&self, command: &str) -> Result<FileStore, Problem> {
        let StoreUrl::File { folder, settings, .. } = &self.url else {
            return Err(self.unsupported(command));
        };
        let settings = settings.clone().lock_wait(self.open_wait);
        let bar = progress::bytes("reading the log");
        let store = FileStore::builder()
            .settings(settings)
            .on_progress(|progress| {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            })
            .open(folder);
        bar.finish_and_clear();
        Ok(store?)
    }

    /// Returns the folder of a file store, for a command that other stores do not offer.
    pub(crate) fn existing_folder(&self, command: &str) -> Result<PathBuf, Problem> {
        let StoreUrl::File { folder, .. } = &self.url else { return Err(self.unsupported(command)) };
        has_files(folder)?;
        Ok(folder.clone())
    }

    /// Returns whether the records are lost with this process.
    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.url, StoreUrl::Memory)
    }

    fn unsupported(&self, command: &str) -> Problem {
        let reason = if self.is_memory() {
            format!("`{command}` is for file stores; the records of `memory:` end with their process")
        } else {
            format!(
                "`{command}` is for file stores; the data of Redis is the server's: copy it with redis-cli --rdb, check \
                 it with redis-check-aof, and list the records with `lessor list --json`"
            )
        };
        Problem::new(Code::Unsupported, reason)
    }
}

fn has_files(folder: &Path) -> Result<(), Problem> {
    let none = |reason| {
        let folder = folder.display();
        Problem::new(Code::NotFound, format!("there is no log in {folder}: {reason}; check the path"))
    };
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().map(drop).ok_or_else(|| none("the folder is empty")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(none("the folder does not exist")),
        // The opening of the store reports the error.
        Err(_) => Ok(()),
    }
}

impl Deref for Opened {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        const WITHIN: Duration = Duration::from_secs(10);
        if let Err(error) = self.engine.close(WITHIN).wait() {
            eprintln!("lessor: closing the store: {error:#}");
        }
    }
}
