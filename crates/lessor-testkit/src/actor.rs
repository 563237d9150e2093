//! Executes operations of the model through an engine.

use std::collections::BTreeMap;

use lessor_core::rules::Ack;
use lessor_core::{Acquisition, Engine, Error, Fingerprint, Lease, LeaseHandle, LeaseId, View};

use crate::chronicle::{Item, item};
use crate::model::{AcquireArgs, Answer, KeyView, Op, Refusal, Resolution};

/// Executes operations through one engine, and keeps the granted leases.
#[derive(Debug)]
pub(crate) struct Actor {
    engine: Engine,
    /// Kept, because a dropped lease is abandoned.
    leases: Vec<Lease>,
}

impl Actor {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, leases: Vec::new() }
    }

    /// Returns the engine's answer. A holder's operation uses the lease if this actor has it,
    /// unless `by_id`.
    pub(crate) fn perform(&mut self, key: &str, op: &Op, by_id: bool) -> Answer {
        let answer = match op {
            Op::Acquire(ask) => self.acquire(key, ask),
            Op::Status => self.engine.status(key).wait().map(|view| Answer::Status(view.as_ref().map(shown))),
            Op::Forget { force: false } => self.engine.forget(key).wait().map(Answer::Forgotten),
            Op::Forget { force: true } => self.engine.forget_forced(key).wait().map(Answer::Forgotten),
            Op::Resolve { resolution, force } => {
                let resolve = self.engine.resolve(key);
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
            | Op::LeaveInDoubt { id } => self.act(key, id, op, by_id),
        };
        answer.unwrap_or_else(|error| Answer::Refused(refusal(error)))
    }

    /// Returns the history of the key.
    pub(crate) fn history(&self, key: &str) -> Vec<Item> {
        let view = self.engine.status(key).wait().ok().flatten();
        view.map(|view| view.history().iter().map(item).collect()).unwrap_or_default()
    }

    fn acquire(&mut self, key: &str, ask: &AcquireArgs) -> Result<Answer, Error> {
        let mut request = self
            .engine
            .acquire(key)
            .ttl(ask.ttl)
            .lease_id(ask.id)
            .on_failed(ask.on_failed)
            .on_lapsed(ask.on_lapsed);
        if let Some(holder) = &ask.holder {
            request = request.holder(holder);
        }
        if let Some(n) = ask.metadata {
            request = request.metadata(&BTreeMap::from([("n", n)]));
        }
        if let Some(request_number) = ask.fingerprint {
            request = request.fingerprint_hash(Fingerprint::of_bytes(&[request_number]));
        }
        Ok(match request.wait()? {
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

    fn act(&self, key: &str, id: &LeaseId, op: &Op, by_id: bool) -> Result<Answer, Error> {
        let own = self.leases.iter().find(|lease| lease.lease_id() == id && lease.key() == key);
        match own.filter(|_| !by_id) {
            Some(lease) => act(&lease.handle(), op),
            None => act(&self.engine.lease_handle(key, *id)?, op),
        }
    }
}

fn act(held: &LeaseHandle, op: &Op) -> Result<Answer, Error> {
    match op {
        Op::Extend { ttl, .. } => held.extend(*ttl),
        Op::Checkpoint { bytes, .. } => held.checkpoint_bytes(bytes),
        Op::Complete { result, hash, .. } => held.complete_bytes_as(result, hash.as_deref()),
        Op::Fail { code, detail: None, .. } => held.fail(code),
        Op::Fail { code, detail: Some(detail), .. } => held.fail_with(code, detail),
        Op::FailFor { code, wait, .. } => held.fail_retryable(code, *wait),
        Op::Release { .. } => held.release(),
        Op::LeaveInDoubt { .. } => held.leave_in_doubt(),
        _ => held.abandon(),
    }
    .wait()
    .map(done)
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
