//! Reports events to `tracing`.

use std::fmt;

use tracing::field::{DisplayValue, Empty, display};
use tracing::{Level, Span, event, info_span};

use super::event::Event;
use crate::data::hash::sha256;
use crate::data::namespace::split;
use crate::data::record::GrantEnd;
use crate::rules::settings::KeysInLogs;

/// Reports an event. The macro does not accept a level that is known only at run time, so each arm
/// has the level of [`Event::level`].
#[cold]
pub(super) fn report(event: &Event<'_>, keys: KeysInLogs) {
    macro_rules! say {
        ($level:ident, $key:expr, $($rest:tt)*) => {
            event!(
                target: "lessor",
                Level::$level,
                lessor.namespace = namespace($key.text(), keys),
                lessor.key = shown($key.text(), keys),
                $($rest)*
            )
        };
    }
    match event {
        Event::Granted { key, token, attempt, after } => {
            let (token, attempt) = (token.as_u64(), *attempt);
            match after {
                Some(GrantEnd::Lapsed) => {
                    say!(
                        INFO,
                        key,
                        lessor.token = token,
                        lessor.attempt = attempt,
                        "a lapsed lease is taken over"
                    );
                }
                _ => say!(DEBUG, key, lessor.token = token, lessor.attempt = attempt, "a lease is granted"),
            }
        }
        Event::GrantRepeated { key, token } => {
            say!(DEBUG, key, lessor.token = token.as_u64(), "an earlier grant is returned again");
        }
        Event::Answered { key, answer, in_doubt } => {
            let state = if *in_doubt { "in_doubt" } else { answer.as_str() };
            say!(TRACE, key, state, "no lease is granted");
        }
        Event::NotAcquired { key, error } => say!(DEBUG, key, %error, "an acquire is refused"),
        Event::Ended { key, outcome, late } => {
            let outcome = outcome.as_str();
            match late {
                true => say!(INFO, key, outcome, "an outcome is stored after its lease has lapsed"),
                false => say!(DEBUG, key, outcome, "a lease has ended"),
            }
        }
        Event::Renewed { key, margin, .. } => {
            let margin = margin.as_secs_f64();
            match event.is_near_miss() {
                true => say!(WARN, key, margin, "a lease is renewed shortly before its holder has to stop"),
                false => say!(TRACE, key, margin, "a lease is renewed"),
            }
        }
        Event::NotRenewed { key, error } => {
            say!(WARN, key, %error, "a lease could not be renewed; the engine will retry");
        }
        Event::Stalled { key } => {
            say!(WARN, key, "a lease is not renewed, because its work has stopped making progress");
        }
        Event::Lost { key, token, reason } => {
            say!(WARN, key, lessor.token = token.map(|token| token.as_u64()), reason, "a lease is lost");
        }
        Event::Stale { key, current } => {
            say!(
                WARN,
                key,
                lessor.token = current.as_u64(),
                "an operation of a superseded holder is refused"
            );
        }
        Event::NotChecked { key, error } => {
            say!(DEBUG, key, %error, "the record of a held lease could not be read");
        }
        Event::NotAbandoned { key, error } => {
            say!(WARN, key, %error, "a dropped lease could not be abandoned; it lapses at the end of its ttl");
        }
        Event::NotStored { key, what, error } => say!(WARN, key, %error, "{what} could not be stored"),
        Event::InvalidCode { key, error } => {
            say!(WARN, key, %error, "the code of a failure class is invalid, and \"error\" replaces it");
        }
        Event::Operated { key, action, forced } => {
            say!(INFO, key, outcome = action.as_str(), forced, "an operator has decided on a key");
        }
        Event::Purged { records } => {
            event!(target: "lessor", Level::DEBUG, records, "records are removed after their retention");
        }
        Event::NotSurveyed { error } => {
            event!(target: "lessor", Level::WARN, %error, "the store could not be surveyed; the engine will retry");
        }
        Event::NotPurged { error } => {
            event!(target: "lessor", Level::WARN, %error, "the store could not be purged; the engine will retry");
        }
    }
}

/// Returns the span of a call of `once`.
pub(super) fn once_span(key: &str, keys: KeysInLogs) -> Span {
    info_span!(
        target: "lessor",
        "lessor.once",
        lessor.namespace = namespace(key, keys),
        lessor.key = shown(key, keys),
        lessor.attempt = Empty,
        lessor.token = Empty,
        outcome = Empty,
        error.type = Empty,
    )
}

/// A key or a namespace as the settings allow it to be shown.
struct Shown<'a>(&'a str, KeysInLogs);

/// Returns the value of the field `lessor.key`, which is the key without its namespace.
fn shown(key: &str, keys: KeysInLogs) -> Option<DisplayValue<Shown<'_>>> {
    field(split(key).1, keys)
}

/// Returns the value of the field `lessor.namespace`, or `None` if the key has no namespace.
fn namespace(key: &str, keys: KeysInLogs) -> Option<DisplayValue<Shown<'_>>> {
    split(key).0.and_then(|namespace| field(namespace, keys))
}

/// Returns the value of a field, or `None` if keys are omitted.
fn field(text: &str, keys: KeysInLogs) -> Option<DisplayValue<Shown<'_>>> {
    (keys != KeysInLogs::Omitted).then(|| display(Shown(text, keys)))
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            KeysInLogs::Plain => f.write_str(self.0),
            KeysInLogs::Hashed => {
                sha256(self.0.as_bytes()).iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            KeysInLogs::Omitted => Ok(()),
        }
    }
}
