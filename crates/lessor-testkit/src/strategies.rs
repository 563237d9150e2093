//! Sequences of commands that several holders give over several keys while time passes.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use lessor_core::{Backoff, OnFailed, OnLapsed};

/// Keys that a sequence works on.
pub const KEYS: u8 = 3;
/// Holders that there are for each key.
pub const HOLDERS: u8 = 3;
/// Engines that share the store.
pub const ENGINES: u8 = 2;

/// What happens next.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum Step {
    /// The clock moves on.
    Pass(Duration),
    /// Up to so many records are purged.
    Purge(usize),
    Command {
        engine: u8,
        key: u8,
        holder: u8,
        by_id: bool,
        what: What,
    },
}

/// What a holder, an observer or an operator does.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the contract")]
pub enum What {
    /// Not `fresh`: the holder's last acquire of the key is sent again under the same lease id.
    Acquire {
        fresh: bool,
        ttl: Duration,
        holder: Option<String>,
        metadata: Option<u8>,
        fingerprint: Option<u8>,
        /// Attempts and backoff.
        retry: Option<(u32, Duration)>,
        on_lapsed: OnLapsed,
    },
    Extend(Duration),
    Checkpoint(Vec<u8>),
    Complete(Vec<u8>, Option<String>),
    Fail(String, Option<String>),
    Release,
    Abandon,
    Status,
    Forget(bool),
    ResolveCompleted(u8),
    ResolveFailed(String),
    ResolveReleased,
}

/// The retention of the engines that sequences are made for.
pub const RETENTION: Duration = Duration::from_millis(40);

/// The policy that a retry stands for.
#[must_use]
pub fn on_failed(retry: Option<(u32, Duration)>) -> OnFailed {
    retry.map_or(OnFailed::Replay, |(max_attempts, wait)| OnFailed::Retry {
        max_attempts,
        backoff: Backoff::fixed(wait),
    })
}

/// A few lengths only, so that instants coincide: ends of leases, of backoffs and of retention.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => (1_u64..=4).prop_map(|tens| Duration::from_millis(10 * tens)),
        1 => Just(Duration::from_secs(600)),
    ]
}

/// Steps of the clock: onto an instant, just before or just after it.
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

fn acquire() -> impl Strategy<Value = What> {
    let policy = (
        option::of((1_u32..4, prop_oneof![Just(Duration::ZERO), duration()])),
        prop_oneof![3 => Just(OnLapsed::TakeOver), 1 => Just(OnLapsed::InDoubt)],
    );
    let labels = (option::of(word()), option::of(0_u8..3), option::weighted(0.3, 0_u8..2));
    (prop::bool::weighted(0.7), duration(), labels, policy).prop_map(
        |(fresh, ttl, (holder, metadata, fingerprint), (retry, on_lapsed))| What::Acquire {
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

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        9 => acquire(),
        3 => duration().prop_map(What::Extend),
        2 => payload().prop_map(What::Checkpoint),
        4 => (payload(), option::weighted(0.3, word())).prop_map(|(result, hash)| What::Complete(result, hash)),
        3 => (word(), option::of(word())).prop_map(|(code, detail)| What::Fail(code, detail)),
        2 => Just(What::Release),
        2 => Just(What::Abandon),
        1 => Just(What::Status),
        1 => any::<bool>().prop_map(What::Forget),
        1 => (0_u8..3).prop_map(What::ResolveCompleted),
        1 => word().prop_map(What::ResolveFailed),
        1 => Just(What::ResolveReleased),
    ]
}

/// One step.
pub fn step() -> impl Strategy<Value = Step> {
    let command = (0..ENGINES, 0..KEYS, 0..HOLDERS, any::<bool>(), what())
        .prop_map(|(engine, key, holder, by_id, what)| Step::Command { engine, key, holder, by_id, what });
    prop_oneof![
        12 => command,
        4 => pass().prop_map(Step::Pass),
        1 => (1_usize..10).prop_map(Step::Purge),
    ]
}

/// Up to `most` steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..=most)
}
