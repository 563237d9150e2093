//! Calls of scripts, and their replies.

use lessor_core::Timestamp;
use redis::{Cmd, Value};

use super::errors::Effect;
use super::scripts::Script;
use super::values::parse_time;

/// The status of a script that did what it was called for.
pub(crate) const DONE: i64 = 0;
/// The status of a script that found another record than the expected one.
pub(crate) const CONFLICT: i64 = 1;
/// The expiry time of a record that never expires.
pub(crate) const NO_EXPIRY: i64 = -1;

pub(crate) enum ScriptArg<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

/// The key and the arguments of a script.
pub(crate) struct ScriptCall<'a> {
    pub(crate) name: String,
    pub(crate) args: Vec<ScriptArg<'a>>,
    /// True if the server is to report the next change to the key.
    pub(crate) tracking: bool,
}

impl ScriptCall<'_> {
    /// Encodes the call: by the script's hash, or with its full text.
    pub(crate) fn command(&self, script: &Script, effect: Effect, in_full: bool) -> Cmd {
        let verb = match (in_full, effect) {
            (false, Effect::Write) => "EVALSHA",
            (false, Effect::Read) => "EVALSHA_RO",
            (true, Effect::Write) => "EVAL",
            (true, Effect::Read) => "EVAL_RO",
        };
        let script = if in_full { script.code } else { &*script.hash };
        let length = |arg: &ScriptArg<'_>| match arg {
            ScriptArg::Bytes(bytes) => bytes.len(),
            ScriptArg::Number(_) => 20,
        };
        let length = script.len() + self.name.len() + self.args.iter().map(length).sum::<usize>();
        let mut command = Cmd::with_capacity(4 + self.args.len(), length + 16);
        command.arg(verb).arg(script).arg(1).arg(&self.name);
        for arg in &self.args {
            match arg {
                ScriptArg::Bytes(bytes) => command.arg(bytes),
                ScriptArg::Number(number) => command.arg(number),
            };
        }
        command
    }
}

pub(crate) struct ScriptReply {
    pub(crate) status: i64,
    /// The bytes of the existing record.
    pub(crate) record: Option<Vec<u8>>,
    /// The server's time, or an upper bound of it.
    pub(crate) now: Timestamp,
    /// The time at which the server expires the record, in ms since the Unix epoch. Negative if the
    /// record never expires.
    pub(crate) expires_ms: i64,
}

/// Parses a reply that is an array. Returns `None` if it has another form.
pub(crate) fn parse_reply(value: Value) -> Option<ScriptReply> {
    let Value::Array(mut parts) = value else { return None };
    let [status, record, time @ ..] = &mut parts[..] else { return None };
    let Value::Int(status) = *status else { return None };
    let now = parse_time(time)?;
    let record = match std::mem::take(record) {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    let expires_ms = match time.get(2) {
        Some(Value::Int(at)) => *at,
        _ => NO_EXPIRY,
    };
    Some(ScriptReply { status, record, now, expires_ms })
}
