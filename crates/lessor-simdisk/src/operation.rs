//! Operations on the folder.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) type Name = Arc<str>;
pub(crate) type InodeId = u64;
pub(crate) type Names = BTreeMap<Name, InodeId>;

/// A file made, renamed or removed, which was not synced.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) what: &'static str,
    pub(crate) file: Name,
    pub(crate) time: u64,
    /// What has to be there for it to happen at all.
    pub(crate) needs: Option<(Name, InodeId)>,
    /// What the names are after it.
    pub(crate) effects: Vec<(Name, Option<InodeId>)>,
    /// A sync of it failed: no sync will make it durable.
    pub(crate) lost: bool,
}

impl Operation {
    /// `create`, `rename` or `remove`; `make` for the folder itself.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The file that was made or removed, or the old name of one that was renamed; empty for the folder itself.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// When it was done. Times only grow; see [`Choice::as_of`].
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
                    // A file has one name. What comes after a failed sync could give it a second one.
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
