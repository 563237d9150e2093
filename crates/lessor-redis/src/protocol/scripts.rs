//! The Lua scripts. They contain no lease rule: they compare bytes and times.
//!
//! A script replies with an array: a status, the existing record, the server's time in seconds and
//! microseconds, and the expiry time of the record if there is one. A script that needs none of
//! these replies with the status alone. No script runs a command that can fail after a write, so a
//! script that returns an error has changed nothing.

use std::sync::LazyLock;

/// Replaces a record if the stored bytes match.
///
/// `KEYS[1]` is the record's name. `ARGV` holds the expected bytes (empty if no record is
/// expected), the new bytes, and the time at which the new record expires, in ms. If the change
/// depends on the clock, two more arguments follow, in µs: the time that must have been reached,
/// and the time that must not have been reached. A change without them replies with the status 0
/// alone, because reading the time would double the work.
const SWAP: &str = "
local current = redis.call('GET', KEYS[1])
local expected = ARGV[1]
if expected == '' then expected = false end
if current ~= expected then
  local time = redis.call('TIME')
  return {1, current, time[1], time[2], redis.call('PEXPIRETIME', KEYS[1])}
end
if not ARGV[4] then
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now < tonumber(ARGV[4]) or now >= tonumber(ARGV[5]) then
  return {2, current, time[1], time[2], redis.call('PEXPIRETIME', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return {0, false, time[1], time[2]}
";

/// Reads a record. `KEYS[1]` is the record's name.
const LOAD: &str = "
local time = redis.call('TIME')
return {0, redis.call('GET', KEYS[1]), time[1], time[2], redis.call('PEXPIRETIME', KEYS[1])}
";

/// Drops a record that is due. `KEYS[1]` is the record's name. `ARGV[1]` is the margin: how many ms
/// before its expiry time the record may be dropped.
const PURGE: &str = "
local time = redis.call('TIME')
local at = redis.call('PEXPIRETIME', KEYS[1])
if at < 0 or at - tonumber(ARGV[1]) > time[1] * 1000 + math.floor(time[2] / 1000) then
  return {1, false, time[1], time[2]}
end
redis.call('DEL', KEYS[1])
return {0, false, time[1], time[2]}
";

/// Removes a grant that arrived too late. `KEYS[1]` is the record's name. `ARGV` holds the record's
/// bytes and its expiry time, in ms.
const REMOVE: &str = "
local time = redis.call('TIME')
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[2]) then
  return {1, false, time[1], time[2]}
end
redis.call('DEL', KEYS[1])
return {0, false, time[1], time[2]}
";

pub(crate) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    swap: Script::new(SWAP),
    load: Script::new(LOAD),
    purge: Script::new(PURGE),
    remove: Script::new(REMOVE),
});

pub(crate) struct Scripts {
    pub(crate) swap: Script,
    pub(crate) load: Script,
    pub(crate) purge: Script,
    pub(crate) remove: Script,
}

pub(crate) struct Script {
    pub(crate) code: &'static str,
    /// The SHA-1 hash by which `EVALSHA` calls the script.
    pub(crate) hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }
}
