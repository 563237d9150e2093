//! Operations on records that are at hand: decided upon and changed where they are, in one step of the store, by the clock as it is
//! read in that step.
//!
//! Each returns `None` if the operation has to go the usual way: the store does not show records in place, or nothing is to be
//! written, or not now.

use crate::engine::Shared;
use crate::key::Key;
use crate::lease_id::LeaseId;
use crate::machine::{Acquire, Act, Answer, Judgement, judge_acquire, judge_act};
use crate::record::{Body, Record};

/// The record as it was granted.
#[inline]
pub(crate) fn grant(shared: &Shared, key: &Key, request: &Acquire) -> Option<Body> {
    let retention = shared.settings.retention;
    let mut granted = None;
    shared.store.edit(key, &mut |spot| {
        let now = spot.clock.now();
        let record = match &judge_acquire(spot.record.as_deref(), request, now, retention) {
            Judgement::Begin(grant) if grant.window.is_open(now) => {
                let body = grant.begin();
                granted = Some(body.clone());
                match &mut spot.record {
                    Some(former) => **former = Record::new(body),
                    None if spot.purged.is_some_and(|purged| body.token <= purged) => granted = None,
                    None => spot.put = Some(Record::new(body)),
                }
                return;
            }
            Judgement::Change(plan) if plan.window.is_open(now) => {
                let Some(record) = &mut spot.record else { return };
                plan.make(record.body_mut());
                record
            }
            _ => return,
        };
        granted = Some(record.body().clone());
    });
    // A new lease is nothing that anybody waits for, but it ends the former holder's, if that is still watched.
    if let Some(body) = granted.as_ref().filter(|body| body.attempt > 1 && shared.watches.may_have(key)) {
        shared.watches.written(key, &Record::new(body.clone()), body.acquired_at);
    }
    granted
}

/// What the holder's act came to.
#[inline]
pub(crate) fn act(shared: &Shared, key: &Key, lease_id: &LeaseId, act: &Act) -> Option<Answer> {
    let retention = shared.settings.retention;
    let mut done = None;
    let mut news = None;
    shared.store.edit(key, &mut |spot| {
        let now = spot.clock.now();
        let Judgement::Change(plan) = &judge_act(spot.record.as_deref(), lease_id, act, now, retention)
        else {
            return;
        };
        if !plan.window.is_open(now) {
            return;
        }
        if let Some(record) = &mut spot.record {
            done = Some(plan.make(record.body_mut()));
            // A waiter that is not seen here yet reads the record after this.
            news = shared.watches.may_have(key).then(|| (record.clone(), now));
        }
    });
    if let Some((record, now)) = news {
        shared.watches.written(key, &record, now);
    }
    done
}
