//! Fault injection: which calls fail, and how.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A call of [`Vfs`](lessor_vfs::Vfs) or [`File`](lessor_vfs::File) that is about to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The number of the call on this disk, from 1.
    pub number: u64,
    /// The kind of the call.
    pub kind: CallKind,
    /// The name of the file when it was created or opened. For a rename, the old name. Empty for
    /// the folder itself.
    pub file: String,
}

/// A function that is called before each call, without a lock held. It may block, and inspect the
/// disk.
pub type Hook = Arc<dyn Fn(Call) + Send + Sync>;

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named after the methods")]
#[non_exhaustive]
pub enum CallKind {
    Create,
    Open,
    Remove,
    Rename,
    List,
    SyncFolder,
    Publish,
    Lock,
    Read,
    Write,
    Sync,
    Truncate,
    Len,
}

impl CallKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Open,
        Self::Remove,
        Self::Rename,
        Self::List,
        Self::SyncFolder,
        Self::Publish,
        Self::Lock,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Truncate,
        Self::Len,
    ];

    /// Returns whether calls of this kind change the disk.
    #[must_use]
    pub fn mutates(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Remove
                | Self::Rename
                | Self::Write
                | Self::Truncate
                | Self::Sync
                | Self::SyncFolder
                | Self::Publish
        )
    }
}

/// The way in which a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Fails with EIO and changes nothing. Unsynced data can be synced later.
    Io,
    /// Fails with ENOSPC and changes nothing.
    Full,
    /// Creating, opening and locking fail with EMFILE. Other calls succeed.
    TooManyFiles,
    /// Writes fail with EFBIG and change nothing. Other calls succeed.
    TooLarge,
    /// Fails with EINTR and changes nothing. Callers repeat the call.
    Interrupted,
    /// Reads and writes return after half of the bytes, and at least one. Other calls succeed.
    Short,
    /// Writes fail with EIO after half of the bytes. Other calls fail with EIO and change nothing.
    HalfThenIo,
    /// Syncs fail with EIO, and their data becomes clean but lost. It stays visible until the power
    /// loss, which may keep it or not, and no later sync makes it durable. Only writing it again
    /// does, in whole sectors. Other calls fail with EIO and change nothing.
    SyncLost,
}

/// Selects the calls that fail. Calls are counted from 1, since the disk was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct When {
    kind: Option<CallKind>,
    number: u64,
    lasts: bool,
}

impl When {
    /// Selects the call with this number.
    #[must_use]
    pub fn call(number: u64) -> Self {
        Self { kind: None, number, lasts: false }
    }

    /// Selects the call with this number among the calls of one kind.
    #[must_use]
    pub fn nth(kind: CallKind, number: u64) -> Self {
        Self { kind: Some(kind), number, lasts: false }
    }

    /// Selects all later calls as well; if a kind was given, those of that kind.
    #[must_use]
    pub fn from_then_on(self) -> Self {
        Self { lasts: true, ..self }
    }

    fn fits(self, call: &CountedCall) -> bool {
        let number = match self.kind {
            None => call.number,
            Some(kind) if kind == call.kind => call.of_kind,
            Some(_) => return false,
        };
        number == self.number || self.lasts && number > self.number
    }
}

#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) calls: u64,
    pub(crate) mutations: u64,
    of_kind: [u64; CallKind::ALL.len()],
    pub(crate) faults: Vec<(When, Fault)>,
    pub(crate) power: Power,
    pub(crate) hook: Option<Hook>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Power {
    #[default]
    On,
    /// Fails at the mutating call with this number. The call may take effect in part.
    Until {
        mutation: u64,
        during: bool,
    },
    Off,
}

/// A call that was counted and has not happened yet.
pub(crate) struct CountedCall {
    number: u64,
    kind: CallKind,
    of_kind: u64,
    mutation: Option<u64>,
}

/// The effect of the faults on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Normal,
    Error(Errno),
    /// The visible part of the call happens, and it fails.
    PowerFails,
    Short,
    HalfThenIo,
    SyncLost,
}

/// The effect of the faults on the call, and when the call began.
#[derive(Clone, Copy)]
pub(crate) struct CallContext {
    pub(crate) outcome: Outcome,
    /// The time at which the call began.
    pub(crate) began: u64,
}

/// The errors of the simulated disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    NotFound = 2,
    Interrupted = 4,
    Io = 5,
    Exists = 17,
    TooManyFiles = 24,
    TooLarge = 27,
    Full = 28,
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno as i32)
    }
}

impl Plan {
    pub(crate) fn count(&mut self, kind: CallKind) -> CountedCall {
        self.calls += 1;
        self.mutations += u64::from(kind.mutates());
        let of_kind = self.of_kind.get_mut(kind as usize).map_or(0, |count| {
            *count += 1;
            *count
        });
        let mutation = kind.mutates().then_some(self.mutations);
        CountedCall { number: self.calls, kind, of_kind, mutation }
    }

    pub(crate) fn calls_of(&self, kind: CallKind) -> u64 {
        self.of_kind.get(kind as usize).copied().unwrap_or(0)
    }

    pub(crate) fn call(call: &CountedCall, file: &str) -> Call {
        Call { number: call.number, kind: call.kind, file: file.to_owned() }
    }

    pub(crate) fn outcome(&mut self, call: &CountedCall) -> Outcome {
        let kind = call.kind;
        if let (Power::Until { mutation, during }, Some(this)) = (self.power, call.mutation)
            && this >= mutation
        {
            self.power = Power::Off;
            let syncs = matches!(kind, CallKind::Sync | CallKind::SyncFolder | CallKind::Publish);
            if during && this == mutation && !syncs {
                return Outcome::PowerFails;
            }
        }
        if self.power == Power::Off {
            return Outcome::Error(Errno::Io);
        }
        match self.faults.iter().find(|(when, _)| when.fits(call)).map(|(_, fault)| *fault) {
            None => Outcome::Normal,
            Some(Fault::Full) => Outcome::Error(Errno::Full),
            Some(Fault::TooManyFiles) => match kind {
                CallKind::Create | CallKind::Open | CallKind::Lock => Outcome::Error(Errno::TooManyFiles),
                _ => Outcome::Normal,
            },
            Some(Fault::TooLarge) if kind == CallKind::Write => Outcome::Error(Errno::TooLarge),
            Some(Fault::TooLarge) => Outcome::Normal,
            Some(Fault::Interrupted) => Outcome::Error(Errno::Interrupted),
            Some(Fault::Short) => Outcome::Short,
            Some(Fault::HalfThenIo) if kind == CallKind::Write => Outcome::HalfThenIo,
            Some(Fault::SyncLost) if matches!(kind, CallKind::Sync | CallKind::SyncFolder) => {
                Outcome::SyncLost
            }
            Some(Fault::Io | Fault::HalfThenIo | Fault::SyncLost) => Outcome::Error(Errno::Io),
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("calls", &self.calls)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}
