//! Random sequences of commands by several holders on several keys, while time passes.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use lessor_core::{Backoff, OnFailed, OnLapsed};

/// The number of keys in a sequence.
pub const KEYS: u8 = 3;
/// The number of holders of each key.
pub const HOLDERS: u8 = 3;
/// The number of engines over the store.
pub const ENGINES: u8 = 2;

/// One step of a sequence.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Step {
    /// The clock advances.
    Pass(Duration),
    /// Up to this many records are purged.
    Purge(usize),
    Command {
        engine: u8,
        key: u8,
        holder: u8,
        by_id: bool,
        action: Action,
    },
}

/// The action of a holder, an observer or an operator.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Action {
    /// If it is not `fresh`, the holder's last acquire of the key is repeated with the same lease
    /// id.
    Acquire {
        fresh: bool,
        ttl: Duration,
        holder: Option<String>,
        metadata: Option<u8>,
        fingerprint: Option<u8>,
        /// The number of attempts, and the backoff.
        retry: Option<(u32, Duration)>,
        on_lapsed: OnLapsed,
    },
    Extend(Duration),
    Checkpoint(Vec<u8>),
    Complete(Vec<u8>, Option<String>),
    Fail(String, Option<String>),
    FailFor(String, Duration),
    Release,
    Abandon,
    LeaveInDoubt,
    Status,
    Forget(bool),
    /// With `true` if it is forced.
    ResolveCompleted(u8, bool),
    ResolveFailed(String, bool),
    ResolveReleased(bool),
}

/// The retention of the engines.
pub const RETENTION: Duration = Duration::from_millis(40);

/// Returns the policy for a retry.
#[must_use]
pub fn on_failed(retry: Option<(u32, Duration)>) -> OnFailed {
    retry.map_or(OnFailed::Replay, |(max_attempts, wait)| OnFailed::Retry {
        max_attempts,
        backoff: Backoff::fixed(wait),
    })
}

/// Generates a few durations, so that the ends of leases, backoffs and retentions coincide.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => (1_u64..=4).prop_map(|tens| Duration::from_millis(10 * tens)),
        1 => Just(Duration::from_secs(600)),
    ]
}

/// Generates steps of the clock: to an event, and just before or after it.
fn pass() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (1_u64..=4).prop_map(|tens| Duration::from_millis(10 * tens)),
        2 => Just(Duration::from_micros(1)),
        2 => Just(Duration::from_micros(9_999)),
        1 => Just(Duration::from_secs(600)),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("\u{1F980} é".to_owned())]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(b"1".to_vec()), vec(any::<u8>(), 1..4)]
}

fn acquire() -> impl Strategy<Value = Action> {
    let policy = (
        option::of((1_u32..4, prop_oneof![Just(Duration::ZERO), duration()])),
        prop_oneof![
            4 => Just(OnLapsed::TakeOver),
            1 => Just(OnLapsed::InDoubt),
            1 => Just(OnLapsed::Reconcile),
        ],
    );
    let labels = (option::of(word()), option::of(0_u8..3), option::weighted(0.3, 0_u8..2));
    (prop::bool::weighted(0.7), duration(), labels, policy).prop_map(
        |(fresh, ttl, (holder, metadata, fingerprint), (retry, on_lapsed))| Action::Acquire {
            fresh,
            ttl,
            holder,
            metadata,
            fingerprint,
            retry,
            on_lapsed,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        9 => acquire(),
        3 => duration().prop_map(Action::Extend),
        2 => payload().prop_map(Action::Checkpoint),
        4 => (payload(), option::weighted(0.3, word())).prop_map(|(result, hash)| Action::Complete(result, hash)),
        3 => (word(), option::of(word())).prop_map(|(code, detail)| Action::Fail(code, detail)),
        1 => (word(), prop_oneof![Just(Duration::ZERO), duration()])
            .prop_map(|(code, wait)| Action::FailFor(code, wait)),
        2 => Just(Action::Release),
        2 => Just(Action::Abandon),
        1 => Just(Action::LeaveInDoubt),
        1 => Just(Action::Status),
        1 => any::<bool>().prop_map(Action::Forget),
        1 => (0_u8..3, any::<bool>()).prop_map(|(result, force)| Action::ResolveCompleted(result, force)),
        1 => (word(), any::<bool>()).prop_map(|(code, force)| Action::ResolveFailed(code, force)),
        1 => any::<bool>().prop_map(Action::ResolveReleased),
    ]
}

/// Generates one step.
pub fn step() -> impl Strategy<Value = Step> {
    let command = (0..ENGINES, 0..KEYS, 0..HOLDERS, any::<bool>(), action()).prop_map(
        |(engine, key, holder, by_id, action)| Step::Command { engine, key, holder, by_id, action },
    );
    prop_oneof![
        12 => command,
        4 => pass().prop_map(Step::Pass),
        1 => (1_usize..10).prop_map(Step::Purge),
    ]
}

/// Generates up to `most` steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..=most)
}
