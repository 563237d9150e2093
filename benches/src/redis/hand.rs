//! The guard that people write by hand: `SET key holder NX GET PX`, which also says who holds the key or what its result is, and a script
//! that puts the result in place of the holder. It does the least that could be called the same: no retention of its own, no
//! fencing token, no failure, no waiter, no answer for a lost reply.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Connection, Script, ScriptInvocation};

use crate::flight::AsyncGuard;
use crate::{Receipt, TTL, Told};

/// As long as lessor waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

const COMPLETE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

const HELD: u8 = b'H';
const RESULT: u8 = b'R';

/// A holder as it is stored: when its time is over, and who it is.
fn holder() -> Vec<u8> {
    let mut holder = vec![HELD];
    holder.extend((now() + TTL).as_micros().to_le_bytes());
    holder.extend(fastrand::u128(..).to_le_bytes());
    holder
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970")
}

fn set(key: &str, holder: &[u8]) -> Cmd {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(holder).arg("NX").arg("GET").arg("PX").arg(TTL.as_millis() as u64);
    set
}

/// What a later caller is told.
fn tell(there: &[u8]) -> Told {
    match there.split_first() {
        Some((&RESULT, result)) => Told::Replayed(serde_json::from_slice(result).expect("a receipt")),
        Some((&HELD, holder)) => {
            let until = u128::from_le_bytes(holder[..16].try_into().expect("a time"));
            Told::Refused(Duration::from_micros(until as u64).saturating_sub(now()))
        }
        _ => panic!("{there:?}"),
    }
}

fn complete<'s>(script: &'s Script, key: &str, holder: &[u8], receipt: &Receipt) -> ScriptInvocation<'s> {
    let mut result = vec![RESULT];
    serde_json::to_writer(&mut result, receipt).expect("JSON");
    let mut complete = script.key(key);
    complete.arg(holder).arg(result).arg(TTL.as_millis() as u64);
    complete
}

/// For asynchronous callers, who share a connection.
#[derive(Clone)]
pub(super) struct AsyncHand {
    connection: MultiplexedConnection,
    complete: Script,
}

impl AsyncHand {
    /// On the runtime it is called on.
    pub(super) async fn connect(url: &str) -> Result<Self, String> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let client = Client::open(url).map_err(text)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(text)?;
        Ok(Self { connection, complete: Script::new(COMPLETE) })
    }

    pub(super) async fn hold(&self, key: &str) {
        let there: Option<Vec<u8>> =
            set(key, &holder()).query_async(&mut self.connection.clone()).await.expect("SET");
        assert_eq!(there, None);
    }

    /// Only looks.
    pub(super) async fn get(&self, key: &str) -> Told {
        let there: Vec<u8> =
            redis::cmd("GET").arg(key).query_async(&mut self.connection.clone()).await.expect("GET");
        tell(&there)
    }
}

impl AsyncGuard for AsyncHand {
    async fn run(&self, key: &str, receipt: &Receipt) -> Told {
        let (mut connection, holder) = (self.connection.clone(), holder());
        let there: Option<Vec<u8>> = set(key, &holder).query_async(&mut connection).await.expect("SET");
        if let Some(there) = there {
            return tell(&there);
        }
        let complete = complete(&self.complete, key, &holder, receipt);
        assert_eq!(complete.invoke_async::<i64>(&mut connection).await.expect("script"), 1);
        Told::Done
    }
}

/// For threads, each with a connection of its own.
pub(super) struct BlockingHand {
    connections: Vec<Mutex<Connection>>,
    complete: Script,
}

impl BlockingHand {
    pub(super) fn connect(url: &str, threads: u64) -> Result<Self, String> {
        let client = Client::open(url).map_err(text)?;
        let connect = |_| {
            let connection = client.get_connection().map_err(text)?;
            connection.set_read_timeout(Some(PATIENCE)).map_err(text)?;
            Ok(Mutex::new(connection))
        };
        let connections = (0..threads).map(connect).collect::<Result<_, String>>()?;
        Ok(Self { connections, complete: Script::new(COMPLETE) })
    }

    pub(super) fn run(&self, thread: u64, key: &str, receipt: &Receipt) -> Told {
        let (mut connection, holder) = (self.connections[thread as usize].lock(), holder());
        let there: Option<Vec<u8>> = set(key, &holder).query(&mut *connection).expect("SET");
        if let Some(there) = there {
            return tell(&there);
        }
        let complete = complete(&self.complete, key, &holder, receipt);
        assert_eq!(complete.invoke::<i64>(&mut *connection).expect("script"), 1);
        Told::Done
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
