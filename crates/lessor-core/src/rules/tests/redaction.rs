//! P11 for types that only the engine can create. `tests/redaction.rs` tests the others.

use std::time::Duration;

use crate::data::failure::Failure;
use crate::data::lease_id::LeaseId;
use crate::data::payload::Payload;
use crate::data::record::Record;
use crate::data::view::View;
use crate::rules::policies::OnLapsed;
use crate::rules::{Acquire, Command, HolderCommand, Resolution, decide};

use super::plain::{T, TTL, at};

#[path = "../../../tests/secrets/mod.rs"]
mod secrets;
use secrets::{CHECKPOINT, DETAIL, LEASE_ID, Looks, METADATA, OTHER_LEASE_ID, RESULT};

#[test]
fn p11_no_command_decision_or_answer_shows_a_secret() {
    let looks = Looks::default();
    let result = || Payload::new(RESULT.as_bytes());
    let failure = || Failure::new("declined", Some(DETAIL));
    let id = LeaseId::from_bytes;
    let acquire = |lease_id| {
        Command::Acquire(Acquire::new(id(lease_id), Duration::from_micros(TTL)).with(|options| {
            options.holder = Some("worker-1".into());
            options.metadata = Some(format!("{{\"a\":\"{METADATA}\"}}").into());
            options.on_lapsed = OnLapsed::InDoubt;
        }))
    };
    let act = |act| Command::Holder(id(LEASE_ID), act);
    let firsts = [
        act(HolderCommand::Checkpoint(Payload::new(CHECKPOINT.as_bytes()))),
        act(HolderCommand::Complete(result(), None)),
        act(HolderCommand::Fail(failure())),
        act(HolderCommand::Release),
        act(HolderCommand::Abandon),
        act(HolderCommand::Unused),
        Command::Forget { force: true },
        Command::Resolve { resolution: Resolution::Completed(result(), None), force: false },
        Command::Resolve { resolution: Resolution::Failed(failure()), force: true },
    ];
    let play = |record: Option<&Record>, command: &Command, now| {
        looks.at("Command", command);
        let decision = decide(record, command, at(now), Duration::from_secs(60));
        looks.at("Decision", &decision);
        match decision {
            super::super::Decision::Write(change, answer) => {
                looks.at("Answer", &answer);
                looks.at("ConditionalWrite", &change);
                looks.at("Record", &change.next);
                looks.at("View", &View::of(&change.next, at(now)));
                Some(change.next)
            }
            _ => None,
        }
    };
    let granted = play(None, &acquire(LEASE_ID), T).unwrap();
    for now in [T + 1, T + TTL] {
        for first in &firsts {
            let next = play(Some(&granted), first, now);
            for second in firsts.iter().chain(&[acquire(LEASE_ID), acquire(OTHER_LEASE_ID)]) {
                play(next.as_ref().or(Some(&granted)), second, now);
            }
        }
    }
    println!("{} values looked at", looks.count());
}
