use std::collections::BTreeMap;
use std::time::Duration;

use crate::data::record::{Record, Stage};
use crate::data::state::State;
use crate::data::view::View;
use crate::rules::{self, Answer, Decision, Keep, decide};

use super::cases::{Ask, asks, instants, records};
use super::expect::{Expected, Told, Write, clamp, column, expected};
use super::plain::{NOBODY, Plain, RETENTION, at, id, sha256_hex};

/// Compares every state × every operation × own, other or no lease id × before, at and after every
/// change × every policy × every fingerprint with the contract's table.
#[test]
fn the_rules_agree_with_the_contracts_table() {
    let mut cases = 0_u64;
    let mut cells = BTreeMap::<_, u64>::new();
    let asks: Vec<_> = asks().into_iter().map(|ask| (ask, ask.command())).collect();
    for plain in records() {
        let record = plain.as_ref().map(Plain::record);
        let before = record.as_ref().map(Record::encode);
        for reading in instants(plain.as_ref()) {
            let now = clamp(plain.as_ref(), reading);
            for (ask, command) in &asks {
                let expected = expected(plain.as_ref(), ask, now);
                let case = Case { plain: plain.as_ref(), record: record.as_ref(), ask, reading, now };
                match command {
                    None => case.check_look(&expected),
                    Some(command) => {
                        // `history` tests what is kept of the history.
                        let keep = Keep::new(Duration::from_micros(RETENTION), 0);
                        let decision = decide(record.as_ref(), command, at(reading), keep);
                        case.check(decision, &expected);
                    }
                }
                assert_eq!(before, record.as_ref().map(Record::encode), "the record itself changed");
                cases += 1;
                *cells.entry((ask.row(), column(plain.as_ref(), ask.id, now))).or_default() += 1;
            }
        }
    }
    for ((row, column), count) in &cells {
        println!("{count:>6}  {row:?} × {column:?}");
    }
    println!("{cases} cases in {} cells", cells.len());
    // Twelve rows with seven columns. An operator has no lease id, so its two live columns are one.
    assert_eq!(cells.len(), 9 * 7 + 3 * 6);
}

struct Case<'a> {
    plain: Option<&'a Plain>,
    record: Option<&'a Record>,
    ask: &'a Ask,
    reading: u64,
    now: u64,
}

impl Case<'_> {
    fn check(&self, decision: Decision, expected: &Expected) {
        let wrong = |decision: &dyn std::fmt::Debug| -> ! {
            panic!(
                "{:?}\nof {:?}\nat {}\nis {decision:?}\nnot {expected:?}",
                self.ask, self.plain, self.reading
            )
        };
        let answer = match (decision, &expected.write, &expected.told) {
            (Decision::Refuse(error), None, Told::Refused(refused)) => {
                if format!("{error:?}") != format!("{refused:?}") {
                    wrong(&error);
                }
                return;
            }
            (Decision::Answer(answer), None, _) => answer,
            (Decision::Write(change, answer), Some(write), _) => {
                if let Err(differs) = self.check_write(&change, write) {
                    wrong(&(differs, change));
                }
                answer
            }
            (decision, ..) => wrong(&decision),
        };
        if let Err(differs) = self.check_answer(&answer, expected) {
            wrong(&(differs, answer));
        }
    }

    fn check_write(&self, change: &rules::Write, write: &Write) -> Result<(), String> {
        must("not_before", change.not_before == write.not_before.map(at))?;
        must("not_after", change.not_after == write.not_after.map(at))?;
        must("is_outcome", change.is_outcome == write.is_outcome)?;
        // A write that was decided at a time that the store would reject could never be made.
        must("due when decided", change.change(self.record).in_window(at(self.now)))?;
        let (next, wanted) = (change.next.encode(), write.next.bytes());
        must(&format!("writes\n{next:02x?}\nnot\n{wanted:02x?}\n"), next == wanted)
    }

    fn check_answer(&self, answer: &Answer, expected: &Expected) -> Result<(), String> {
        let after = expected.write.as_ref().map(|write| &write.next).or(self.plain);
        match (answer, &expected.told) {
            (Answer::Granted, Told::Acquired { resent: false }) => {
                must("a grant is written", expected.write.is_some())
            }
            (Answer::Resent(record), Told::Acquired { resent: true }) => {
                must("nothing is written", expected.write.is_none())?;
                must("the grant", record.encode() == after.unwrap().bytes())?;
                must("P11: the asker's own lease id", record.is_held_by(&id(self.ask.id)))
            }
            (Answer::InProgress(view), Told::Shown(state @ State::InProgress, retry))
            | (Answer::InDoubt(view), Told::Shown(state @ State::Lapsed, retry))
            | (Answer::Completed(view), Told::Shown(state @ State::Completed, retry))
            | (Answer::Failed(view), Told::Shown(state @ State::Failed, retry)) => {
                self.check_view(view, *state, *retry)
            }
            (Answer::Done(ack), Told::Done { late, repeated }) => {
                let after = after.unwrap();
                must("late", ack.is_late() == *late)?;
                must("repeated", ack.is_duplicate() == *repeated)?;
                must("version", ack.version().as_u64() == after.version)?;
                must("expires_at", ack.expires_at() == at(after.expires))
            }
            (Answer::Forgotten(was), Told::Forgotten(wanted)) => must("forgotten", was == wanted),
            _ => Err("another answer".to_owned()),
        }
    }

    fn check_look(&self, expected: &Expected) {
        let view = self.record.and_then(|record| View::of(record, at(self.reading)));
        let differs = match (&view, &expected.told) {
            (None, Told::Nothing) => Ok(()),
            (Some(view), Told::Shown(state, retry)) => self.check_view(view, *state, *retry),
            _ => Err("there or not there".to_owned()),
        };
        assert_eq!(differs, Ok(()), "{view:?} of {:?} at {}\nnot {expected:?}", self.plain, self.reading);
    }

    fn check_view(&self, view: &View, state: State, retry_after: Option<u64>) -> Result<(), String> {
        let plain = self.plain.unwrap();
        let live = plain.stage == Stage::InProgress && self.now < plain.expires;
        let ttl_left = live.then(|| Duration::from_micros(plain.expires - self.now));
        let hash = plain.result.map(|result| plain.word.map_or_else(|| sha256_hex(result), str::to_owned));
        must("state", view.state() == state)?;
        must("version", view.version().as_u64() == plain.version)?;
        must("in_doubt", view.is_in_doubt() == plain.in_doubt)?;
        must("attempt", u64::from(view.attempt()) == plain.attempt)?;
        must("ttl_left", view.ttl_left() == ttl_left)?;
        must("retry_after", view.retry_after() == retry_after.map(Duration::from_micros))?;
        must("first_seen_at", view.first_seen_at() == at(plain.first_seen))?;
        // The time of a release is stored, but a release is not an outcome.
        let done = plain.done.filter(|_| plain.stage != Stage::Released);
        must("done_at", view.done_at() == done.map(at))?;
        must("result", view.result_bytes() == plain.result.map(str::as_bytes))?;
        must("result_hash", view.result_hash() == hash)?;
        must("error_code", view.error_code() == plain.code)?;
        must("error_detail", view.error_detail() == plain.detail)?;
        must("holder", view.holder() == plain.holder)?;
        must("metadata", view.metadata_json() == plain.metadata)?;
        let shown = serde_json::to_string(view).unwrap();
        let secret = format!("{:02x}", plain.id).repeat(16);
        must("P11: no lease id", plain.id == NOBODY || !shown.contains(&secret))
    }
}

fn must(what: &str, holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
