//! The names of the folder: as they show, as a power loss leaves them for certain, and what was done in between.

use crate::choice::Choice;
use crate::operation::{InodeId, Name, Names, Operation};

#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) visible: Names,
    pub(crate) durable: Names,
    /// What was done since the last sync, in order.
    pub(crate) pending: Vec<Operation>,
    /// The making of the folder itself, unless it is durable.
    pub(crate) made: Option<Operation>,
}

impl Folder {
    /// The folder was made at that time, and nothing is known to be durable.
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

    /// Everything that a power loss may undo.
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

    /// Makes a file be there, or not, for certain.
    pub(crate) fn settle(&mut self, file: &str, id: Option<InodeId>) {
        let effects = vec![(file.into(), id)];
        let operation = Operation { what: "", file: file.into(), time: 0, needs: None, effects, lost: false };
        operation.apply(&mut self.visible);
        operation.apply(&mut self.durable);
        forget_overruled(&mut self.pending, &operation);
    }

    /// Makes durable what was done up to that time. What was lost stays undecided until something newer is known of
    /// the same names.
    pub(crate) fn sync(&mut self, time: u64) {
        let mut rest: Vec<Operation> = Vec::new();
        for operation in self.pending.drain(..) {
            if operation.lost || operation.time > time {
                rest.push(operation);
            } else {
                operation.apply(&mut self.durable);
                forget_overruled(&mut rest, &operation);
            }
        }
        self.pending = rest;
    }

    /// What was done up to that time stays as it shows, and no sync will make it durable.
    pub(crate) fn lose(&mut self, time: u64) {
        for operation in &mut self.pending {
            operation.lost |= operation.time <= time;
        }
    }

    /// The names as they may be after a power loss.
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

    /// Every file that has a name, or may have one after a power loss.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = InodeId> {
        self.visible.values().copied().chain(self.reachable_after_crash())
    }

    /// Every file that may have a name after a power loss.
    pub(crate) fn reachable_after_crash(&self) -> impl Iterator<Item = InodeId> {
        let pending = self.pending.iter().flat_map(|operation| &operation.effects);
        self.durable.values().copied().chain(pending.filter_map(|(_, id)| *id))
    }
}

/// Takes from operations what is known better since.
fn forget_overruled(operations: &mut Vec<Operation>, newer: &Operation) {
    let overruled = |name: &Name| newer.effects.iter().any(|(known, _)| known == name);
    for operation in operations.iter_mut() {
        operation.effects.retain(|(name, _)| !overruled(name));
    }
    operations.retain(|operation| !operation.effects.is_empty());
}
