//! A cluster: a connection to each node that has slots, and whose slots are which.
//!
//! The client library has connections to clusters as well, but they send a command again after a connection has broken, when it may
//! have been carried out already, and so their errors do not say what became of it. Here a command goes out again only when a server has
//! said that it did not carry it out, because the key is another one's.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use event_listener::Event;
use lessor_core::{StoreError, Timestamp};
use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::Notify;

use crate::failure::{Effect, kind_of, unanswered};
use crate::link::{BACKOFF, Link, SAMPLE_EVERY, Sent};
use crate::server;

pub(crate) const SLOTS: usize = 16_384;
/// How often nodes are asked for the time while something else is sent, in µs.
const RECENT: u64 = 100_000;
/// So often a command is sent on at once. Then those who send it on are not of one mind, and it waits until the map was read again.
const REDIRECTS: usize = 3;

/// A node that has slots, as the cluster calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Master {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Master {
    /// As it is in redirections: host and port. `asked` is who said it, for a host that is left out.
    fn parse(place: &str, asked: &str) -> Option<Self> {
        let (host, port) = place.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { asked } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// A connection to a node.
#[derive(Clone)]
pub(crate) struct Wired {
    pub(crate) wire: MultiplexedConnection,
    pub(crate) generation: u64,
    pub(crate) is_told: bool,
    /// The server's, among those that are estimated.
    pub(crate) clock: u64,
}

struct Node {
    master: Master,
    /// The connection, or why there is none.
    wired: Result<Wired, String>,
    /// The connection is of no more use, or the node has no slots any more.
    lost: Arc<Notify>,
    /// What was found out when the first connection was made.
    first: Option<Result<(), Unfit>>,
}

/// Why a node cannot be used.
#[derive(Clone)]
struct Unfit {
    error: StoreError,
    /// It answers, but is not set up as it should be.
    is_setup: bool,
}

#[derive(Default)]
struct Map {
    nodes: Vec<Node>,
    /// For each slot; `None` if nobody has it.
    owners: Vec<Option<Master>>,
}

impl Map {
    fn node(&self, master: &Master) -> Option<&Node> {
        self.nodes.iter().find(|node| node.master == *master)
    }

    fn node_mut(&mut self, master: &Master) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.master == *master)
    }

    /// The one that is looked after by whoever has `lost`.
    fn mine(&mut self, master: &Master, lost: &Arc<Notify>) -> Option<&mut Node> {
        self.node_mut(master).filter(|node| Arc::ptr_eq(&node.lost, lost))
    }

    fn owner(&self, slot: usize) -> Option<&Master> {
        self.owners.get(slot).and_then(Option::as_ref)
    }
}

pub(crate) struct Cluster {
    link: Weak<Link>,
    map: RwLock<Map>,
    /// A node came or went, or the map was read.
    changed: Event,
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
            *sent =
                Some(Sent { master: Some(master.clone()), generation: wired.generation, clock: wired.clock });
            let first = match to {
                // Nothing may come between that and the command, so there is no telling then.
                To::Ask(_) => Some(cmd("ASKING")),
                _ if is_told && wired.is_told => Some(caching()),
                _ => None,
            };
            let asked = self.link.upgrade().map(|link| (link.clock.local(), link));
            self.use_at(asked.as_ref().map_or(0, |(asked, _)| *asked));
            let answer = match first {
                None => wired.wire.send_packed_command(command).await,
                Some(first) => {
                    let mut both = redis::pipe();
                    both.add_command(first).add_command(command.clone());
                    let answers = wired.wire.send_packed_commands(&both, 0, 2).await;
                    answers.map(|mut answers| answers.pop().unwrap_or_default())
                }
            };
            let error = match answer.and_then(Value::extract_error) {
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
        *sent = Some(Sent { master: Some(master), generation: wired.generation, clock: wired.clock });
        wired.wire.send_packed_command(command).await?.extract_error()
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
            changed.await;
        }
    }

    /// Until the map was read again, or a node came or went.
    pub(crate) async fn wait(&self) {
        let changed = self.changed.listen();
        self.stale.notify_one();
        changed.await;
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

    /// Looks after the map until the store is closed.
    pub(crate) async fn watch(&self, link: &Arc<Link>) {
        while !self.is_closed.load(Ordering::SeqCst) {
            self.stale.notified().await;
            // Many may find the same at once.
            tokio::time::sleep(BACKOFF.0).await;
            let nodes: Vec<(Master, MultiplexedConnection)> = {
                let map = self.map.read();
                let wire = |node: &Node| Some((node.master.clone(), node.wired.as_ref().ok()?.wire.clone()));
                map.nodes.iter().filter_map(wire).collect()
            };
            let mut is_read = false;
            for (master, mut wire) in nodes {
                let limit = share_of(link.settings.deadline, 4);
                if let Some(Ok(slots)) = within(limit, ask_for_slots(&mut wire)).await {
                    is_read = self.draw(slots, &master.host);
                    if is_read {
                        break;
                    }
                }
            }
            if !is_read && let Err(error) = self.read_from_seeds(link).await {
                tracing::warn!(%error, "no node of the cluster tells where its keys are; trying again");
                tokio::time::sleep(BACKOFF.1).await;
                self.stale.notify_one();
            }
            self.changed.notify(usize::MAX);
            // Where a node is down, another one may take its slots without anybody's having asked for them.
            if self.trouble().is_some() {
                tokio::time::sleep(BACKOFF.0 * 10).await;
                self.stale.notify_one();
            }
        }
    }

    async fn read_from_seeds(&self, link: &Arc<Link>) -> Result<(), StoreError> {
        let seeds = &link.address.nodes;
        // All of them together, so that there is time left for the nodes.
        let limit = share_of(link.settings.deadline, 3 * seeds.len());
        let mut problem = unanswered(Effect::Read, "the URL names no server".to_owned());
        for seed in seeds {
            let place = seed.addr().to_string();
            let read = async {
                let mut wire = server::connect(link, seed.clone(), &place, || {}).await?;
                ask_for_slots(&mut wire).await.map_err(|error| match error.code() {
                    Some("ERR") => unanswered(Effect::Read, format!("{place} is not part of a cluster")),
                    _ => server::failed(&error, &place),
                })
            };
            match within(limit, read).await {
                Some(Ok(slots)) => {
                    if self.draw(slots, &host_of(seed)) {
                        return Ok(());
                    }
                    let reason = format!("{place} knows no node that has slots");
                    problem = StoreError::Unavailable { reason };
                }
                Some(Err(error)) => problem = error,
                None => problem = unanswered(Effect::Read, format!("{place} did not answer in time")),
            }
        }
        Err(problem)
    }

    /// Takes over what `CLUSTER SLOTS` said. Returns whether that was a map.
    fn draw(&self, slots: Value, asked: &str) -> bool {
        let Value::Array(ranges) = slots else { return false };
        let mut owners = vec![None; SLOTS];
        let mut masters: Vec<Master> = Vec::new();
        for range in ranges {
            let Value::Array(parts) = range else { continue };
            let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &parts[..] else {
                continue;
            };
            let Some(master) = master_of(master, asked) else { continue };
            let (Ok(first), Ok(last)) = (usize::try_from(*first), usize::try_from(*last)) else { continue };
            if let Some(owners) = owners.get_mut(first..=last) {
                owners.fill(Some(master.clone()));
            }
            if !masters.contains(&master) {
                masters.push(master);
            }
        }
        if masters.is_empty() {
            return false;
        }
        let mut map = self.map.write();
        map.owners = owners;
        map.nodes.retain(|node| {
            // One that has no slots yet may be about to get some.
            let is_kept = masters.contains(&node.master) || node.wired.is_ok() || node.first.is_none();
            if !is_kept {
                node.lost.notify_one();
            }
            is_kept
        });
        drop(map);
        masters.into_iter().for_each(|master| self.keep(master));
        true
    }

    /// Begins to look after a node, unless it is looked after.
    pub(crate) fn keep(&self, master: Master) {
        let (Some(cluster), Some(link)) = (self.this.upgrade(), self.link.upgrade()) else { return };
        let lost = Arc::new(Notify::new());
        let mut map = self.map.write();
        if map.node(&master).is_some() {
            return;
        }
        let wired = Err("not connected yet".to_owned());
        map.nodes.push(Node { master: master.clone(), wired, lost: Arc::clone(&lost), first: None });
        drop(map);
        self.runtime.spawn(async move {
            let clock = link.clock.add();
            cluster.look_after(&link, &master, clock, &lost).await;
            link.clock.remove(clock);
        });
    }

    /// Until the node is not on the map any more.
    async fn look_after(&self, link: &Arc<Link>, master: &Master, clock: u64, lost: &Arc<Notify>) {
        let mut backoff = BACKOFF.0;
        let mut run_id = None;
        loop {
            let late = || unanswered(Effect::Read, format!("{master} did not answer in time"));
            let connected =
                within(share_of(link.settings.deadline, 2), self.connect(link, master, clock, &mut run_id))
                    .await;
            let outcome = connected.unwrap_or_else(|| Err(Unfit { error: late(), is_setup: false }));
            let is_connected = outcome.is_ok();
            {
                let mut map = self.map.write();
                let Some(node) = map.mine(master, lost) else { return };
                if let Err(unfit) = &outcome {
                    node.wired = Err(unfit.error.to_string());
                }
                node.first.get_or_insert(outcome.clone());
            }
            self.changed.notify(usize::MAX);
            if let Err(unfit) = outcome {
                tracing::warn!(error = %unfit.error, "no connection to a node could be made; trying again");
                self.stale.notify_one();
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
            if is_connected {
                backoff = BACKOFF.0;
                // What changed in between was not told.
                link.listeners.all_changed();
                self.while_it_works(link, master, clock, lost).await;
            }
            if self.map.write().mine(master, lost).is_none() {
                return;
            }
        }
    }

    async fn connect(
        &self,
        link: &Arc<Link>,
        master: &Master,
        clock: u64,
        run_id: &mut Option<String>,
    ) -> Result<(), Unfit> {
        let generation = link.next_generation();
        let unfit = |error| Unfit { error, is_setup: false };
        let Some(seed) = link.address.nodes.first() else { return Ok(()) };
        let lost = {
            let (cluster, master) = (Weak::clone(&self.this), master.clone());
            move || {
                if let Some(cluster) = cluster.upgrade() {
                    cluster.lose(&master, generation, "the connection was closed");
                }
            }
        };
        let place = master.to_string();
        let mut wire = server::connect(link, at(seed, master), &place, lost).await.map_err(unfit)?;
        let (server, is_bounded) = server::look(&place, &mut wire).await.map_err(unfit)?;
        let is_master = server.role == "master";
        server::check(link, &place, &server, is_bounded)
            .map_err(|error| Unfit { error, is_setup: is_master })?;
        for _ in 0..3 {
            let sample = server::sample(&link.clock, clock, &mut wire).await;
            sample.map_err(|error| unfit(server::failed(&error, &place)))?;
        }
        let is_told = server::track(&place, &mut wire).await;
        let is_other = run_id.replace(server.run_id.clone()).is_some_and(|former| former != server.run_id);
        link.met(&place, server, is_other);
        let mut map = self.map.write();
        if let Some(node) = map.node_mut(master) {
            node.wired = Ok(Wired { wire, generation, is_told, clock });
        }
        Ok(())
    }

    /// Until the connection is lost. Asks for the time every so often.
    async fn while_it_works(&self, link: &Link, master: &Master, clock: u64, lost: &Arc<Notify>) {
        let mut sampled = link.clock.local();
        loop {
            let wired = match self.map.read().node(master) {
                Some(Node { wired: Ok(wired), .. }) => wired.clone(),
                _ => return,
            };
            if within(Duration::from_micros(RECENT), lost.notified()).await.is_some() {
                continue;
            }
            // All times that are told hang on each of the nodes, and most calls bring the time of one only.
            let now = link.clock.local();
            let is_used = self.used.load(Ordering::Relaxed).saturating_add(2 * RECENT) > now;
            if !is_used && Duration::from_micros(now.saturating_sub(sampled)) < SAMPLE_EVERY {
                continue;
            }
            sampled = now;
            let mut wire = wired.wire.clone();
            let reason =
                match within(link.settings.deadline, server::sample(&link.clock, clock, &mut wire)).await {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => kind_of(&error),
                    None => "it did not answer in time".to_owned(),
                };
            self.lose(master, wired.generation, &reason);
        }
    }

    /// Those that have slots, as far as the map is right.
    pub(crate) fn masters(&self) -> Vec<Master> {
        let map = self.map.read();
        let mut masters: Vec<Master> = Vec::new();
        for owner in map.owners.iter().flatten() {
            if masters.last() != Some(owner) && !masters.contains(owner) {
                masters.push(owner.clone());
            }
        }
        masters
    }
}

/// What a node says of its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// Such as `0-99 [93->-ID]`.
    pub(crate) slots: String,
    /// Where keys of its slots are on their way to.
    pub(crate) targets: Vec<Master>,
}

impl Own {
    /// From the answer to `CLUSTER NODES`.
    pub(crate) fn parse(nodes: &str) -> Option<Self> {
        let line = |is_it: &dyn Fn(&[&str]) -> bool| {
            let mut lines = nodes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.find(|fields| is_it(fields))
        };
        let own =
            line(&|fields| fields.get(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself")))?;
        let slots = own.get(8..).unwrap_or_default();
        let mut targets = Vec::new();
        for slot in slots {
            let Some((_, id)) = slot.split_once("->-") else { continue };
            let target = line(&|fields| fields.first() == Some(&id.trim_end_matches(']')))?;
            let place = target.get(1)?.split(['@', ',']).next()?;
            targets.push(Master::parse(place, "")?);
        }
        Some(Self { slots: slots.join(" "), targets })
    }

    /// How many slots it has.
    pub(crate) fn count(&self) -> usize {
        let ranges = self.slots.split(' ').filter(|range| !range.starts_with('['));
        let count = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((last.parse::<usize>().ok()? + 1).saturating_sub(first.parse().ok()?))
        };
        ranges.filter_map(count).sum()
    }
}

/// The time that a script's answer ends with. Nothing else that is about a key is answered with an array.
fn told_time(answer: &Value) -> Option<Timestamp> {
    let Value::Array(parts) = answer else { return None };
    server::time_of(parts.get(2..)?)
}

fn caching() -> Cmd {
    let mut command = cmd("CLIENT");
    command.arg("CACHING").arg("YES");
    command
}

async fn ask_for_slots(wire: &mut MultiplexedConnection) -> Result<Value, RedisError> {
    wire.send_packed_command(cmd("CLUSTER").arg("SLOTS")).await?.extract_error()
}

async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, what).await.ok()
}

fn share_of(deadline: Duration, count: usize) -> Duration {
    deadline / u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// How one connects to a node: as to the one that the URL names.
fn at(seed: &ConnectionInfo, master: &Master) -> ConnectionInfo {
    let (host, port) = (master.host.clone(), master.port);
    let addr = match seed.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    seed.clone().set_addr(addr)
}

fn host_of(seed: &ConnectionInfo) -> String {
    match seed.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    }
}

/// What `CLUSTER SLOTS` says of a node. A host that is left out is that of the node that was `asked`.
fn master_of(parts: &[Value], asked: &str) -> Option<Master> {
    let [host, Value::Int(port), ..] = parts else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    let host = match host {
        "?" => return None,
        "" => asked,
        host => host,
    };
    Some(Master { host: host.to_owned(), port: u16::try_from(*port).ok()? })
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
    fn what_a_node_says_of_itself_is_understood() {
        let nodes = "07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426238317239 4 connected\n\
                     67ed [::1]:30002@31002, master - 0 1426238316232 2 connected 5461-10922\n\
                     e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460 7000 [93->-67ed] [77-<-67ed]\n";
        let own = Own::parse(nodes).unwrap();
        assert_eq!(own.count(), 5_462);
        assert_eq!(own.targets, [Master { host: "::1".to_owned(), port: 30_002 }]);
        assert_eq!(Own::parse("nonsense"), None);
    }
}
