//! Faults that can be planted in a model.

use std::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    // In a store.
    /// A fresh grant counts however late its answer arrives.
    LateAnswerIsTaken,
    /// A fresh grant is undone where its answer arrives late, but counts where it is found later.
    LateRecordIsTaken,
    /// A fresh grant counts until its token is as old as a token that is purged.
    LateRecordCountsForTheWholeAge,
    /// A store of the kind `Server` purges as early as one of the kind `Local`.
    PurgeIgnoresTheAge,
    PurgeIgnoresRetention,
    StoreForgetsWhatWasPurged,
    StoreLetsEqualTokensIn,
    StoreIgnoresNotBefore,
    StoreIgnoresNotAfter,
    SwapComparesTheTokenAlone,
    /// Whether an outcome is late is judged by the reading before the write.
    LateIsJudgedByTheReading,
    // In waiting.
    /// A waiter accepts a reading that was published before it came.
    WaiterTakesWhatWasSeenBefore,
    /// A waiter accepts a reading that began before it came.
    WaiterTakesAReadingUnderWay,
    /// A waiter is given the outcome of a request with another fingerprint.
    WaiterIgnoresFingerprints,
    // In the rules.
    SupersededHolderIsTakenForTheHolder,
    LiveLeaseIsTakenOver,
    CompletedIsGrantedAgain,
    FailureIsRetriedTooSoon,
    FingerprintsAreIgnored,
    DoubtIsTakenOver,
    TokenIsTheTimeAlone,
    LateOutcomeIsRefused,
    LapsedLeaseIsExtended,
    RepeatedOutcomeIsRefused,
    RefusalWrites,
    VersionSkips,
    ForgettingIsForcedAlways,
    OwnGrantIsRefusedWhenSentAgain,
}

thread_local! {
    /// The rules are a plain function, which takes no further argument.
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
