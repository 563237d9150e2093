//! Performs operations of the testkit's model through an engine, and describes the answers in words
//! that another process can parse.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use lessor_core::{
    Ack, Acquisition, Backoff, Engine, Error, GrantEnd, Lease, LeaseId, OnFailed, OnLapsed, State, Timestamp,
    View,
};
use lessor_testkit::model::{AcquireArgs, Answer, KeyView, Op, Refusal, Resolution};
use serde_json::{Value, json};

use super::dice::Dice;

#[derive(Debug)]
pub(crate) struct Actor {
    engine: Engine,
    /// The leases are kept, because dropping one releases it.
    leases: Vec<Lease>,
}

impl Actor {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, leases: Vec::new() }
    }

    /// Performs one operation. A holder's operation goes through the lease itself if this actor has
    /// it, unless `by_id` is set.
    pub(crate) fn perform(&mut self, key: &str, op: &Op, by_id: bool) -> Answer {
        let engine = &self.engine;
        let answer = match op {
            Op::Acquire(request) => self.acquire(key, request),
            Op::Status => engine.status(key).wait().map(|view| Answer::Status(view.as_ref().map(shown))),
            Op::Forget { force: false } => engine.forget(key).wait().map(Answer::Forgotten),
            Op::Forget { force: true } => engine.forget_forced(key).wait().map(Answer::Forgotten),
            Op::Resolve { resolution, force } => {
                let resolve = engine.resolve(key);
                let resolve = if *force { resolve.forced() } else { resolve };
                match resolution {
                    Resolution::Completed(result) => resolve.completed(result),
                    Resolution::Failed(code) => resolve.failed(code),
                    Resolution::Released => resolve.released(),
                }
                .wait()
                .map(done)
            }
            Op::Extend { id, .. }
            | Op::Checkpoint { id, .. }
            | Op::Complete { id, .. }
            | Op::Fail { id, .. }
            | Op::FailFor { id, .. }
            | Op::Release { id }
            | Op::Abandon { id }
            | Op::LeaveInDoubt { id } => self.act(key, id, op, by_id).map(done),
        };
        answer.unwrap_or_else(|error| Answer::Refused(refusal(error)))
    }

    fn acquire(&mut self, key: &str, request: &AcquireArgs) -> Result<Answer, Error> {
        let mut acquire = self.engine.acquire(key).ttl(request.ttl).lease_id(request.id);
        acquire = acquire.on_failed(request.on_failed).on_lapsed(request.on_lapsed);
        if let Some(holder) = &request.holder {
            acquire = acquire.holder(holder);
        }
        Ok(match acquire.wait()? {
            Acquisition::InProgress(view) => Answer::InProgress(shown(&view)),
            Acquisition::Completed(view) => Answer::Completed(shown(&view)),
            Acquisition::Failed(view) => Answer::Failed(shown(&view)),
            Acquisition::InDoubt(view) => Answer::InDoubt(shown(&view)),
            Acquisition::Acquired(lease) => {
                let former = lease.previous_grant();
                let answer = Answer::Acquired {
                    token: lease.token().as_u64(),
                    attempt: lease.attempt(),
                    resent: lease.is_duplicate(),
                    checkpoint: lease.previous_checkpoint_bytes().map(<[u8]>::to_vec),
                    former: former.map(|former| (former.ended(), former.holder().map(str::to_owned))),
                };
                self.leases.push(lease);
                answer
            }
            other => Answer::Refused(Refusal::Other(format!("{other:?}"))),
        })
    }

    fn act(&self, key: &str, id: &LeaseId, op: &Op, by_id: bool) -> Result<Ack, Error> {
        let own = self.leases.iter().find(|lease| lease.lease_id() == id && lease.key() == key);
        let by_its_id = self.engine.lease_handle(key, *id)?;
        let held = own.filter(|_| !by_id).map_or(by_its_id, Lease::handle);
        match op {
            Op::Extend { ttl, .. } => held.extend(*ttl),
            Op::Checkpoint { bytes, .. } => held.checkpoint_bytes(bytes),
            Op::Complete { result, hash, .. } => held.complete_bytes_as(result, hash.as_deref()),
            Op::Fail { code, .. } => held.fail(code),
            Op::FailFor { code, wait, .. } => held.fail_retryable(code, *wait),
            Op::Release { .. } => held.release(),
            Op::LeaveInDoubt { .. } => held.leave_in_doubt(),
            _ => held.abandon(),
        }
        .wait()
    }
}

fn done(ack: Ack) -> Answer {
    Answer::Done {
        version: ack.version().as_u64(),
        expires_at: ack.expires_at(),
        late: ack.is_late(),
        repeated: ack.is_duplicate(),
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::NotFound => Refusal::NotFound,
        Error::NotHolder { token, .. } => Refusal::NotHolder(token.as_u64()),
        Error::Lapsed => Refusal::Lapsed,
        Error::Finished { state, .. } => Refusal::Finished(state),
        Error::Released => Refusal::Released,
        Error::Busy { ttl_left, .. } => Refusal::Busy(ttl_left),
        Error::FingerprintMismatch => Refusal::FingerprintMismatch,
        Error::LeaseIdReused => Refusal::LeaseIdReused,
        other => Refusal::Other(other.to_string()),
    }
}

fn shown(view: &View) -> KeyView {
    KeyView {
        state: view.state(),
        in_doubt: view.is_in_doubt(),
        version: view.version().as_u64(),
        attempt: view.attempt(),
        ttl_left: view.ttl_left(),
        retry_after: view.retry_after(),
        first_seen_at: view.first_seen_at(),
        done_at: view.done_at(),
        result: view.result_bytes().map(<[u8]>::to_vec),
        result_hash: view.result_hash(),
        error_code: view.error_code().map(str::to_owned),
        error_detail: view.error_detail().map(str::to_owned),
        holder: view.holder().map(str::to_owned),
        metadata: view.metadata_json().map(str::to_owned),
    }
}

/// Draws an operation of one of `threads`: mostly with one of the thread's own few lease ids, and
/// sometimes with one of another thread.
pub(crate) fn draw(dice: &mut Dice, thread: u64, threads: u64) -> Op {
    let mut roll = |sides: u64| dice.below(sides);
    let owner = if roll(5) == 0 { roll(threads) } else { thread };
    let id = LeaseId::from_bytes(u128::from(owner * 8 + roll(3) + 1).to_be_bytes());
    let ttl = Duration::from_millis(match roll(4) {
        3 => 1000,
        short => 1 + 2 * short,
    });
    match roll(22) {
        0..=7 => Op::Acquire(AcquireArgs {
            id,
            ttl,
            holder: Some(format!("thread {thread}")),
            metadata: None,
            fingerprint: None,
            on_failed: match roll(2) {
                0 => OnFailed::Replay,
                _ => OnFailed::Retry { max_attempts: 9, backoff: Backoff::NONE },
            },
            backoff: Duration::ZERO,
            on_lapsed: match roll(5) {
                0 => OnLapsed::InDoubt,
                1 => OnLapsed::Reconcile,
                _ => OnLapsed::TakeOver,
            },
        }),
        8 | 9 => Op::Extend { id, ttl },
        10 => Op::Checkpoint { id, bytes: roll(256).to_be_bytes().to_vec() },
        11 => Op::Complete { id, result: roll(3).to_be_bytes().to_vec(), hash: None },
        12 | 13 => Op::Fail { id, code: "code".to_owned(), detail: None },
        14 | 15 => Op::Release { id },
        16 => Op::Abandon { id },
        17 => Op::Forget { force: roll(2) == 0 },
        18 => Op::Resolve { resolution: Resolution::Released, force: roll(2) == 0 },
        19 => Op::LeaveInDoubt { id },
        20 => Op::FailFor { id, code: "code".to_owned(), wait: ttl },
        _ => Op::Status,
    }
}

const STATES: [State; 5] =
    [State::InProgress, State::Lapsed, State::Completed, State::Failed, State::Released];
const ENDS: [GrantEnd; 3] = [GrantEnd::Lapsed, GrantEnd::Released, GrantEnd::Failed];

fn place_of<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}

pub(crate) fn to_json(answer: &Answer) -> Value {
    match answer {
        Answer::Acquired { token, attempt, resent, checkpoint, former } => {
            let former = former.as_ref().map(|(ended, holder)| (place_of(&ENDS, ended), holder));
            json!(["acquired", token, attempt, resent, checkpoint, former])
        }
        Answer::InProgress(shown) => json!(["in progress", shown_to_json(shown)]),
        Answer::Completed(shown) => json!(["completed", shown_to_json(shown)]),
        Answer::Failed(shown) => json!(["failed", shown_to_json(shown)]),
        Answer::InDoubt(shown) => json!(["in doubt", shown_to_json(shown)]),
        Answer::Done { version, expires_at, late, repeated } => {
            json!(["done", version, expires_at.as_micros(), late, repeated])
        }
        Answer::Status(shown) => json!(["status", shown.as_ref().map(shown_to_json)]),
        Answer::Forgotten(was) => json!(["forgotten", was]),
        Answer::Refused(refusal) => match refusal {
            Refusal::NotFound => json!(["not found"]),
            Refusal::NotHolder(token) => json!(["not holder", token]),
            Refusal::Lapsed => json!(["lapsed"]),
            Refusal::Finished(state) => json!(["finished", place_of(&STATES, state)]),
            Refusal::Released => json!(["released"]),
            Refusal::Busy(left) => json!(["busy", micros(*left)]),
            Refusal::FingerprintMismatch => json!(["mismatch"]),
            Refusal::LeaseIdReused => json!(["reused"]),
            Refusal::Other(why) => json!(["other", why]),
        },
    }
}

fn shown_to_json(shown: &KeyView) -> Value {
    let KeyView { state, version, attempt, ttl_left, retry_after, first_seen_at, done_at, .. } = shown;
    let KeyView { result, result_hash, error_code, error_detail, holder, metadata, in_doubt, .. } = shown;
    json!([
        place_of(&STATES, state),
        version,
        attempt,
        ttl_left.map(micros),
        retry_after.map(micros),
        first_seen_at.as_micros(),
        done_at.map(Timestamp::as_micros),
        result,
        result_hash,
        error_code,
        error_detail,
        holder,
        metadata,
        in_doubt
    ])
}

fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number_of<N: TryFrom<u64>>(value: &Value) -> N {
    value.as_u64().and_then(|number| N::try_from(number).ok()).unwrap()
}

fn time_of(value: &Value) -> Timestamp {
    Timestamp::from_micros(value.as_u64().unwrap()).unwrap()
}

fn shown_of(words: &Value) -> KeyView {
    KeyView {
        state: STATES[number_of::<usize>(&words[0])],
        version: number_of(&words[1]),
        attempt: number_of(&words[2]),
        ttl_left: words[3].as_u64().map(Duration::from_micros),
        retry_after: words[4].as_u64().map(Duration::from_micros),
        first_seen_at: time_of(&words[5]),
        done_at: (!words[6].is_null()).then(|| time_of(&words[6])),
        result: bytes_of(&words[7]),
        result_hash: text_of(&words[8]),
        error_code: text_of(&words[9]),
        error_detail: text_of(&words[10]),
        holder: text_of(&words[11]),
        metadata: text_of(&words[12]),
        in_doubt: words[13].as_bool().unwrap(),
    }
}

pub(crate) fn from_json(words: &Value) -> Answer {
    let refused = Answer::Refused;
    match words[0].as_str().unwrap() {
        "acquired" => Answer::Acquired {
            token: number_of(&words[1]),
            attempt: number_of(&words[2]),
            resent: words[3].as_bool().unwrap(),
            checkpoint: bytes_of(&words[4]),
            former: (!words[5].is_null())
                .then(|| (ENDS[number_of::<usize>(&words[5][0])], text_of(&words[5][1]))),
        },
        "in progress" => Answer::InProgress(shown_of(&words[1])),
        "completed" => Answer::Completed(shown_of(&words[1])),
        "failed" => Answer::Failed(shown_of(&words[1])),
        "in doubt" => Answer::InDoubt(shown_of(&words[1])),
        "done" => Answer::Done {
            version: number_of(&words[1]),
            expires_at: time_of(&words[2]),
            late: words[3].as_bool().unwrap(),
            repeated: words[4].as_bool().unwrap(),
        },
        "status" => Answer::Status((!words[1].is_null()).then(|| shown_of(&words[1]))),
        "forgotten" => Answer::Forgotten(words[1].as_bool().unwrap()),
        "not found" => refused(Refusal::NotFound),
        "not holder" => refused(Refusal::NotHolder(number_of(&words[1]))),
        "lapsed" => refused(Refusal::Lapsed),
        "finished" => refused(Refusal::Finished(STATES[number_of::<usize>(&words[1])])),
        "released" => refused(Refusal::Released),
        "busy" => refused(Refusal::Busy(Duration::from_micros(number_of(&words[1])))),
        "mismatch" => refused(Refusal::FingerprintMismatch),
        "reused" => refused(Refusal::LeaseIdReused),
        other => refused(Refusal::Other(format!("{other}: {}", words[1]))),
    }
}
