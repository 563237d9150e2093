//! The names in the folder: the visible ones, the durable ones, and the operations between them.

use crate::choice::Choice;
use crate::operation::{InodeId, Name, Names, Operation};

#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) visible: Names,
    pub(crate) durable: Names,
    /// The operations since the last sync, in order.
    pub(crate) pending: Vec<Operation>,
    /// The creation of the folder itself, until it is durable.
    pub(crate) made: Option<Operation>,
}

impl Folder {
    /// Marks the folder as created at `time`, without a sync.
    pub(crate) fn is_new(&mut self, time: u64) {
        self.made = Some(Operation {
            what: "make",
            file: "".into(),
            time,
            needs: None,
            effects: Vec::new(),
            lost: false,
        });
    }

    /// Returns all operations that a power loss may undo.
    pub(crate) fn undecided(&self) -> impl Iterator<Item = &Operation> {
        self.made.iter().chain(&self.pending)
    }

    pub(crate) fn create(&mut self, file: &str, id: InodeId, time: u64) {
        let file: Name = file.into();
        self.done("create", &file, None, vec![(file.clone(), Some(id))], time);
    }

    pub(crate) fn remove(&mut self, file: &str, id: InodeId, time: u64) {
        let file: Name = file.into();
        self.done("remove", &file, Some((file.clone(), id)), vec![(file.clone(), None)], time);
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str, id: InodeId, time: u64) {
        let file: Name = from.into();
        let effects = vec![(file.clone(), None), (to.into(), Some(id))];
        self.done("rename", &file, Some((file.clone(), id)), effects, time);
    }

    fn done(
        &mut self,
        what: &'static str,
        file: &Name,
        needs: Option<(Name, InodeId)>,
        effects: Vec<(Name, Option<InodeId>)>,
        time: u64,
    ) {
        let operation = Operation { what, file: file.clone(), time, needs, effects, lost: false };
        operation.apply(&mut self.visible);
        self.pending.push(operation);
    }

    /// Sets the file of a name, or removes it, durably.
    pub(crate) fn set(&mut self, file: &str, id: Option<InodeId>) {
        let effects = vec![(file.into(), id)];
        let operation = Operation { what: "", file: file.into(), time: 0, needs: None, effects, lost: false };
        operation.apply(&mut self.visible);
        operation.apply(&mut self.durable);
        drop_overridden(&mut self.pending, &operation);
    }

    /// Makes the operations up to `time` durable. Operations whose sync failed stay undecided until
    /// a newer one with the same names is synced.
    pub(crate) fn sync(&mut self, time: u64) {
        let mut rest: Vec<Operation> = Vec::new();
        for operation in self.pending.drain(..) {
            if operation.lost || operation.time > time {
                rest.push(operation);
            } else {
                operation.apply(&mut self.durable);
                drop_overridden(&mut rest, &operation);
            }
        }
        self.pending = rest;
    }

    /// Marks the operations up to `time` as lost: they stay visible, and no sync makes them
    /// durable.
    pub(crate) fn lose(&mut self, time: u64) {
        for operation in &mut self.pending {
            operation.lost |= operation.time <= time;
        }
    }

    /// Returns the names after a power loss.
    pub(crate) fn after_crash(&self, choose: &mut dyn FnMut(Choice<'_>) -> u64) -> Names {
        if self.made.as_ref().is_some_and(|made| choose(Choice::Operation(made)) == 0) {
            return Names::new();
        }
        let mut names = self.durable.clone();
        for operation in &self.pending {
            if operation.is_possible(&names) && choose(Choice::Operation(operation)) > 0 {
                operation.apply(&mut names);
            }
        }
        names
    }

    /// Returns all files that have a name, or may have one after a power loss.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = InodeId> {
        self.visible.values().copied().chain(self.reachable_after_crash())
    }

    /// Returns all files that may have a name after a power loss.
    pub(crate) fn reachable_after_crash(&self) -> impl Iterator<Item = InodeId> {
        let pending = self.pending.iter().flat_map(|operation| &operation.effects);
        self.durable.values().copied().chain(pending.filter_map(|(_, id)| *id))
    }
}

/// Removes the effects of operations that a newer durable one overrides.
fn drop_overridden(operations: &mut Vec<Operation>, newer: &Operation) {
    let is_overridden = |name: &Name| newer.effects.iter().any(|(known, _)| known == name);
    for operation in operations.iter_mut() {
        operation.effects.retain(|(name, _)| !is_overridden(name));
    }
    operations.retain(|operation| !operation.effects.is_empty());
}
