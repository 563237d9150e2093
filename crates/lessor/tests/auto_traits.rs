//! The public types can be sent to and shared with other threads, which the compiler checks.

use std::error::Error;

use lessor::store::{
    Applied, CallerWaker, Cas, CasResult, ChangeNotifier, Closing, CompareAndSwap, ConditionalWrite,
    DecodeError, Executed, Notifier, OwnedConditionalWrite, OwnedOperation, Page, Purged, Record,
    RecordHeader, Scan, Snapshot, Stage, Store, Subscribers, SystemClock, Unconfirmed,
};
use lessor::{
    Ack, AcquireRequest, Acquisition, Backoff, Bytes, Cause, Close, CloseProgress, CloseStep, CloseWatch,
    Closed, Codec, DetachedTask, Durability, EndedBy, Engine, ErrorKind, Explanation, FailureClass,
    Fingerprint, GrantEnd, HistoryEntry, HistoryKind, Json, JsonError, Key, KeyError, Lease, LeaseHandle,
    LeaseId, LeaseIdError, Limits, ListRequest, Listing, Message, OnFailed, OnLapsed, Once, OnceError,
    OutOfRange, Outcome, Pending, PreviousGrant, Reconciled, Resolve, Retrying, Schedule, Settings, State,
    StoreError, Timestamp, Token, Version, Versioned, View, WaitsFor,
};

const fn send<T: Send>() {}
const fn send_static<T: Send + 'static>() {}
const fn send_sync<T: Send + Sync + ?Sized>() {}
const fn unpin<T: Unpin>() {}
const fn error<T: Error + Send + Sync + 'static>() {}
const fn clone_send_sync<T: Clone + Send + Sync>() {}

macro_rules! all {
    ($check:ident: $($type:ty),* $(,)?) => {
        const _: () = { $($check::<$type>();)* };
    };
}

// The types that applications use.
all!(clone_send_sync: Engine, LeaseHandle, Key, View, Settings, Limits, Schedule, Cause, CloseWatch, AcquireRequest<'_>);
all!(clone_send_sync: Explanation, EndedBy, HistoryEntry, HistoryKind, ListRequest<'_>, WaitsFor);
all!(send_sync: Lease, Resolve<'_>, Acquisition, Outcome<u8>, Listing, Ack, PreviousGrant);
all!(send_sync: Backoff, Closed, CloseProgress, CloseStep, Durability, ErrorKind, Fingerprint, GrantEnd);
all!(send_sync: Bytes, FailureClass, Json, Message, Reconciled<u8>, Versioned, dyn Codec<u8>);
all!(send_sync: LeaseId, OnFailed, OnLapsed, State, Timestamp, Token, Version);
// The types of the work do not matter, and nothing is borrowed.
all!(send_static: Once<std::rc::Rc<u8>, u8>, Retrying<std::rc::Rc<u8>, u8>, DetachedTask);
all!(send: Pending<u8>, Close);
all!(unpin: Pending<u8>, Close);
all!(error: lessor::Error, StoreError, Cause, JsonError, KeyError, LeaseIdError, OutOfRange);
all!(error: OnceError<u8, std::io::Error>);

// The types that stores use.
all!(clone_send_sync: Record, Snapshot, Page, Scan, CasResult, ChangeNotifier, Notifier, Closing, SystemClock);
all!(send_sync: ConditionalWrite<'_>, OwnedConditionalWrite, OwnedOperation, Executed, Applied, Purged);
all!(send_sync: RecordHeader, Stage, Subscribers, Unconfirmed<u8>, CallerWaker);
all!(send_sync: dyn Store, dyn CompareAndSwap, Cas<dyn CompareAndSwap>);
all!(error: DecodeError);

#[cfg(feature = "memory")]
all!(send_sync: lessor::MemoryStore);
#[cfg(feature = "file")]
all!(send_sync: lessor::FileStore, lessor::file::Settings);
#[cfg(feature = "redis")]
all!(send_sync: lessor::RedisStore, lessor::redis::Settings);

/// A future that uses leases can be spawned on an executor with several threads.
#[test]
#[cfg(feature = "memory")]
fn the_futures_of_the_engine_can_be_sent_to_other_threads() {
    fn is_send(_: &impl Send) {}
    let engine = lessor::open("memory:").expect("the URL is valid");
    let work = async {
        let acquired = engine.acquire("key").await;
        let outcome = engine.once("other").run_async(async |_lease| Ok::<_, String>(1)).await;
        (acquired.is_ok(), outcome.is_ok())
    };
    is_send(&work);
    assert_eq!(lessor::block_on(work), (true, true));
}
