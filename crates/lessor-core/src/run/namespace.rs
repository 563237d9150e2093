//! The namespaces of an engine that have been opened.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::data::error::Error;
use crate::data::key::Key;
use crate::data::namespace::{check_name, prefix, quota_text};
use crate::rules::quota::Quota;
use crate::run::observer::counters::Counters;
use crate::run::units::Units;

/// The number of sets of counters of a namespace, and of its handles.
pub(crate) const HANDLES: usize = 4;

/// A namespace as one caller has opened it.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) space: Arc<Space>,
    /// `None` if grants are not counted.
    pub(crate) quota: Option<Quota>,
}

/// The part of a namespace that all who have opened it share.
pub(crate) struct Space {
    pub(crate) name: Box<str>,
    prefix: String,
    /// The key of the record that counts the grants.
    pub(crate) quota_key: Key,
    pub(crate) units: Arc<Units>,
    pub(crate) counters: [Arc<Counters>; HANDLES],
}

impl Space {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            prefix: prefix(name),
            quota_key: Key::checked(&quota_text(name)),
            units: Arc::default(),
            counters: Default::default(),
        }
    }

    /// Returns the text under which the store keeps a key of the namespace, or the cursor of a scan
    /// in it.
    pub(crate) fn text(&self, key: &str) -> String {
        [&self.prefix, key].concat()
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.name).finish()
    }
}

/// The namespaces of an engine. None is ever removed, because its counters are part of the engine's.
#[derive(Debug, Default)]
pub(crate) struct Namespaces(Mutex<HashMap<Box<str>, Arc<Space>>>);

impl Namespaces {
    /// Returns the namespace with this name.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<Space>, Error> {
        check_name(name)?;
        let mut spaces = self.0.lock();
        Ok(Arc::clone(spaces.entry(name.into()).or_insert_with(|| Arc::new(Space::new(name)))))
    }

    /// Returns all namespaces that have been opened.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        self.0.lock().values().map(Arc::clone).collect()
    }
}
