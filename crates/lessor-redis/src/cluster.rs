//! A cluster: a connection to each node that has slots, and whose slots are which.
//!
//! The client library has connections to clusters as well, but they send a command again after a connection has broken, when it may
//! have been carried out already, and so their errors do not say what became of it. Here a command goes out again only when a server has
//! said that it did not carry it out, because the key is another one's.

mod keep;
mod map;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use event_listener::Event;
use keep::RECENT;
use lessor_core::store::Notifier;
use lessor_core::{StoreError, Timestamp};
use map::{Map, Node, Wired};
use parking_lot::RwLock;
use redis::{Arg, Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::Notify;

pub(crate) use map::{Master, Own, SLOTS};

use crate::link::{Link, Sent};
use crate::server;
use crate::wake::shielded;

/// So often a command is sent on at once. Then those who send it on are not of one mind, and it waits until the map was read again.
const REDIRECTS: usize = 3;

pub(crate) struct Cluster {
    link: Weak<Link>,
    map: RwLock<Map>,
    /// A node came or went, or the map was read.
    changed: Event,
    notifier: Notifier,
    /// Somebody found that the map is not right.
    stale: Notify,
    is_closed: AtomicBool,
    /// About when something was sent last.
    used: AtomicU64,
    /// Of the store's thread.
    runtime: tokio::runtime::Handle,
    this: Weak<Self>,
}

/// Where a command goes.
enum To {
    Owner,
    /// The slot is on its way there, and this key has arrived or is new.
    Ask(Master),
    /// Nobody else will do.
    Only(Master),
}

impl Cluster {
    /// Reads the map from one of the nodes that the address names, and connects to all that are on it.
    pub(crate) async fn open(link: &Arc<Link>) -> Result<Arc<Self>, StoreError> {
        let cluster = Arc::new_cyclic(|this| Self {
            link: Arc::downgrade(link),
            map: RwLock::default(),
            changed: Event::new(),
            notifier: link.notifier.clone(),
            stale: Notify::new(),
            is_closed: AtomicBool::new(false),
            used: AtomicU64::new(0),
            runtime: tokio::runtime::Handle::current(),
            this: Weak::clone(this),
        });
        cluster.read_from_seeds(link).await?;
        loop {
            let changed = cluster.changed.listen();
            if let Some(outcome) = cluster.verdict() {
                return outcome.map(|()| Arc::clone(&cluster));
            }
            changed.await;
        }
    }

    /// Once every node was tried: whether the cluster can be used. A node that cannot be reached makes only its keys unavailable.
    fn verdict(&self) -> Option<Result<(), StoreError>> {
        let map = self.map.read();
        let mut outcome = None;
        for node in &map.nodes {
            match node.first.clone()? {
                Err(unfit) if unfit.is_setup => return Some(Err(unfit.error)),
                Err(unfit) => outcome = outcome.or(Some(Err(unfit.error))),
                Ok(()) => outcome = Some(Ok(())),
            }
        }
        outcome
    }

    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        for node in &mut self.map.write().nodes {
            node.wired = Err("the store is closed".to_owned());
        }
        self.changed.notify(usize::MAX);
        self.stale.notify_one();
    }

    /// Sends a command to the node that has its key, and waits for a connection to that for as long as it takes. If it `is_told`, the
    /// server shall tell when what is read changes. `sent` says where something was sent that was not answered.
    pub(crate) async fn send(
        &self,
        command: &Cmd,
        is_told: bool,
        sent: &mut Option<Sent>,
    ) -> Result<Value, RedisError> {
        let slot = slot_of(command);
        let (mut to, mut redirects) = (To::Owner, 0);
        loop {
            let (master, mut wired, is_waited_for) = self.wired(slot, &to).await?;
            if is_waited_for && matches!(to, To::Ask(_)) {
                // It may have arrived meanwhile, or not be on its way any more.
                to = To::Owner;
                continue;
            }
            let place =
                Sent { master: Some(master.clone()), generation: wired.generation, clock: wired.clock };
            let mark = || *sent = Some(place);
            let first = match to {
                // Nothing may come between that and the command, so there is no telling then.
                To::Ask(_) => Some(cmd("ASKING")),
                _ if is_told && wired.is_told => Some(caching()),
                _ => None,
            };
            let asked = self.link.upgrade().map(|link| (link.clock.local(), link));
            self.use_at(asked.as_ref().map_or(0, |(asked, _)| *asked));
            let answer = match &first {
                None => wired.wire.send(&[command], mark).await,
                Some(first) => wired.wire.send(&[first, command], mark).await,
            };
            let error = match answer {
                Ok(answer) => {
                    if let (Some((asked, link)), Some(now)) = (asked, told_time(&answer)) {
                        link.clock.sample(wired.clock, asked, now);
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let Some((is_ask, next)) = redirection(&error, &master.host) else { return Err(error) };
            *sent = None;
            redirects += 1;
            if redirects % REDIRECTS == 0 {
                self.wait().await;
                to = To::Owner;
                continue;
            }
            self.keep(next.clone());
            to = match is_ask {
                true => To::Ask(next),
                false => {
                    self.learn(slot, next);
                    To::Owner
                }
            };
        }
    }

    fn use_at(&self, now: u64) {
        if self.used.load(Ordering::Relaxed).saturating_add(RECENT / 4) < now {
            self.used.store(now, Ordering::Relaxed);
        }
    }

    /// Sends a command to a certain node.
    pub(crate) async fn ask(
        &self,
        master: &Master,
        command: &Cmd,
        sent: &mut Option<Sent>,
    ) -> Result<Value, RedisError> {
        let (master, mut wired, _) = self.wired(0, &To::Only(master.clone())).await?;
        let place = Sent { master: Some(master), generation: wired.generation, clock: wired.clock };
        wired.wire.send(&[command], || *sent = Some(place)).await
    }

    /// A connection, once there is one, and whether it had to be waited for.
    async fn wired(&self, slot: usize, to: &To) -> Result<(Master, Wired, bool), RedisError> {
        if let Some((master, wired)) = self.find(slot, to)? {
            return Ok((master, wired, false));
        }
        loop {
            let changed = self.changed.listen();
            if let Some((master, wired)) = self.find(slot, to)? {
                return Ok((master, wired, true));
            }
            self.stale.notify_one();
            shielded(&self.notifier, changed).await;
        }
    }

    /// Until the map was read again, or a node came or went.
    pub(crate) async fn wait(&self) {
        let changed = self.changed.listen();
        self.stale.notify_one();
        shielded(&self.notifier, changed).await;
    }

    /// The connection there, if there is one.
    fn find(&self, slot: usize, to: &To) -> Result<Option<(Master, Wired)>, RedisError> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err((ErrorKind::Client, "the store is closed").into());
        }
        let map = self.map.read();
        let master = match to {
            To::Owner => map.owner(slot),
            To::Ask(master) | To::Only(master) => Some(master),
        };
        let node = master.and_then(|master| map.node(master));
        Ok(node.and_then(|node| Some((node.master.clone(), node.wired.clone().ok()?))))
    }

    /// A node said that a slot is another one's.
    fn learn(&self, slot: usize, master: Master) {
        if let Some(owner) = self.map.write().owners.get_mut(slot) {
            *owner = Some(master);
        }
        self.stale.notify_one();
    }

    /// Why nothing can be sent to a node.
    pub(crate) fn trouble(&self) -> Option<String> {
        let map = self.map.read();
        let reason =
            |node: &Node| node.wired.as_ref().err().map(|reason| format!("{}: {reason}", node.master));
        map.nodes.iter().find_map(reason)
    }

    /// The connection of this generation is of no more use.
    pub(crate) fn lose(&self, master: &Master, generation: u64, reason: &str) {
        let mut map = self.map.write();
        let Some(node) = map.node_mut(master) else { return };
        if node.wired.as_ref().is_ok_and(|wired| wired.generation == generation) {
            node.wired = Err(reason.to_owned());
            node.lost.notify_one();
            self.stale.notify_one();
        }
    }

    /// Those that have slots, as far as the map is right.
    pub(crate) fn masters(&self) -> Vec<Master> {
        self.map.read().masters()
    }
}

/// The time that a script's answer ends with. Nothing else that is about a key is answered with an array.
fn told_time(answer: &Value) -> Option<Timestamp> {
    let Value::Array(parts) = answer else { return None };
    server::time_of(parts.get(2..)?)
}

/// What is said before something that the server shall tell of.
pub(crate) fn caching() -> Cmd {
    let mut command = cmd("CLIENT");
    command.arg("CACHING").arg("YES");
    command
}

/// Where a server says that a key is, and whether only for this once.
fn redirection(error: &RedisError, asked: &str) -> Option<(bool, Master)> {
    let is_ask = match error.kind() {
        ErrorKind::Server(ServerErrorKind::Ask) => true,
        ErrorKind::Server(ServerErrorKind::Moved) => false,
        _ => return None,
    };
    Some((is_ask, Master::parse(error.redirect_node()?.0, asked)?))
}

/// The slot of the only key that a command has. Names have no braces.
fn slot_of(command: &Cmd) -> usize {
    let arg = |at| match command.args_iter().nth(at) {
        Some(Arg::Simple(bytes)) => bytes,
        _ => &[],
    };
    let key = arg(if arg(0).starts_with(b"EVAL") { 3 } else { 1 });
    usize::from(crc16(key)) % SLOTS
}

/// The slot of a name without braces.
pub(crate) fn slot_of_name(name: &str) -> usize {
    usize::from(crc16(name.as_bytes())) % SLOTS
}

/// The one of XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn slots_are_those_of_the_servers() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let slot = |command: &mut Cmd| slot_of(command);
        assert_eq!(slot(cmd("GET").arg("123456789")), 12_739);
        assert_eq!(slot(cmd("EVALSHA").arg("hash").arg(1).arg("123456789").arg("more")), 12_739);
    }

    #[test]
    fn a_redirection_says_where_to_and_whether_for_good() {
        let to = |line: &str| {
            let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            redirection(&answer.extract_error().unwrap_err(), "asked")
        };
        let master = |host: &str, port| Master { host: host.to_owned(), port };
        assert_eq!(to("ASK 3999 127.0.0.1:6381"), Some((true, master("127.0.0.1", 6381))));
        assert_eq!(to("MOVED 3999 [::1]:6382"), Some((false, master("::1", 6382))));
        // Where a node does not know what it is called by others.
        assert_eq!(to("MOVED 3999 :6383"), Some((false, master("asked", 6383))));
        assert_eq!(to("MOVED 3999"), None);
        assert_eq!(to("CLUSTERDOWN The cluster is down"), None);
    }
}
