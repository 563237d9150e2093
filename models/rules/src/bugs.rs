//! Faults that can be planted in a model.

use std::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    // Faults of a store.
    /// A fresh grant counts even if its reply arrives too late.
    LateReplyIsAccepted,
    /// A fresh grant is undone if its reply arrives too late, but counts if it is found by reading
    /// later.
    LateRecordIsAccepted,
    /// A fresh grant counts until its token is as old as a purged one.
    LateRecordCountsTooLong,
    /// A store of the kind `Server` purges as early as one of the kind `Local`.
    PurgeIgnoresTokenAge,
    PurgeIgnoresRetention,
    StoreForgetsPurgedTokens,
    StoreAcceptsEqualTokens,
    StoreIgnoresNotBefore,
    StoreIgnoresNotAfter,
    SwapComparesOnlyTheToken,
    /// The lateness of an outcome is decided by the clock reading before the write.
    LatenessIsDecidedByTheReading,
    // Faults of waiting.
    /// A waiter accepts a reading that was published before it registered.
    WaiterAcceptsAnEarlierReading,
    /// A waiter accepts a reading that began before it registered.
    WaiterAcceptsAReadingInFlight,
    /// A waiter gets the outcome of a request with another fingerprint.
    WaiterIgnoresFingerprints,
    // Faults of the rules.
    SupersededHolderIsAccepted,
    LiveLeaseIsTakenOver,
    CompletedIsGrantedAgain,
    FailureIsRetriedTooEarly,
    FingerprintsAreIgnored,
    DoubtIsTakenOver,
    /// The mark of a holder that left the key in doubt is ignored.
    MarkOfDoubtIsTakenOver,
    TokenIsOnlyTheTime,
    LateOutcomeIsRefused,
    LapsedLeaseIsExtended,
    RepeatedOutcomeIsRefused,
    RefusalWrites,
    VersionSkips,
    ForgetIsAlwaysForced,
    ResolveIsAlwaysForced,
    RepeatedAcquireIsRefused,
}

thread_local! {
    /// The fault is here because the rules are a plain function without another argument.
    static IN_THE_RULES: Cell<Option<Bug>> = const { Cell::new(None) };
}

impl Bug {
    pub(crate) fn plant(bug: Option<Self>) {
        IN_THE_RULES.set(bug);
    }

    pub(crate) fn planted() -> Option<Self> {
        IN_THE_RULES.get()
    }
}
