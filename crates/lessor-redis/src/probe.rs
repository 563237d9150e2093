//! Tries out every command that a store needs, when a connection is made.
//!
//! A server that grants a lease but carries no script out, or does so not for this user, would show that when the lease is to be completed.

use redis::{Cmd, RedisError, Value, cmd};

use lessor_core::StoreError;

use crate::failure::{Effect, is_denied, judge, kind_of};
use crate::link::Link;
use crate::scripts::SCRIPTS;
use crate::store::{Arg, Args};
use crate::wire::Wire;

/// How long the server keeps what the probe writes, if it does not get as far as to delete it, in ms.
const KEPT_MS: u64 = 60_000;
/// How many names are tried until one is on a certain node of a cluster.
const NAMES: u64 = 100_000;

/// A record comes, changes, is read and goes, under a name that no key has. What the server refuses for other reasons than that it may not or
/// cannot be asked for does not matter here: it may be full, or a replica that one may read from.
pub(crate) async fn probe(
    link: &Link,
    place: &str,
    wire: &mut Wire,
    is_own: impl Fn(&str) -> bool,
) -> Result<(), StoreError> {
    let number = link.next_generation();
    let unique =
        format!("{}:\u{1}{}-{}-{number}", link.settings.prefix, std::process::id(), link.clock.local());
    let Some(name) = (0..NAMES).map(|count| format!("{unique}-{count}")).find(|name| is_own(name)) else {
        return Ok(());
    };
    let steps = steps(&name, link.clock.now().as_micros() / 1_000 + KEPT_MS);
    let commands: Vec<&Cmd> = steps.iter().map(|(_, command)| command).collect();
    let answers = wire.send_all(&commands, || {}).await.map_err(|error| StoreError::Unavailable {
        reason: format!("the connection to {place} failed: {}", kind_of(&error)),
    })?;
    for ((what, _), answer) in steps.iter().zip(answers) {
        if let Some(error) = error_of(answer).filter(is_denied) {
            return Err(judge(&error, link.asked(place, what), Effect::Read).error);
        }
    }
    Ok(())
}

fn error_of(answer: Value) -> Option<RedisError> {
    answer.extract_error().err()
}

/// Each command, and what it is called in an error.
fn steps(name: &str, expires_ms: u64) -> Vec<(&'static str, Cmd)> {
    let about = |verb: &str| {
        let mut command = cmd(verb);
        command.arg(name);
        command
    };
    let mut set = about("SET");
    set.arg("1").arg("NX").arg("GET").arg("PX").arg(KEPT_MS);
    let mut scan = cmd("SCAN");
    scan.arg(0).arg("MATCH").arg(name).arg("COUNT").arg(1);
    let args = |more| Args { name: name.to_owned(), more, is_told: false };
    let swap = |expected: &'static [u8], next: &'static [u8], in_full| {
        let more = vec![Arg::Bytes(expected), Arg::Bytes(next), Arg::Number(expires_ms)];
        args(more).command(&SCRIPTS.swap, Effect::Write, in_full)
    };
    let load = |in_full| args(Vec::new()).command(&SCRIPTS.load, Effect::Read, in_full);
    vec![
        ("SET", set),
        ("GET", about("GET")),
        ("PEXPIRETIME", about("PEXPIRETIME")),
        ("SCAN", scan),
        ("EVAL", swap(b"1", b"2", true)),
        ("EVALSHA", swap(b"2", b"3", false)),
        ("EVAL_RO", load(true)),
        ("EVALSHA_RO", load(false)),
        ("DEL", about("DEL")),
    ]
}
