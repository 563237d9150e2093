//! Single guarantees at their limits.

use std::time::Duration;

use crate::data::error::Error;
use crate::data::payload::{Payload, result_hash};
use crate::data::record::{Record, Stage};
use crate::data::time::Timestamp;
use crate::data::token::Token;
use crate::data::view::View;
use crate::rules::policies::{Backoff, OnFailed};
use crate::rules::{Ack, Acquire, Answer, Command, Decision, HolderCommand, Resolution, decide};

use super::plain::{HOLDER, OTHER, Plain, RETENTION, SEC, T, TTL, at, id};

const KEPT: Duration = Duration::from_micros(RETENTION);

fn acquire(asker: u8) -> Command {
    Command::Acquire(Acquire::new(id(asker), Duration::from_micros(TTL)))
}

fn act(asker: u8, act: HolderCommand) -> Command {
    Command::Holder(id(asker), act)
}

fn complete(asker: u8) -> Command {
    act(asker, HolderCommand::Complete(Payload::new(b"\"paid\""), None))
}

#[track_caller]
fn written(record: Option<&Record>, command: &Command, now: Timestamp) -> Record {
    match decide(record, command, now, KEPT) {
        Decision::Write(change, _) => change.next,
        decision => panic!("nothing is written: {decision:?}"),
    }
}

#[track_caller]
fn refused(record: Option<&Record>, command: &Command, now: Timestamp) -> Error {
    match decide(record, command, now, KEPT) {
        Decision::Refuse(error) => error,
        decision => panic!("it is not refused: {decision:?}"),
    }
}

#[track_caller]
fn acknowledged(record: &Record, command: &Command, now: Timestamp) -> Ack {
    match decide(Some(record), command, now, KEPT) {
        Decision::Answer(Answer::Done(ack)) | Decision::Write(_, Answer::Done(ack)) => ack,
        decision => panic!("it is not acknowledged: {decision:?}"),
    }
}

#[test]
fn p2_tokens_rise_while_the_clock_stands_still() {
    let mut record = written(None, &acquire(1), at(T));
    assert_eq!(record.token().as_u64(), T);
    for grants in 1..=1000 {
        record = written(Some(&record), &act(record_id(grants), HolderCommand::Release), at(T));
        record = written(Some(&record), &acquire(record_id(grants + 1)), at(T));
        assert_eq!((record.token().as_u64(), record.attempt()), (T + u64::from(grants), grants + 1));
        assert_eq!((record.acquired_at(), record.first_seen_at()), (at(T), at(T)));
        assert!(Record::decode(&record.encode()).is_ok_and(|decoded| decoded == record));
    }
}

/// Returns the lease ids 1 and 2 in turn.
fn record_id(grant: u32) -> u8 {
    if grant % 2 == 1 { 1 } else { 2 }
}

/// Without the tombstone, a key that is forgotten and acquired again in the same microsecond would
/// get its old token again.
#[test]
fn p2_tokens_rise_after_forget_within_one_microsecond() {
    let first = written(None, &acquire(1), at(T));
    let tombstone = written(Some(&first), &Command::Forget { force: true }, at(T));
    assert!(View::of(&tombstone, at(T)).is_none());
    let second = written(Some(&tombstone), &acquire(2), at(T));
    assert_eq!(second.token().as_u64(), T + 1);
    assert_eq!((second.version().as_u64(), second.attempt()), (1, 1));
    assert!(
        matches!(refused(Some(&second), &complete(1), at(T)), Error::NotHolder { token } if token == second.token())
    );
}

/// After a purge the token of a record is not known any more, so the clock must have passed it.
#[test]
fn p2_tokens_rise_after_a_purge() {
    // The token is ahead of the clock, and the retention ends before the clock reaches it.
    let ahead = Plain {
        token: T + 10 * RETENTION,
        stage: Stage::Released,
        done: Some(T),
        expires: T,
        keep_until: T + 1,
        ..Plain::granted()
    };
    let forgotten = written(Some(&ahead.record()), &Command::Forget { force: false }, at(T));
    let completed = written(Some(&Plain::granted().record()), &complete(HOLDER), at(T + TTL));
    for record in [ahead.record(), forgotten, completed] {
        assert!(View::of(&record, record.purge_at()).is_none(), "purged while it is readable: {record:?}");
        let anew = written(None, &acquire(OTHER), record.purge_at());
        assert!(anew.token() > record.token(), "{record:?}");
    }
}

#[test]
fn p2_tokens_and_times_from_2_pow_53_are_refused() {
    let last = (1 << 53) - 1;
    let used_up = Plain {
        token: last,
        stage: Stage::Released,
        done: Some(T),
        keep_until: T + RETENTION,
        expires: T,
        ..Plain::granted()
    };
    assert_eq!(used_up.record().token(), Token::MAX);
    assert!(matches!(refused(Some(&used_up.record()), &acquire(OTHER), at(T)), Error::ClockOutOfRange));

    // The lease would end after the last timestamp.
    let too_late = Timestamp::from_micros(last - TTL + 1).unwrap();
    assert!(matches!(refused(None, &acquire(OTHER), too_late), Error::ClockOutOfRange));
    let just = Timestamp::from_micros(last - TTL).unwrap();
    let record = written(None, &acquire(OTHER), just);
    assert_eq!(record.expires_at(), Timestamp::MAX);
    let extend = act(OTHER, HolderCommand::Extend { ttl: Duration::from_micros(TTL) });
    assert!(matches!(refused(Some(&record), &extend, too_late), Error::ClockOutOfRange));
    // A holder can still deliver its outcome.
    assert!(!acknowledged(&record, &complete(OTHER), too_late).is_late());
    assert_eq!(written(Some(&record), &complete(OTHER), too_late).purge_at(), Timestamp::MAX);
}

#[test]
fn retry_after_is_at_most_the_time_left_and_five_seconds() {
    let record = Plain::granted().record();
    for left in [1, SEC, 5 * SEC - 1, 5 * SEC, 5 * SEC + 1, TTL] {
        let Decision::Answer(Answer::InProgress(view)) =
            decide(Some(&record), &acquire(OTHER), at(T + TTL - left), KEPT)
        else {
            panic!("somebody else's lease lives for another {left} µs");
        };
        let left = Duration::from_micros(left);
        assert_eq!(view.ttl_left(), Some(left));
        assert_eq!(view.retry_after(), Some(left.min(Duration::from_secs(5))));
    }
}

#[test]
fn a_key_is_granted_when_its_backoff_has_passed() {
    let failed = Plain {
        stage: Stage::Failed,
        code: Some("declined"),
        done: Some(T),
        expires: T,
        keep_until: T + RETENTION,
        ..Plain::granted()
    }
    .record();
    let wait = Duration::from_secs(60);
    let Command::Acquire(request) = acquire(OTHER) else { unreachable!() };
    let policy = OnFailed::Retry { max_attempts: 2, backoff: Backoff::fixed(wait) };
    let retry = Command::Acquire(request.with(|options| options.on_failed = policy));
    let asked = |now| match decide(Some(&failed), &retry, at(now), KEPT) {
        Decision::Answer(Answer::Failed(view)) => view.retry_after(),
        decision => panic!("granted too early: {decision:?}"),
    };
    assert_eq!(asked(T), Some(Duration::from_secs(5)));
    assert_eq!(asked(T + 60 * SEC - 1), Some(Duration::from_micros(1)));
    assert_eq!(written(Some(&failed), &retry, at(T + 60 * SEC)).attempt(), 2);
}

#[test]
fn an_outcome_after_the_lapse_counts_and_is_marked_as_late() {
    let record = Plain::granted().record();
    let outcomes = [
        complete(HOLDER),
        act(HOLDER, HolderCommand::Fail(crate::data::failure::Failure::new("x", None))),
        act(HOLDER, HolderCommand::Release),
    ];
    for outcome in outcomes {
        assert!(!acknowledged(&record, &outcome, at(T + TTL - 1)).is_late(), "{outcome:?}");
        for late in [T + TTL, T + TTL + RETENTION - 1] {
            let ack = acknowledged(&record, &outcome, at(late));
            assert!(ack.is_late() && !ack.is_duplicate(), "{outcome:?}");
            // A lapsed lease is not revived.
            assert_eq!(ack.expires_at(), record.expires_at());
        }
        let superseded = written(Some(&record), &acquire(OTHER), at(T + TTL));
        assert!(matches!(refused(Some(&superseded), &outcome, at(T + TTL)), Error::NotHolder { .. }));
    }
}

#[test]
fn extending_never_shortens_and_never_revives() {
    let mut record = Plain::granted().record();
    for (now, ttl) in
        [(T, 1000), (T, TTL), (T + 1, TTL), (T + 2, 1000), (T + TTL, 86_400 * SEC), (T + TTL, 1)]
    {
        let before = record.expires_at();
        let extend = act(HOLDER, HolderCommand::Extend { ttl: Duration::from_micros(ttl) });
        record = written(Some(&record), &extend, at(now));
        assert_eq!(record.expires_at(), before.max(at(now + ttl)));
        let too_late = record.expires_at();
        assert!(matches!(refused(Some(&record), &extend, too_late), Error::Lapsed));
    }
}

/// The holder may have read the clock long before its write arrives, so the write has a time
/// window.
#[test]
fn an_extension_must_be_written_while_the_lease_is_live() {
    let record = Plain::granted().record();
    let extend = act(HOLDER, HolderCommand::Extend { ttl: Duration::from_micros(TTL) });
    let Decision::Write(change, _) = decide(Some(&record), &extend, at(T), KEPT) else { unreachable!() };
    assert!(change.change(None).in_window(at(T + TTL - 1)));
    assert!(!change.change(None).in_window(at(T + TTL)));
}

#[test]
fn p11_a_superseded_holder_gets_the_token_and_not_the_lease_id() {
    let former = Plain::granted().record();
    let current = written(Some(&former), &acquire(OTHER), at(T + TTL));
    let error = refused(Some(&current), &complete(HOLDER), at(T + TTL));
    assert!(matches!(error, Error::NotHolder { token } if token == current.token()));
    let told = format!("{error} {error:?}");
    assert!(!told.contains(&id(OTHER).reveal()) && !told.contains("b2b2"));
}

#[test]
fn p6_a_repeated_command_gives_the_same_answer_and_writes_nothing() {
    let granted = written(None, &acquire(HOLDER), at(T));
    let again = decide(Some(&granted), &acquire(HOLDER), at(T + 1), KEPT);
    assert!(matches!(again, Decision::Answer(Answer::Resent(record)) if *record == granted));
    let failure = || crate::data::failure::Failure::new("declined", None);
    for outcome in [
        complete(HOLDER),
        act(HOLDER, HolderCommand::Fail(failure())),
        act(HOLDER, HolderCommand::Release),
        act(HOLDER, HolderCommand::Abandon),
    ] {
        let ended = written(Some(&granted), &outcome, at(T + 1));
        match decide(Some(&ended), &outcome, at(T + 2), KEPT) {
            Decision::Answer(Answer::Done(ack)) => {
                assert!(ack.is_duplicate());
                assert_eq!((ack.version(), ack.expires_at()), (ended.version(), ended.expires_at()));
            }
            decision => panic!("{outcome:?} again: {decision:?}"),
        }
    }
}

#[test]
fn p2_a_token_equal_to_a_purged_one_is_not_above_it() {
    let next = written(None, &acquire(1), at(T));
    let change = crate::store::ConditionalWrite {
        expected: None,
        next: &next,
        not_before: None,
        not_after: None,
        is_outcome: false,
    };
    for (purged, is_above_floor) in [(T - 1, true), (T, false), (T + 1, false)] {
        assert_eq!(change.is_above_floor(Token::from_u64(purged)), is_above_floor, "{T} over {purged}");
    }
}

/// With the clock at exactly 0 the first token was 0. A store that had never purged anything has 0
/// as its highest purged token, and rejected the grant forever.
#[test]
fn p2_the_first_token_is_1_with_the_clock_at_0() {
    let first = written(None, &acquire(1), at(0));
    assert_eq!(first.token().as_u64(), 1);
    let released = written(Some(&first), &act(1, HolderCommand::Release), at(0));
    assert_eq!(released.done_at(), Some(at(0)));
    assert_eq!(written(Some(&released), &acquire(2), at(0)).token().as_u64(), 2);
    assert!(!acknowledged(&first, &act(1, HolderCommand::Abandon), at(0)).is_late());
}

#[test]
fn an_outcome_is_not_late_only_if_it_is_written_while_the_lease_is_live() {
    let record = Plain::granted().record();
    for outcome in [complete(HOLDER), act(HOLDER, HolderCommand::Release)] {
        for (decided, until) in [(T, T + TTL), (T + TTL, T + TTL + RETENTION)] {
            let Decision::Write(change, _) = decide(Some(&record), &outcome, at(decided), KEPT) else {
                unreachable!()
            };
            assert!(change.is_outcome);
            assert_eq!((change.not_before, change.not_after), (None, Some(at(until))));
        }
    }
}

/// A change was decided within the record's retention and delayed until after its end. It changed a
/// record that counted as absent, so the key's next acquire saw another state than after a timely
/// purge.
#[test]
fn p9_a_change_after_the_end_of_the_retention_does_not_count() {
    let lapsed = Plain::granted().record();
    let released =
        Plain { stage: Stage::Released, done: Some(T), keep_until: T + RETENTION, ..Plain::granted() };
    let released = released.record();
    let changes = [
        (&lapsed, T + TTL, complete(HOLDER), T + TTL + RETENTION),
        (&lapsed, T + TTL, Command::Forget { force: false }, T + TTL + RETENTION),
        (
            &lapsed,
            T + TTL,
            Command::Resolve { resolution: Resolution::Released, force: false },
            T + TTL + RETENTION,
        ),
        (&lapsed, T + TTL, acquire(OTHER), T + TTL + RETENTION),
        (&released, T + SEC, acquire(OTHER), T + RETENTION),
    ];
    for (record, decided, command, until) in changes {
        let Decision::Write(change, _) = decide(Some(record), &command, at(decided), KEPT) else {
            panic!("{command:?} changes nothing")
        };
        assert_eq!(change.not_after, Some(at(until)), "{command:?}");
    }
}

/// An abandon that arrived after the lease had lapsed ended the rest of the record's retention.
#[test]
fn p4_a_lapsed_lease_is_not_abandoned_again() {
    let record = Plain::granted().record();
    let Decision::Write(change, _) = decide(Some(&record), &act(HOLDER, HolderCommand::Abandon), at(T), KEPT)
    else {
        unreachable!()
    };
    assert_eq!(change.not_after, Some(at(T + TTL)));
}

#[test]
fn an_outcome_is_stamped_with_the_time_of_its_write() {
    const MS: u64 = 1000;
    let record = Plain::granted().record();
    let stamped = |decided: u64, now: u64| {
        let Decision::Write(change, _) = decide(Some(&record), &complete(HOLDER), at(decided), KEPT) else {
            unreachable!()
        };
        let stamped = change.change(Some(&record)).stamped(at(now))?;
        assert!(stamped.same_write(&change.next) && stamped.is_write(&change.next));
        assert_eq!(stamped.keep_until().saturating_since(stamped.done_at()?), KEPT);
        stamped.done_at()
    };
    // Within a millisecond the record is not copied.
    assert_eq!(stamped(T + SEC, T + SEC + MS - 1), None);
    assert_eq!(stamped(T + SEC, T + SEC + MS), Some(at(T + SEC + MS)));
    // The clock of the decision may have been ahead.
    assert_eq!(stamped(T + SEC, T + SEC - MS), Some(at(T + SEC - MS)));
    // An outcome is never before its grant, and a late one stays late.
    assert_eq!(stamped(T + SEC, T - SEC), Some(at(T)));
    assert_eq!(stamped(T + TTL + SEC, T), Some(at(T + TTL)));
    // Other changes have no such time.
    let extend = act(HOLDER, HolderCommand::Extend { ttl: Duration::from_micros(TTL) });
    let Decision::Write(change, _) = decide(Some(&record), &extend, at(T), KEPT) else { unreachable!() };
    assert_eq!(change.change(Some(&record)).stamped(at(T + SEC)), None);
}

/// A result is identified by the holder's hash. Without one it is identified by its SHA-256, even
/// if the other side gave that explicitly.
#[test]
fn p6_the_same_result_is_recognised_by_the_callers_hash_or_its_sha256() {
    let payload = Payload::new(b"\"paid\"");
    let hex = result_hash(payload.bytes(), None);
    let complete = |bytes: &[u8], word: Option<&str>| {
        act(HOLDER, HolderCommand::Complete(Payload::new(bytes), word.map(Into::into)))
    };
    let granted = written(None, &acquire(HOLDER), at(T));
    /// The first hash, the repeated result and hash, and whether that is the same result.
    type Case<'a> = (Option<&'a str>, &'a [u8], Option<&'a str>, bool);
    let cases: &[Case<'_>] = &[
        (None, b"\"paid\"", None, true),
        (None, b"\"else\"", None, false),
        (None, b"\"paid\"", Some(&hex), true),
        (None, b"\"paid\"", Some("word"), false),
        (Some("word"), b"\"paid\"", Some("word"), true),
        (Some("word"), b"\"else\"", Some("word"), true),
        (Some("word"), b"\"paid\"", Some("other"), false),
        (Some("word"), b"\"paid\"", None, false),
        (Some(&hex), b"\"paid\"", None, true),
        (Some(&hex), b"\"else\"", None, false),
    ];
    for (first, bytes, again, is_same) in cases {
        let done = written(Some(&granted), &complete(b"\"paid\"", *first), at(T + 1));
        match decide(Some(&done), &complete(bytes, *again), at(T + 2), KEPT) {
            Decision::Answer(Answer::Done(ack)) => {
                assert!(*is_same && ack.is_duplicate(), "{first:?}, {again:?}");
            }
            Decision::Refuse(Error::Finished { .. }) => assert!(!is_same, "{first:?}, {again:?}"),
            decision => panic!("{first:?}, {again:?}: {decision:?}"),
        }
    }
}
