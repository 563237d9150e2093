//! Reads the deliveries from a file, line by line.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor};
use std::path::{Path, PathBuf};

use lessor::Key;
use serde_json::{Map, Value};

use crate::args::{Args, PAYLOAD};

const SAMPLE: &str = include_str!("../data/deliveries.ndjson");

/// One arrival of a delivery.
pub(crate) struct Delivery {
    pub(crate) id: String,
    /// The part that must be equal in all copies.
    pub(crate) payload: Option<Value>,
    /// The length of the line.
    pub(crate) bytes: usize,
    pub(crate) line: usize,
}

pub(crate) struct Input {
    file: Option<PathBuf>,
    id: String,
    payload: Option<String>,
}

impl Input {
    pub(crate) fn new(args: &Args) -> Self {
        Self { file: args.input.clone(), id: args.id.clone(), payload: args.payload.clone() }
    }

    /// Returns the number of deliveries and their ids, or an error if a line is not a delivery.
    pub(crate) fn survey(&self) -> Result<(usize, HashSet<String>), String> {
        let mut deliveries = 0;
        let mut ids = HashSet::new();
        self.each(|delivery| {
            deliveries += 1;
            ids.insert(delivery.id);
            Ok(())
        })?;
        Ok((deliveries, ids))
    }

    /// Passes the deliveries to `take` in the order of the file. Skips empty lines.
    pub(crate) fn each(&self, mut take: impl FnMut(Delivery) -> Result<(), String>) -> Result<(), String> {
        let name = self.file.as_ref().map_or("the sample".into(), |path| path.display().to_string());
        let reader: Box<dyn BufRead> = match &self.file {
            None => Box::new(Cursor::new(SAMPLE)),
            Some(path) => {
                require_regular(path)?;
                Box::new(BufReader::new(File::open(path).map_err(|error| format!("{name}: {error}"))?))
            }
        };
        for (line, text) in (1..).zip(reader.lines()) {
            let at = |problem: String| format!("{name}, line {line}: {problem}");
            let text = text.map_err(|error| at(error.to_string()))?;
            if !text.trim().is_empty() {
                take(self.parse(&text, line).map_err(at)?)?;
            }
        }
        Ok(())
    }

    fn parse(&self, text: &str, line: usize) -> Result<Delivery, String> {
        let mut members: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))?;
        let id = match members.get(&self.id) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            Some(_) => return Err(format!("`{}` is neither a string nor a number", self.id)),
            None => return Err(format!("there is no member `{}`; --id names the one to use", self.id)),
        };
        Key::check(&id).map_err(|error| format!("`{}` cannot be a key: {error}", self.id))?;
        let payload = members.remove(self.payload.as_deref().unwrap_or(PAYLOAD));
        if let (Some(name), None) = (&self.payload, &payload) {
            return Err(format!("there is no member `{name}`, which --payload names"));
        }
        Ok(Delivery { id, payload, bytes: text.len(), line })
    }
}

/// Refuses devices, pipes and folders, because the input and the ledger are read more than once.
pub(crate) fn require_regular(path: &Path) -> Result<(), String> {
    let name = path.display();
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            Err(format!("{name}: it must be a regular file, because it is read more than once"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{name}: {error}")),
        _ => Ok(()),
    }
}
