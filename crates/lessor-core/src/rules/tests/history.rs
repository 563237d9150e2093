//! What records keep of their history. The test kit compares histories with those of its model.

use std::time::Duration;

use crate::data::history::{EndedBy, HistoryKind};
use crate::data::payload::Payload;
use crate::data::record::Record;
use crate::data::view::View;
use crate::rules::policies::OnLapsed;
use crate::rules::{Acquire, Command, Decision, HolderCommand, Keep, Resolution, decide};

use super::plain::{RETENTION, SEC, T, TTL, at, id};

/// A record, and the time.
struct Story {
    record: Option<Record>,
    now: u64,
    most: u8,
}

impl Story {
    fn new(most: u8) -> Self {
        Self { record: None, now: T, most }
    }

    /// Decides the command a second later.
    #[track_caller]
    fn then(mut self, command: &Command) -> Self {
        self.now += SEC;
        let keep = Keep::new(Duration::from_micros(RETENTION), self.most);
        let Decision::Write(write, _) = decide(self.record.as_ref(), command, at(self.now), keep) else {
            panic!("{command:?} writes nothing")
        };
        // As a store of bytes returns it.
        let decoded = Record::decode(&write.next.encode()).unwrap();
        assert!(decoded == write.next, "{decoded:?}");
        self.record = Some(write.next);
        self
    }

    fn grant(self, asker: u8, holder: &str) -> Self {
        let acquire = Acquire::new(id(asker), Duration::from_micros(TTL)).with(|options| {
            options.holder = Some(holder.into());
            options.on_lapsed = OnLapsed::Reconcile;
        });
        self.then(&Command::Acquire(acquire))
    }

    fn bare_grant(self, asker: u8) -> Self {
        self.then(&Command::Acquire(Acquire::new(id(asker), Duration::from_micros(TTL))))
    }

    fn act(self, asker: u8, act: HolderCommand) -> Self {
        self.then(&Command::Holder(id(asker), act))
    }

    fn renew(self, asker: u8) -> Self {
        self.act(asker, HolderCommand::Extend { ttl: Duration::from_micros(TTL) })
    }

    fn wait(self, micros: u64) -> Self {
        Self { now: self.now + micros, ..self }
    }

    fn record(&self) -> &Record {
        self.record.as_ref().unwrap()
    }

    fn view(&self) -> View {
        View::of(self.record(), at(self.now)).unwrap()
    }

    fn kinds(&self) -> Vec<(u32, HistoryKind)> {
        self.view().history().iter().map(|entry| (entry.attempt(), entry.kind())).collect()
    }
}

fn complete() -> HolderCommand {
    HolderCommand::Complete(Payload::new(b"paid"), None)
}

#[test]
fn a_record_that_was_granted_once_stores_no_history() {
    for end in [complete(), HolderCommand::Release] {
        let story = Story::new(16).bare_grant(1);
        assert!(story.record().body().attributes.is_none());
        assert_eq!(story.kinds(), [(1, HistoryKind::Granted)]);
        let story = story.act(1, end);
        assert!(story.record().body().attributes.is_none() && story.record().body().trace().is_none());
        assert_eq!(story.view().history().len(), 2);
    }
}

/// Attributes are an allocation.
#[test]
fn renewals_abandonment_and_a_takeover_need_no_attributes() {
    let story = Story::new(16).bare_grant(1).act(1, HolderCommand::Abandon).bare_grant(2).renew(2).renew(2);
    assert!(story.record().body().attributes.is_none());
    let kinds = [HistoryKind::Granted, HistoryKind::Abandoned, HistoryKind::Granted, HistoryKind::Renewed];
    assert_eq!(story.kinds(), [1, 1, 2, 2].into_iter().zip(kinds).collect::<Vec<_>>());
    let entries = story.view().history();
    let renewed = entries.last().unwrap();
    let left = Duration::from_micros(TTL - SEC);
    assert_eq!((renewed.count(), renewed.least_ttl_left(), renewed.at()), (2, Some(left), at(story.now)));
    // A result takes the place of the trace.
    let story = story.act(2, complete());
    assert_eq!(story.kinds().len(), 5);
    assert_eq!(story.view().result_bytes(), Some(&b"paid"[..]));
}

#[test]
fn an_entry_says_by_whom_a_grant_was_ended() {
    let resolve = |force| Command::Resolve { resolution: Resolution::Released, force };
    let story =
        Story::new(16).grant(1, "a").then(&resolve(true)).grant(2, "b").wait(TTL).then(&resolve(false));
    let story = story.grant(3, "c").act(3, HolderCommand::Release);
    let entries = story.view().history();
    let ends: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind() == HistoryKind::Released)
        .map(|entry| (entry.holder().unwrap(), entry.by()))
        .collect();
    assert_eq!(ends, [("a", EndedBy::OperatorByForce), ("b", EndedBy::Operator), ("c", EndedBy::Holder)]);
}

#[test]
fn a_history_has_at_most_its_number_of_entries_and_the_oldest_drop_out_first() {
    for most in 0..=64 {
        let mut story = Story::new(most);
        for attempt in 1..=40 {
            let asker = if attempt % 2 == 0 { 2 } else { 1 };
            story = story.grant(asker, "worker");
            if attempt % 3 == 0 {
                story = story.renew(asker);
            }
            if attempt % 4 == 0 {
                story = story.act(asker, HolderCommand::Checkpoint(Payload::new(b"7")));
            }
            story = match attempt % 5 {
                0 => story.act(asker, HolderCommand::Doubt),
                1 => story.act(asker, HolderCommand::Abandon),
                2 => story.act(asker, HolderCommand::Release),
                _ => story.wait(2 * TTL),
            };
            let entries = story.view().history();
            // The last grant is always shown.
            assert!(entries.len() <= usize::from(most).max(5), "{most}: {entries:?}");
            let attempts: Vec<u32> = entries.iter().map(|entry| entry.attempt()).collect();
            let oldest = attempts.first().copied().unwrap();
            assert!(attempts.is_sorted() && attempts.last() == Some(&attempt));
            assert!((oldest..=attempt).all(|each| attempts.contains(&each)), "{attempts:?} has a gap");
            assert!(entries.first().is_some_and(|entry| entry.kind() == HistoryKind::Granted));
            if most >= 16 && attempt >= 4 {
                assert!(oldest <= attempt - 2, "{most}: only {attempts:?}");
            }
        }
        let stored = story.record().body().trace().is_some() || !story.record().body().past().is_empty();
        assert_eq!(stored, most > 0, "{most}");
    }
}

#[test]
fn a_label_of_an_earlier_grant_is_cut_between_characters() {
    let label = format!("x{}", "é".repeat(100));
    let story = Story::new(16).grant(1, &label).renew(1).act(1, HolderCommand::Release).grant(2, "b");
    let story = story.act(2, HolderCommand::Release).grant(1, "c");
    let entries = story.view().history();
    let cut = format!("x{}", "é".repeat(31));
    assert_eq!(entries.first().unwrap().holder(), Some(&*cut));
}

#[test]
fn a_forgotten_key_has_no_history() {
    let story = Story::new(16).grant(1, "a").renew(1).then(&Command::Forget { force: true });
    assert!(story.record().body().trace().is_none() && story.record().body().past().is_empty());
    assert_eq!(story.bare_grant(2).kinds(), [(1, HistoryKind::Granted)]);
}

/// Returns the bytes with the tag of the history replaced. It is the only skippable field.
fn retagged(record: &Record, from: u8, to: u8) -> Record {
    let mut bytes = record.encode();
    let content =
        crate::data::past::encode(record.body().trace(), record.body().past(), record.first_seen_at());
    let content =
        content.unwrap_or_else(|| record.body().attributes().of_record.as_deref().unwrap()[2..].to_vec());
    let place = bytes.windows(content.len()).position(|window| window == content).unwrap();
    assert_eq!(bytes[place - 2], from);
    bytes[place - 2] = to;
    Record::decode(&bytes).unwrap()
}

/// An older release keeps the field and does not know it.
#[test]
fn a_history_stays_readable_after_an_older_release_has_changed_the_record() {
    let story = Story::new(16).bare_grant(1).renew(1).act(1, HolderCommand::Release).bare_grant(2).renew(2);
    let before = story.kinds().len();
    let unknown = retagged(story.record(), 1, 9);
    assert!(unknown.body().trace().is_none());
    let old = Story { record: Some(unknown), most: 0, ..story };
    let old = old.renew(2).act(2, HolderCommand::Release).bare_grant(3);
    let new = Story { record: Some(retagged(old.record(), 9, 1)), most: 16, ..old };
    // The first grant is known, and the renewals of the second are not shown for the third.
    assert_eq!(new.kinds().last(), Some(&(3, HistoryKind::Granted)));
    assert!(new.kinds().len() < before && new.kinds()[0] == (1, HistoryKind::Granted));
    let new = new.renew(3).act(3, HolderCommand::Release).bare_grant(4);
    assert_eq!(new.kinds().iter().filter(|(attempt, _)| *attempt == 3).count(), 3);
}

/// The design document states these numbers.
#[test]
fn a_history_takes_few_bytes() {
    let size = |story: &Story| {
        let bytes = story.record().encode().len();
        let mut bare = story.record().clone();
        bare.body_mut().set_history(None, Box::default());
        if story.record().result_len().is_none() {
            bare.body_mut().inline = crate::data::inline::Inline::none();
        }
        bytes - bare.encode().len()
    };
    let once = Story::new(16).grant(1, "host-1:worker-1").act(1, complete());
    let renewed = Story::new(16).grant(1, "host-1:worker-1").wait(30 * SEC).renew(1).wait(30 * SEC).renew(1);
    let taken_over = Story::new(16).grant(1, "host-1:worker-1").wait(TTL).grant(2, "host-2:worker-7");
    let mut full = Story::new(16);
    for attempt in 1..=20_u8 {
        let holder = format!("host-{attempt}:worker-7");
        full = full.grant(attempt, &holder).wait(30 * SEC).renew(attempt).wait(2 * TTL);
    }
    let sizes = [&once, &renewed, &taken_over, &full].map(size);
    println!("{sizes:?} bytes, {} entries", full.kinds().len());
    assert!(sizes.into_iter().zip([0, 20, 20, 160]).all(|(size, most)| size <= most), "{sizes:?}");
}
