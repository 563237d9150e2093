//! A hand-written guard: `SET key holder NX GET PX`, which also returns the holder or the result,
//! and scripts that replace the holder with the result or a longer lease. It implements the
//! minimum: no retention of its own, no fencing token, no failure, no waiter, no handling of lost
//! replies.

use std::time::{Duration, SystemTime};

use lessor_contention::{LeaseService, Reply};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, Connection, IntoConnectionInfo, Script, ScriptInvocation};

use crate::work::POLL_EVERY;

/// The value that is lessor's default.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The retention of results.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Replaces the holder.
const REPLACE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

const HELD: u8 = b'H';
const RESULT: u8 = b'R';

/// Encodes a holder: the end of its lease, and its id.
fn holder(lease_id: u128, ttl: Duration) -> Vec<u8> {
    let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970") + ttl;
    [&[HELD][..], &lease_id.to_le_bytes(), &until.as_micros().to_le_bytes()].concat()
}

fn set(key: &str, holder: &[u8], ttl: Duration) -> Cmd {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(holder).arg("NX").arg("GET").arg("PX").arg(ttl.as_millis() as u64);
    set
}

fn result(result: &[u8]) -> Vec<u8> {
    [&[RESULT][..], result].concat()
}

/// Returns the answer for a caller that found this value. A caller that found none is the holder.
fn reply_to(value: Option<Vec<u8>>, holder: Vec<u8>) -> Reply<Vec<u8>, Vec<u8>> {
    match value {
        None => Reply::Acquired(holder),
        Some(value) => shown(value).map_or(Reply::InProgress, Reply::Completed),
    }
}

/// Returns the result if the value is one.
fn shown(mut value: Vec<u8>) -> Option<Vec<u8>> {
    (value.first() == Some(&RESULT)).then(|| {
        value.remove(0);
        value
    })
}

fn replace<'s>(
    script: &'s Script,
    key: &str,
    by: &[u8],
    next: Vec<u8>,
    ttl: Duration,
) -> ScriptInvocation<'s> {
    let mut replace = script.key(key);
    replace.arg(by).arg(next).arg(ttl.as_millis() as u64);
    replace
}

/// Encodes the same holder with a longer lease.
fn longer(held: &[u8], ttl: Duration) -> Vec<u8> {
    holder(u128::from_le_bytes(held[1..17].try_into().expect("an id")), ttl)
}

/// For tasks, which share a connection.
pub(super) struct AsyncHand {
    connection: MultiplexedConnection,
    replace: Script,
}

impl AsyncHand {
    /// Uses the runtime that it is called on.
    pub(super) async fn connect(url: &str) -> Result<Self, String> {
        // The same as lessor's.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_pipeline_buffer_size(1024);
        let client = client(url)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(text)?;
        Ok(Self { connection, replace: Script::new(REPLACE) })
    }

    async fn replace(&self, key: &str, by: &[u8], next: Vec<u8>, ttl: Duration) {
        let replace = replace(&self.replace, key, by, next, ttl);
        assert_eq!(replace.invoke_async::<i64>(&mut self.connection.clone()).await.expect("script"), 1);
    }
}

impl LeaseService for AsyncHand {
    type Lease = Vec<u8>;
    type Result = Vec<u8>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<Vec<u8>, Vec<u8>> {
        let holder = holder(fastrand::u128(..), ttl);
        let value = set(key, &holder, ttl).query_async(&mut self.connection.clone()).await.expect("SET");
        reply_to(value, holder)
    }

    async fn extend(&self, key: &str, held: &mut Vec<u8>, ttl: Duration) {
        let longer = longer(held, ttl);
        self.replace(key, held, longer.clone(), ttl).await;
        *held = longer;
    }

    async fn complete(&self, key: &str, held: Vec<u8>, bytes: &[u8]) {
        self.replace(key, &held, result(bytes), DAY).await;
    }

    async fn wait(&self, key: &str) -> Vec<u8> {
        loop {
            let value = redis::cmd("GET").arg(key).query_async(&mut self.connection.clone()).await;
            if let Some(result) = shown(value.expect("GET")) {
                return result;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    async fn acquire_all(&self, keys: &[String], ttl: Duration) -> Vec<Vec<u8>> {
        let holders: Vec<_> = keys.iter().map(|_| holder(fastrand::u128(..), ttl)).collect();
        let all: Vec<_> = keys.iter().zip(&holders).collect();
        for some in all.chunks(1000) {
            let mut pipeline = redis::pipe();
            for (key, holder) in some {
                pipeline.add_command(set(key, holder, ttl)).ignore();
            }
            pipeline.query_async::<()>(&mut self.connection.clone()).await.expect("SET");
        }
        holders
    }
}

/// For threads, each of which uses a connection exclusively during an operation.
pub(super) struct BlockingHand {
    connections: Mutex<Vec<Connection>>,
    replace: Script,
}

impl BlockingHand {
    pub(super) fn connect(url: &str, threads: u64) -> Result<Self, String> {
        let client = client(url)?;
        let connect = |_| {
            let connection = client.get_connection().map_err(text)?;
            connection.set_read_timeout(Some(RESPONSE_TIMEOUT)).map_err(text)?;
            Ok(connection)
        };
        let connections = (0..threads).map(connect).collect::<Result<_, String>>()?;
        Ok(Self { connections: Mutex::new(connections), replace: Script::new(REPLACE) })
    }

    fn with_connection<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        let mut connection = self.connections.lock().pop().expect("one for each thread");
        let done = work(&mut connection);
        self.connections.lock().push(connection);
        done
    }

    fn replace(&self, key: &str, by: &[u8], next: Vec<u8>, ttl: Duration) {
        let replace = replace(&self.replace, key, by, next, ttl);
        self.with_connection(|connection| assert_eq!(replace.invoke::<i64>(connection).expect("script"), 1));
    }
}

impl LeaseService for BlockingHand {
    type Lease = Vec<u8>;
    type Result = Vec<u8>;

    async fn acquire(&self, key: &str, ttl: Duration) -> Reply<Vec<u8>, Vec<u8>> {
        let holder = holder(fastrand::u128(..), ttl);
        let value = self.with_connection(|connection| set(key, &holder, ttl).query(connection).expect("SET"));
        reply_to(value, holder)
    }

    async fn extend(&self, key: &str, held: &mut Vec<u8>, ttl: Duration) {
        let longer = longer(held, ttl);
        self.replace(key, held, longer.clone(), ttl);
        *held = longer;
    }

    async fn complete(&self, key: &str, held: Vec<u8>, bytes: &[u8]) {
        self.replace(key, &held, result(bytes), DAY);
    }

    async fn wait(&self, key: &str) -> Vec<u8> {
        loop {
            let value = self.with_connection(|connection| redis::cmd("GET").arg(key).query(connection));
            if let Some(result) = shown(value.expect("GET")) {
                return result;
            }
            std::thread::sleep(POLL_EVERY);
        }
    }
}

/// Sends small packets immediately, as lessor does.
fn client(url: &str) -> Result<Client, String> {
    let info = url.into_connection_info().map_err(text)?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    Client::open(info).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
