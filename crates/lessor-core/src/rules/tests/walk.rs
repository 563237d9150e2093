//! Random sequences of commands with random clock readings, on a minimal store that keeps the
//! contract.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::data::failure::Failure;
use crate::data::payload::Payload;
use crate::data::record::{Record, Stage};
use crate::data::time::Timestamp;
use crate::data::view::View;
use crate::rules::policies::{Backoff, OnFailed, OnLapsed};
use crate::rules::{Acquire, Answer, Command, Decision, HolderCommand, Resolution, decide};

use super::plain::{RETENTION, SEC, T, fingerprint, id};

const KEPT: Duration = Duration::from_micros(RETENTION);

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The step of the store's clock before the command.
    forward: Move,
    /// The difference of the command's reading of the clock.
    reading: Reading,
    command: Command,
}

#[derive(Clone, Debug)]
enum Move {
    By(u64),
    /// To a time at which the record changes, plus this number of microseconds.
    ToExpiry(u64),
    ToEndOfRetention(u64),
    ToPurge(u64),
}

#[derive(Clone, Debug)]
enum Reading {
    True,
    Late(u64),
    Ahead(u64),
    Anything(u64),
}

/// Performs `steps` on one key. Returns the stored records in order.
pub(crate) fn play(steps: &[Step]) -> Vec<Record> {
    let mut clock = T;
    let mut stored: Option<Record> = None;
    let mut highest = None;
    let mut highest_purged = None;
    let mut history = vec![];
    for step in steps {
        clock = step.forward.from(clock, stored.as_ref());
        let now = time(clock);
        if let Some(purged) = stored.take_if(|record| record.purge_at() <= now) {
            assert!(View::of(&purged, now).is_none(), "P3: purged within retention");
            highest_purged = highest_purged.max(Some(purged.token()));
        }

        let reading = step.reading.of(clock);
        let before = stored.as_ref().map(Record::encode);
        let decision = decide(stored.as_ref(), &step.command, reading, KEPT);
        assert_eq!(before, stored.as_ref().map(Record::encode), "P4");
        let Decision::Write(write, answer) = decision else { continue };
        // Reason for the second condition: a caller read the clock and was suspended while another
        // grant was made, finished and purged. Its own grant, with the old reading, got a lower
        // token.
        let change = write.change(stored.as_ref());
        if !change.in_window(now) || !change.is_above_floor(highest_purged) {
            continue;
        }
        let next = write.next;
        if stored.as_ref().is_none_or(|record| record.token() != next.token()) {
            assert!(highest.is_none_or(|highest| next.token() > highest), "P2");
            highest = Some(next.token());
        }
        check(stored.as_ref(), &next, step, now);
        check_repeat(&next, step, &answer, reading);
        history.push(next.clone());
        stored = Some(next);
    }
    history
}

/// Checks a record against its predecessor.
fn check(before: Option<&Record>, next: &Record, step: &Step, now: Timestamp) {
    let case = format!("{before:?} → {next:?} by {:?} at {now:?}", step.command);
    let kept = before.and_then(|before| Some((before, View::of(before, now)?)));
    let Some((before, view)) = kept else {
        assert_eq!((next.version().as_u64(), next.attempt()), (1, 1), "P10: {case}");
        assert!(before.is_none_or(|before| next.token() > before.token()), "P2: {case}");
        return;
    };
    assert_eq!(next.version().as_u64(), before.version().as_u64() + 1, "P10: {case}");
    if next.stage() == Stage::Forgotten {
        assert!(matches!(step.command, Command::Forget { .. }), "{case}");
        assert_eq!(next.token(), before.token(), "P2: {case}");
        assert!(View::of(next, now).is_none(), "{case}");
        return;
    }
    let granted = matches!(step.command, Command::Acquire(_));
    if granted {
        assert!(next.token() > before.token(), "P2: {case}");
        assert_eq!(next.attempt(), before.attempt() + 1, "{case}");
        assert!(view.ttl_left().is_none(), "P1: {case}");
    } else {
        assert_eq!((next.token(), next.attempt()), (before.token(), before.attempt()), "{case}");
    }
    match before.stage() {
        Stage::Completed => panic!("P3: {case}"),
        Stage::Failed => {
            let Command::Acquire(request) = &step.command else { panic!("P3: {case}") };
            let by_policy = match request.options().on_failed {
                OnFailed::Retry { max_attempts, .. } => before.attempt() < max_attempts,
                OnFailed::Replay => false,
            };
            let by_holder = before.body().retry_at().is_some_and(|at| at <= now);
            assert!(by_policy || by_holder, "P3: {case}");
        }
        Stage::InProgress if view.ttl_left().is_none() && !granted => {
            let revived = View::of(next, now).is_some_and(|view| view.ttl_left().is_some());
            assert!(!revived, "what observers saw end came back: {case}");
        }
        Stage::InProgress if granted && view.is_in_doubt() => {
            let Command::Acquire(request) = &step.command else { panic!("{case}") };
            assert_eq!(request.options().on_lapsed, OnLapsed::Reconcile, "taken over in doubt: {case}");
        }
        _ => {}
    }
    let (was, is) = (before.body().attributes().fingerprint, next.body().attributes().fingerprint);
    assert!(was.is_none() || was == is, "the fingerprint was lost: {case}");
}

/// P6: repeats the command, as after a lost reply.
fn check_repeat(next: &Record, step: &Step, answer: &Answer, reading: Timestamp) {
    if reading.checked_add(KEPT).is_none() {
        // At the last timestamp no record can be kept.
        return;
    }
    let again = decide(Some(next), &step.command, reading, KEPT);
    let holds = match (&step.command, answer, &again) {
        // A lapsed lease is not returned again, and an id is not granted twice.
        (Command::Acquire(_), Answer::Granted, Decision::Answer(Answer::Resent(resent))) => *next == **resent,
        (Command::Holder(_, HolderCommand::Extend { .. } | HolderCommand::Checkpoint(_)), ..) => true,
        (Command::Holder(..), Answer::Done(_), Decision::Answer(Answer::Done(ack))) => {
            ack.is_duplicate() && ack.version() == next.version()
        }
        (Command::Resolve { .. }, _, Decision::Refuse(_)) => true,
        (Command::Forget { .. }, _, Decision::Answer(Answer::Forgotten(was))) => !was,
        _ => false,
    };
    assert!(holds, "P6: {:?} again of {next:?}: {again:?}", step.command);
}

impl Move {
    fn from(&self, clock: u64, record: Option<&Record>) -> u64 {
        let to = |at: Option<Timestamp>, further: &u64| at.map_or(0, Timestamp::as_micros) + further;
        let target = match self {
            Self::By(micros) => clock + micros,
            Self::ToExpiry(further) => to(record.map(Record::expires_at), further),
            Self::ToEndOfRetention(further) => to(record.map(|record| record.body().keep_until), further),
            Self::ToPurge(further) => to(record.map(Record::purge_at), further),
        };
        target.clamp(clock, Timestamp::MAX.as_micros())
    }
}

impl Reading {
    fn of(&self, clock: u64) -> Timestamp {
        time(match *self {
            Self::True => clock,
            Self::Late(by) => clock.saturating_sub(by),
            Self::Ahead(by) => clock + by,
            Self::Anything(micros) => micros,
        })
    }
}

fn time(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX)
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    (forward(), reading(), command()).prop_map(|(forward, reading, command)| Step {
        forward,
        reading,
        command,
    })
}

fn forward() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => prop_oneof![Just(0), Just(1), 0..SEC, 0..100 * SEC].prop_map(Move::By),
        1 => (0..=1_u64 << 53).prop_map(Move::By),
        2 => (0..3_u64).prop_map(Move::ToExpiry),
        1 => (0..3_u64).prop_map(Move::ToEndOfRetention),
        1 => (0..3_u64).prop_map(Move::ToPurge),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        4 => Just(Reading::True),
        2 => prop_oneof![0..5_u64, 0..100 * SEC].prop_map(Reading::Late),
        2 => prop_oneof![0..5_u64, 0..100 * SEC].prop_map(Reading::Ahead),
        1 => (0..=Timestamp::MAX.as_micros()).prop_map(Reading::Anything),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let asker = || (1..5_u8).prop_map(id);
    prop_oneof![
        6 => acquire(),
        8 => (asker(), act()).prop_map(|(asker, act)| Command::Holder(asker, act)),
        1 => any::<bool>().prop_map(|force| Command::Forget { force }),
        1 => (resolution(), any::<bool>())
            .prop_map(|(resolution, force)| Command::Resolve { resolution, force }),
    ]
}

fn resolution() -> impl Strategy<Value = Resolution> {
    prop_oneof![
        (payload(), option::of(text())).prop_map(|(result, word)| Resolution::Completed(result, word)),
        failure().prop_map(Resolution::Failed),
        Just(Resolution::Released),
    ]
}

fn acquire() -> impl Strategy<Value = Command> {
    let waits = (duration(), duration());
    let backoff =
        prop_oneof![Just(Backoff::NONE), waits.prop_map(|(first, most)| Backoff::exponential(first, most)),];
    let on_failed = prop_oneof![
        Just(OnFailed::Replay),
        (prop_oneof![0..6_u32, any::<u32>()], backoff)
            .prop_map(|(max_attempts, backoff)| OnFailed::Retry { max_attempts, backoff }),
    ];
    let on_lapsed = prop_oneof![
        3 => Just(OnLapsed::TakeOver),
        1 => Just(OnLapsed::InDoubt),
        1 => Just(OnLapsed::Reconcile),
    ];
    let asked = prop_oneof![8 => Just(None), 1 => Just(Some(1)), 1 => Just(Some(2))];
    let labels = (option::of(text()), option::of(Just(r#"{"n":1}"#.into())));
    (1..5_u8, duration(), labels, asked, on_failed, on_lapsed).prop_map(
        |(asker, ttl, (holder, metadata), asked, on_failed, on_lapsed)| {
            Command::Acquire(Acquire::new(id(asker), ttl).with(|options| {
                options.holder = holder;
                options.metadata = metadata;
                options.fingerprint = asked.map(fingerprint);
                options.on_failed = on_failed;
                options.on_lapsed = on_lapsed;
            }))
        },
    )
}

fn act() -> impl Strategy<Value = HolderCommand> {
    prop_oneof![
        3 => duration().prop_map(|ttl| HolderCommand::Extend { ttl }),
        2 => payload().prop_map(HolderCommand::Checkpoint),
        2 => (payload(), option::of(text())).prop_map(|(result, word)| HolderCommand::Complete(result, word)),
        2 => failure().prop_map(HolderCommand::Fail),
        1 => Just(HolderCommand::Release),
        1 => Just(HolderCommand::Abandon),
        1 => Just(HolderCommand::Unused),
        1 => Just(HolderCommand::Doubt),
    ]
}

/// Generates durations that the engine accepts, and others.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (1000..100 * SEC).prop_map(Duration::from_micros),
        1 => (1..2000_u64).prop_map(Duration::from_nanos),
        1 => Just(Duration::MAX),
    ]
}

fn payload() -> impl Strategy<Value = Payload> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| Payload::new(&bytes))
}

fn failure() -> impl Strategy<Value = Failure> {
    let retry_after = prop_oneof![3 => Just(None), 1 => duration().prop_map(Some)];
    ("[ab]", option::of(text()), retry_after).prop_map(|(code, detail, retry_after)| {
        let failure = Failure::new(&code, detail.as_deref());
        retry_after.into_iter().fold(failure, Failure::retry_after)
    })
}

fn text() -> impl Strategy<Value = Box<str>> {
    ".{0,8}".prop_map(Into::into)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn p12_no_sequence_of_commands_at_any_time_breaks_p1_p2_p3_p4_p6_or_p10(steps in steps()) {
        play(&steps);
    }
}
