//! The parent's knowledge of the log: the acknowledged writes, and the writes that may have
//! happened.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lessor_core::{Acquisition, Engine, State as Is, View};
use lessor_file::{FileStore, Settings};

use crate::messages::{Message, State, payload};

#[derive(Default)]
pub(crate) struct Known {
    keys: HashMap<String, Fact>,
    /// The highest token that was observed.
    token: u64,
    /// The number of acknowledged writes.
    pub(crate) acks: u64,
    /// The number of writes without an outcome, and of those among them that turned out to have
    /// happened.
    pub(crate) open: u64,
    pub(crate) happened: u64,
}

#[derive(Debug)]
struct Fact {
    state: State,
    /// 0 if it is unknown.
    version: u64,
    /// The token of the last grant.
    token: u64,
    trying: Option<State>,
}

impl Known {
    pub(crate) fn hear(&mut self, word: &Message) -> Result<(), String> {
        match word {
            Message::Up | Message::Done(_) => {}
            Message::Try(key, next) => self.fact(key).trying = Some(next.clone()),
            Message::Refused(key) => self.fact(key).trying = None,
            Message::Ack(key, version, token) => {
                self.acks += 1;
                self.token = self.token.max(*token);
                let fact = self.fact(key);
                let Some(next) = fact.trying.take() else { return Err(format!("{key}: untried")) };
                if *token != 0 && *token <= fact.token {
                    return Err(format!("{key}: token {token} after {}", fact.token));
                }
                if *version != 0 && *version <= fact.version {
                    return Err(format!("{key}: version {version} after {}", fact.version));
                }
                fact.token = fact.token.max(*token);
                fact.version = *version;
                fact.state = next;
            }
            Message::See(key, version) => {
                let fact = self.fact(key);
                if fact.version != 0 && fact.version != *version {
                    return Err(format!("{key}: version {version} where {} was acknowledged", fact.version));
                }
                fact.version = *version;
            }
        }
        Ok(())
    }

    fn fact(&mut self, key: &str) -> &mut Fact {
        let absent = || Fact { state: State::Absent, version: 0, token: 0, trying: None };
        self.keys.entry(key.to_owned()).or_insert_with(absent)
    }

    /// Opens a copy of the log that a killed process left, and compares it. What was observed is
    /// known from then on.
    pub(crate) fn check(&mut self, folder: &Path, settings: Settings) -> Result<(), String> {
        let store =
            FileStore::builder().settings(settings).open(folder).map_err(|error| error.to_string())?;
        let store = Arc::new(store);
        let engine = Engine::new(Arc::clone(&store) as _).map_err(|error| error.to_string())?;
        let listing = engine.list().limit(1_000).wait().map_err(|error| error.to_string())?;
        if let Some((key, _)) = listing.entries.iter().find(|(key, _)| !self.keys.contains_key(key.as_str()))
        {
            return Err(format!("{key} exists although it was never acquired"));
        }
        for (key, fact) in &mut self.keys {
            let view = engine.status(key).wait().map_err(|error| format!("{key}: {error}"))?;
            let version = view.as_ref().map_or(0, |view| view.version().as_u64());
            let is_as_it_was =
                is(&fact.state, view.as_ref()) && (fact.version == 0 || fact.version == version);
            if let Some(next) = fact.trying.take() {
                self.open += 1;
                // A version counts the changes of one record, and a new record starts again.
                let has_moved = fact.version == 0 || version > fact.version || next == State::Absent;
                if !is_as_it_was && is(&next, view.as_ref()) && has_moved {
                    self.happened += 1;
                    fact.state = next;
                    fact.version = version;
                    continue;
                }
                if !is_as_it_was {
                    return Err(format!("{key}: {view:?} after {fact:?} and an attempt at {next}"));
                }
            }
            if !is_as_it_was {
                return Err(format!("{key}: {view:?} although {fact:?} was acknowledged"));
            }
            fact.version = version;
        }
        let probe = engine.acquire("probe").wait().map_err(|error| error.to_string())?;
        let Acquisition::Acquired(lease) = probe else { return Err("the probe was there before".to_owned()) };
        if lease.token().as_u64() <= self.token {
            return Err(format!("token {} after {}", lease.token(), self.token));
        }
        lease.complete_bytes(b"probed").wait().map_err(|error| error.to_string())?;
        store.close().map_err(|error| error.to_string())
    }
}

fn is(state: &State, view: Option<&View>) -> bool {
    let Some(view) = view else { return *state == State::Absent };
    match state {
        State::Absent => false,
        State::InProgress => view.state() == Is::InProgress,
        State::Lapsed => view.state() == Is::Lapsed,
        State::Released => view.state() == Is::Released,
        State::Failed(code) => view.error_code() == Some(code) && view.error_detail() == Some("why"),
        State::Completed(seed) => view.result_bytes() == Some(&*payload(*seed)),
    }
}
