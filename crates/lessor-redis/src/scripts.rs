//! What runs inside of the server. No lease rule is in it: bytes are compared, and the time.
//!
//! Each answers with what became of it, the record that is there, the server's time in seconds and microseconds, and where it shows a
//! record, when the server drops that by itself; or with the first of these alone. Nothing fails behind a write, so a script that ends in an error
//! has changed nothing.

use std::sync::LazyLock;

/// `KEYS[1]`: the record's name. `ARGV`: the expected bytes, empty for none; the bytes to put there; when the server may drop the
/// record, in ms; and if the change depends on the clock, the times, in µs, that it must have reached and must not have reached. A change that
/// does not, and is made, is answered with 0 alone: the time would be half of the work.
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

/// `KEYS[1]`: the record's name.
const LOAD: &str = "
local time = redis.call('TIME')
return {0, redis.call('GET', KEYS[1]), time[1], time[2], redis.call('PEXPIRETIME', KEYS[1])}
";

/// `KEYS[1]`: the record's name. `ARGV`: how many ms before the server would drop it by itself it may be dropped.
const PURGE: &str = "
local time = redis.call('TIME')
local at = redis.call('PEXPIRETIME', KEYS[1])
if at < 0 or at - tonumber(ARGV[1]) > time[1] * 1000 + math.floor(time[2] / 1000) then
  return {1, false, time[1], time[2]}
end
redis.call('DEL', KEYS[1])
return {0, false, time[1], time[2]}
";

/// `KEYS[1]`: the record's name. `ARGV`: the bytes of a record that arrived too late, and when the server drops it, in ms.
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
    /// What a server that has it knows it by.
    pub(crate) hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }
}
