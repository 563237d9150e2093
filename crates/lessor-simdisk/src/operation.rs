//! Operations on the folder.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) type Name = Arc<str>;
pub(crate) type InodeId = u64;
pub(crate) type Names = BTreeMap<Name, InodeId>;

/// An unsynced operation on the folder: a file was created, renamed or removed.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) what: &'static str,
    pub(crate) file: Name,
    pub(crate) time: u64,
    /// The name and file that the operation requires.
    pub(crate) needs: Option<(Name, InodeId)>,
    /// The names that the operation sets or removes.
    pub(crate) effects: Vec<(Name, Option<InodeId>)>,
    /// A sync of the operation failed, so no sync makes it durable.
    pub(crate) lost: bool,
}

impl Operation {
    /// Returns `create`, `rename` or `remove`; `make` for the folder itself.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Returns the file that was created or removed, or the old name of a renamed file. Empty for
    /// the folder itself.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the time of the operation. Times only increase; see
    /// [`Choice::as_of`](crate::Choice::as_of).
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    pub(crate) fn is_possible(&self, names: &Names) -> bool {
        self.needs.as_ref().is_none_or(|(name, id)| names.get(name) == Some(id))
    }

    pub(crate) fn apply(&self, names: &mut Names) {
        for (name, id) in &self.effects {
            match id {
                Some(id) => {
                    // A file has one name. Operations after a failed sync could give it a second
                    // one.
                    names.retain(|_, other| other != id);
                    names.insert(name.clone(), *id);
                }
                None => {
                    names.remove(name);
                }
            }
        }
    }
}
