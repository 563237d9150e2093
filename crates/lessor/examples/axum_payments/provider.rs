//! The payment provider. It charges as often as it is asked to, and keeps books that can be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) cents: u64,
    pub(crate) card: Card,
}

/// The cards of the story, named after what the provider does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Card {
    Accepted,
    Declined,
    /// The provider waits before it charges, until [`Provider::let_go`].
    Slow,
    /// The provider charges, and never answers.
    Stuck,
    /// The provider charges, and the connection breaks before its answer.
    Broken,
    /// The program has a bug, which panics.
    Bug,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The number of the charge in the books, from 1. A second charge has another number.
    pub(crate) number: usize,
    pub(crate) cents: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failed {
    /// The card is declined. Asking again gives the same answer.
    Declined,
    /// The provider is overloaded, and has done nothing.
    Overloaded,
    /// There was no answer, so the charge may have happened.
    NoAnswer,
}

/// A folder with the books, one line for each charge, and with files that steer the provider.
#[derive(Clone)]
pub(crate) struct Provider {
    folder: PathBuf,
    writer: Arc<Mutex<()>>,
}

impl Provider {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), writer: Arc::default() }
    }

    /// Charges the card. This is the effect that must happen once per reference.
    pub(crate) async fn charge(&self, reference: &str, payment: &Payment) -> Result<Receipt, Failed> {
        if self.folder.join("overloaded").exists() {
            return Err(Failed::Overloaded);
        }
        match payment.card {
            Card::Accepted => self.book(reference, payment),
            Card::Declined => Err(Failed::Declined),
            Card::Slow => {
                let asked = self.note("asked", reference);
                while !self.folder.join("go").exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                asked.map_err(|_| Failed::Overloaded).and_then(|()| self.book(reference, payment))
            }
            Card::Stuck => self.book(reference, payment).and(std::future::pending().await),
            Card::Broken => self.book(reference, payment).and(Err(Failed::NoAnswer)),
            Card::Bug => unreachable!("a bug in the program that charges"),
        }
    }

    fn book(&self, reference: &str, payment: &Payment) -> Result<Receipt, Failed> {
        self.note("charges", &format!("{reference} {}", payment.cents)).map_err(|_| Failed::NoAnswer)?;
        self.find(reference).ok().flatten().ok_or(Failed::NoAnswer)
    }

    fn note(&self, file: &str, line: &str) -> io::Result<()> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = OpenOptions::new().append(true).create(true).open(self.folder.join(file))?;
        file.write_all(format!("{line}\n").as_bytes())
    }

    /// Returns the last receipt with this reference. An application asks the provider for it.
    pub(crate) fn find(&self, reference: &str) -> io::Result<Option<Receipt>> {
        let charges = self.charges()?;
        let found = charges.iter().enumerate().rfind(|(_, (charged, _))| charged == reference);
        Ok(found.map(|(index, (_, cents))| Receipt { number: index + 1, cents: *cents }))
    }

    /// Returns the references and amounts of all charges.
    pub(crate) fn charges(&self) -> io::Result<Vec<(String, u64)>> {
        let lines = self.lines("charges")?;
        let charge = |line: &String| {
            let (reference, cents) = line.split_once(' ')?;
            Some((reference.to_owned(), cents.parse().ok()?))
        };
        Ok(lines.iter().filter_map(charge).collect())
    }

    /// Returns whether a slow charge with this reference has begun.
    pub(crate) fn was_asked(&self, reference: &str) -> io::Result<bool> {
        Ok(self.lines("asked")?.iter().any(|line| line == reference))
    }

    fn lines(&self, file: &str) -> io::Result<Vec<String>> {
        match fs::read_to_string(self.folder.join(file)) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Sets whether the provider is overloaded.
    pub(crate) fn set_overloaded(&self, is_overloaded: bool) -> io::Result<()> {
        self.set("overloaded", is_overloaded)
    }

    /// Sets whether slow charges continue.
    pub(crate) fn let_go(&self, go: bool) -> io::Result<()> {
        self.set("go", go)
    }

    fn set(&self, file: &str, exists: bool) -> io::Result<()> {
        let path = self.folder.join(file);
        if exists { File::create(path).map(drop) } else { fs::remove_file(path) }
    }
}
