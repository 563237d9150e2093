//! Which call fails, and how.

use std::fmt;
use std::io;
use std::sync::Arc;

/// One call of [`Vfs`](lessor_vfs::Vfs) or [`File`](lessor_vfs::File) that is about to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which call of this disk it is, from 1.
    pub number: u64,
    /// What is called.
    pub kind: CallKind,
    /// The file's name as it was created or opened; of a rename the old name; empty for the folder itself.
    pub file: String,
}

/// Called before each call, with no lock held: it may block, and look at the disk.
pub type Hook = Arc<dyn Fn(Call) + Send + Sync>;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named like the functions")]
pub enum CallKind {
    Create,
    Open,
    Remove,
    Rename,
    List,
    SyncFolder,
    Settle,
    Lock,
    Read,
    Write,
    Sync,
    Cut,
    Len,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Open,
        Self::Remove,
        Self::Rename,
        Self::List,
        Self::SyncFolder,
        Self::Settle,
        Self::Lock,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Cut,
        Self::Len,
    ];

    /// Whether it changes what is on the disk.
    #[must_use]
    pub fn mutates(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Remove
                | Self::Rename
                | Self::Write
                | Self::Cut
                | Self::Sync
                | Self::SyncFolder
                | Self::Settle
        )
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It changes nothing and says EIO. What was to be synced waits for the next sync.
    Io,
    /// It changes nothing and says ENOSPC.
    Full,
    /// Files cannot be made, opened or locked, and it says EMFILE. Other calls do not fail.
    TooManyFiles,
    /// A write changes nothing and says EFBIG. Other calls do not fail.
    TooLarge,
    /// It changes nothing and says EINTR, which callers answer by trying again.
    Interrupted,
    /// Half of it is read or written, and it says so; at least one byte. Other calls do not fail.
    Short,
    /// Half of it is written, and it says EIO. Other calls change nothing.
    HalfThenIo,
    /// A sync says EIO, and what it was to sync is clean but lost: it shows until the power fails, and no later sync will
    /// make it durable. Only writing it again does, a whole sector at a time; the power loss may have it or not.
    /// Other calls change nothing.
    SyncLost,
}

/// Which call fails. Calls are counted from 1, since the disk was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct When {
    kind: Option<CallKind>,
    number: u64,
    lasts: bool,
}

impl When {
    /// The call with that number.
    #[must_use]
    pub fn call(number: u64) -> Self {
        Self { kind: None, number, lasts: false }
    }

    /// The call with that number among those of one kind.
    #[must_use]
    pub fn nth(kind: CallKind, number: u64) -> Self {
        Self { kind: Some(kind), number, lasts: false }
    }

    /// That call and each after it; if a kind was named, each of that kind.
    #[must_use]
    pub fn from_then_on(self) -> Self {
        Self { lasts: true, ..self }
    }

    fn fits(self, ticket: &Ticket) -> bool {
        let number = match self.kind {
            None => ticket.number,
            Some(kind) if kind == ticket.kind => ticket.of_kind,
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
    /// Fails at the mutating call with that number, which may take part effect.
    Until {
        mutation: u64,
        during: bool,
    },
    Off,
}

/// A call that was counted and has yet to happen.
pub(crate) struct Ticket {
    number: u64,
    kind: CallKind,
    of_kind: u64,
    mutation: Option<u64>,
}

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Normal,
    Error(Errno),
    /// As much of it as shows happens, and nobody is told.
    PowerFails,
    Short,
    HalfThenIo,
    SyncLost,
}

/// What was agreed on for the call that is happening.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) outcome: Outcome,
    /// The time when the call began.
    pub(crate) began: u64,
}

/// The errors that the disk has.
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
    pub(crate) fn count(&mut self, kind: CallKind) -> Ticket {
        self.calls += 1;
        self.mutations += u64::from(kind.mutates());
        let of_kind = self.of_kind.get_mut(kind as usize).map_or(0, |count| {
            *count += 1;
            *count
        });
        let mutation = kind.mutates().then_some(self.mutations);
        Ticket { number: self.calls, kind, of_kind, mutation }
    }

    pub(crate) fn calls_of(&self, kind: CallKind) -> u64 {
        self.of_kind.get(kind as usize).copied().unwrap_or(0)
    }

    pub(crate) fn call(ticket: &Ticket, file: &str) -> Call {
        Call { number: ticket.number, kind: ticket.kind, file: file.to_owned() }
    }

    pub(crate) fn outcome(&mut self, ticket: &Ticket) -> Outcome {
        let kind = ticket.kind;
        if let (Power::Until { mutation, during }, Some(this)) = (self.power, ticket.mutation)
            && this >= mutation
        {
            self.power = Power::Off;
            let syncs = matches!(kind, CallKind::Sync | CallKind::SyncFolder | CallKind::Settle);
            if during && this == mutation && !syncs {
                return Outcome::PowerFails;
            }
        }
        if self.power == Power::Off {
            return Outcome::Error(Errno::Io);
        }
        match self.faults.iter().find(|(when, _)| when.fits(ticket)).map(|(_, fault)| *fault) {
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
