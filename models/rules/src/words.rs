//! The model's commands: small values that can be compared and hashed, and the library's commands
//! for them.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;
use std::time::Duration;

use lessor_core::rules::{Acquire, Command, HolderCommand, Resolution};
use lessor_core::{Backoff, Failure, Fingerprint, LeaseId, OnFailed, OnLapsed, Payload, Record, Timestamp};

/// Microseconds.
pub(crate) type Time = u64;

/// The first time. The following numbers are chosen so that times do not coincide by accident.
pub(crate) const START: Time = 1_000_000;
pub(crate) const TTL: Time = 100_000;
pub(crate) const RETENTION: Time = 207_000;
pub(crate) const BACKOFF: Time = 31_000;
pub(crate) const MAX_ATTEMPTS: u32 = 2;
/// The wait before a retry of a failure that its holder made retryable. Less than `BACKOFF`.
pub(crate) const RETRY_AFTER: Time = 17_000;
/// The minimum age of a token at which a store of the kind `Server` purges its record.
pub(crate) const TOKEN_AGE: Time = 1_024_000;

/// The precision of the time of an outcome in a store that stamps it.
pub(crate) const CLOSE: Time = 1_000;

pub(crate) fn at(time: Time) -> Timestamp {
    Timestamp::from_micros(time).unwrap()
}

/// A record with a hash of its bytes, which is computed once.
#[derive(Clone)]
pub(crate) struct Rec {
    pub(crate) record: Record,
    hash: u64,
}

impl Rec {
    pub(crate) fn new(record: Record) -> Self {
        let mut hasher = DefaultHasher::new();
        record.encode().hash(&mut hasher);
        Self { record, hash: hasher.finish() }
    }

    pub(crate) fn token(&self) -> Time {
        self.record.token().as_u64()
    }

    pub(crate) fn version(&self) -> u64 {
        self.record.version().as_u64()
    }

    pub(crate) fn expires_at(&self) -> Time {
        self.record.expires_at().as_micros()
    }

    pub(crate) fn is_held_by(&self, id: Id) -> bool {
        self.record.is_held_by(&id.lease_id())
    }
}

impl PartialEq for Rec {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Rec {}

impl Hash for Rec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Rec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = &self.record;
        write!(
            f,
            "{:?} token {} version {} until {}",
            record.stage(),
            self.token(),
            self.version(),
            self.expires_at()
        )
    }
}

/// A lease id: a number in the order of drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) u8);

impl Id {
    pub(crate) fn lease_id(self) -> LeaseId {
        LeaseId::from_bytes([self.0; 16])
    }
}

/// The fingerprint and the policies of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct CallerKind {
    /// The fingerprint of its request.
    pub(crate) print: Option<u8>,
    /// True if it retries a failure.
    pub(crate) retries: bool,
    /// True if it leaves a lapsed grant to an operator.
    pub(crate) in_doubt: bool,
    /// True if it finds out whether the work was done, before it does it.
    pub(crate) reconciles: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HolderOp {
    Extend,
    Checkpoint,
    /// The result is the fingerprint of the holder's request.
    Complete(u8),
    Fail(u8),
    /// A failure with a wait before a retry.
    FailFor(u8),
    Release,
    Abandon,
    Doubt,
}

impl HolderOp {
    pub(crate) fn is_outcome(self) -> bool {
        matches!(self, Self::Complete(_) | Self::Fail(_) | Self::FailFor(_) | Self::Release)
    }

    pub(crate) fn ends(self) -> bool {
        self.is_outcome() || matches!(self, Self::Abandon | Self::Doubt)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Forget,
    ForgetForced,
    ResolveCompleted,
    ResolveFailed,
    ResolveReleased,
    ResolveCompletedForced,
    ResolveReleasedForced,
}

impl Operation {
    /// Returns whether the operation gives the record an outcome, and whether it is forced.
    pub(crate) fn resolves(self) -> Option<bool> {
        match self {
            Self::Forget | Self::ForgetForced => None,
            Self::ResolveCompleted | Self::ResolveFailed | Self::ResolveReleased => Some(false),
            Self::ResolveCompletedForced | Self::ResolveReleasedForced => Some(true),
        }
    }
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cmd {
    Acquire(Id, CallerKind),
    HolderCommand(Id, HolderOp),
    Operate(Operation),
}

static PAYLOADS: LazyLock<Vec<Payload>> = LazyLock::new(|| (0..10).map(|n| Payload::new(&[n])).collect());

/// Returns a failure whose code is the fingerprint of the holder's request.
fn failure(value: u8) -> Failure {
    Failure::new(&value.to_string(), None)
}

pub(crate) const BY_OPERATOR: u8 = 9;

fn by_operator() -> Resolution {
    Resolution::Completed(payload(BY_OPERATOR), None)
}

fn resolve(force: bool, resolution: Resolution) -> Command {
    Command::Resolve { resolution, force }
}

pub(crate) fn payload(value: u8) -> Payload {
    PAYLOADS[usize::from(value)].clone()
}

impl Cmd {
    pub(crate) fn command(self) -> Command {
        match self {
            Self::Acquire(id, who) => {
                let request = Acquire::new(id.lease_id(), Duration::from_micros(TTL));
                Command::Acquire(request.with(|options| {
                    options.fingerprint = who.print.map(|print| Fingerprint::from_bytes([print; 32]));
                    if who.retries {
                        let backoff = Backoff::fixed(Duration::from_micros(BACKOFF));
                        options.on_failed = OnFailed::Retry { max_attempts: MAX_ATTEMPTS, backoff };
                    }
                    if who.in_doubt {
                        options.on_lapsed = OnLapsed::InDoubt;
                    }
                    if who.reconciles {
                        options.on_lapsed = OnLapsed::Reconcile;
                    }
                }))
            }
            Self::HolderCommand(id, holder_op) => Command::Holder(
                id.lease_id(),
                match holder_op {
                    HolderOp::Extend => HolderCommand::Extend { ttl: Duration::from_micros(TTL) },
                    HolderOp::Checkpoint => HolderCommand::Checkpoint(payload(0)),
                    HolderOp::Complete(value) => HolderCommand::Complete(payload(value), None),
                    HolderOp::Fail(value) => HolderCommand::Fail(failure(value)),
                    HolderOp::Release => HolderCommand::Release,
                    HolderOp::FailFor(value) => {
                        let wait = Duration::from_micros(RETRY_AFTER);
                        HolderCommand::Fail(failure(value).retry_after(wait))
                    }
                    HolderOp::Abandon => HolderCommand::Abandon,
                    HolderOp::Doubt => HolderCommand::Doubt,
                },
            ),
            Self::Operate(operation) => match operation {
                Operation::Forget => Command::Forget { force: false },
                Operation::ForgetForced => Command::Forget { force: true },
                Operation::ResolveCompleted => resolve(false, by_operator()),
                Operation::ResolveFailed => resolve(false, Resolution::Failed(failure(BY_OPERATOR))),
                Operation::ResolveReleased => resolve(false, Resolution::Released),
                Operation::ResolveCompletedForced => resolve(true, by_operator()),
                Operation::ResolveReleasedForced => resolve(true, Resolution::Released),
            },
        }
    }

    pub(crate) fn id(self) -> Option<Id> {
        match self {
            Self::Acquire(id, _) | Self::HolderCommand(id, _) => Some(id),
            Self::Operate(_) => None,
        }
    }
}
