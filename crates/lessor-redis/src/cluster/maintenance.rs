//! Background tasks of a cluster: one keeps the slot map up to date, and one per node keeps the
//! connection to that node.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lessor_core::{Cause, StoreError};
use redis::{ConnectionAddr, ConnectionInfo, RedisError, Value, cmd};
use tokio::sync::Notify;

use super::node::{ConnectFailure, Node, NodeAddress, NodeConnection};
use super::router::{Cluster, RECENT};
use super::slot::slot_of_name;
use super::slot_map::SlotTable;
use crate::node::connect::{connect, connect_error};
use crate::node::context::ConnectionContext;
use crate::node::inspect::{check_setup, inspect, sample_clock};
use crate::node::probe::probe;
use crate::node::schedule::{BACKOFF, CHECK_EVERY, SAMPLE_EVERY};
use crate::node::server_info::ServerInfo;
use crate::node::tracking::enable_tracking;
use crate::protocol::errors::{cause_of, client_cause, is_denied, timed_out};
use crate::transport::connection::Connection;

impl Cluster {
    /// Keeps the slot map up to date until the store is closed.
    pub(crate) async fn maintain_map(&self) {
        let context = &self.context;
        while !self.is_closed.load(Ordering::SeqCst) {
            self.map_outdated.notified().await;
            // Many callers may find the same at once.
            tokio::time::sleep(BACKOFF.0).await;
            let nodes: Vec<(NodeAddress, Connection)> = {
                let map = self.map.read();
                let connected = |node: &Node| {
                    Some((node.address.clone(), node.connection.as_ref().ok()?.connection.clone()))
                };
                map.nodes.iter().filter_map(connected).collect()
            };
            let mut is_read = false;
            for (address, mut connection) in nodes {
                let limit = share_of(context.settings.deadline, 4);
                if let Some(Ok(slots)) = within(limit, cluster_slots(&mut connection)).await {
                    is_read = self.apply_slots(slots, &address.host);
                    if is_read {
                        break;
                    }
                }
            }
            if !is_read && let Err(error) = self.read_from_seeds().await {
                tracing::warn!(%error, "no cluster node returned a slot map; trying again");
                tokio::time::sleep(BACKOFF.1).await;
                self.map_outdated.notify_one();
            }
            self.changed.notify(usize::MAX);
            // Another node may take over the slots of one that is down, without any request that
            // would show it.
            if self.first_problem().is_some() {
                tokio::time::sleep(BACKOFF.0 * 10).await;
                self.map_outdated.notify_one();
            }
        }
    }

    /// Reads the slot map from the first node in the URL that returns one.
    pub(super) async fn read_from_seeds(&self) -> Result<(), StoreError> {
        let context = &*self.context;
        let seeds = &context.address.nodes;
        // All attempts together take a third of the deadline, which leaves time for the nodes.
        let limit = share_of(context.settings.deadline, 3 * seeds.len());
        let mut problem = StoreError::unavailable("the URL names no server");
        for seed in seeds {
            let endpoint = seed.addr().to_string();
            let read = async {
                let mut connection = connect(context, seed.clone(), &endpoint, || {}).await?;
                cluster_slots(&mut connection).await.map_err(|error| match error.code() {
                    Some("ERR") if !is_denied(&error) => StoreError::misconfigured(format!(
                        "{endpoint} is not part of a cluster; write `redis://` before its host"
                    )),
                    _ => connect_error(&error, context.request_info(&endpoint, "CLUSTER SLOTS")),
                })
            };
            match within(limit, read).await {
                Some(Ok(slots)) => {
                    if self.apply_slots(slots, &host_of(seed)) {
                        return Ok(());
                    }
                    let reason = format!("{endpoint} knows no node that owns slots");
                    problem = StoreError::unavailable(reason);
                }
                Some(Err(error)) => problem = error,
                None => problem = timed_out(&endpoint),
            }
        }
        Err(problem)
    }

    /// Applies a reply to `CLUSTER SLOTS`. Returns whether it was a slot map.
    fn apply_slots(&self, slots: Value, replying_host: &str) -> bool {
        let Some(table) = SlotTable::parse(slots, replying_host) else { return false };
        let nodes = table.nodes.clone();
        self.map.write().update(table);
        nodes.into_iter().for_each(|node| self.add_node(node));
        true
    }

    /// Adds a node and starts the task that keeps its connection, unless the node is known.
    pub(crate) fn add_node(&self, address: NodeAddress) {
        let Some(cluster) = self.this.upgrade() else { return };
        let disconnected = Arc::new(Notify::new());
        let mut map = self.map.write();
        if map.node(&address).is_some() {
            return;
        }
        map.nodes.push(Node {
            address: address.clone(),
            connection: Err(Cause::new("not connected yet")),
            disconnected: Arc::clone(&disconnected),
            first_attempt: None,
        });
        drop(map);
        self.runtime.spawn(async move {
            let clock = cluster.context.clock.add();
            cluster.maintain_node(&address, clock, &disconnected).await;
            cluster.context.clock.remove(clock);
        });
    }

    /// Keeps a connection to a node until the node is no longer on the map.
    async fn maintain_node(&self, address: &NodeAddress, clock: u64, disconnected: &Arc<Notify>) {
        let mut backoff = BACKOFF.0;
        let mut known = None;
        let limit = share_of(self.context.settings.deadline, 2);
        loop {
            let attempt = within(limit, self.connect(address, clock, &mut known)).await;
            let outcome = attempt.unwrap_or_else(|| {
                let error = timed_out(address);
                Err(ConnectFailure { error, is_misconfigured: false })
            });
            let is_connected = outcome.is_ok();
            {
                let mut map = self.map.write();
                let Some(node) = map.node_of_task(address, disconnected) else { return };
                if let Err(failure) = &outcome {
                    node.connection = Err(cause_of(&failure.error));
                }
                node.first_attempt.get_or_insert(outcome.clone());
            }
            self.changed.notify(usize::MAX);
            if let Err(failure) = outcome {
                tracing::warn!(
                    error = format_args!("{:#}", failure.error),
                    "connecting to a cluster node failed; trying again"
                );
                self.map_outdated.notify_one();
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
            if is_connected {
                backoff = BACKOFF.0;
                // Changes made while there was no connection were not reported.
                self.context.invalidation.engines.notify_all();
                self.monitor(address, clock, disconnected, &mut known).await;
            }
            if self.map.write().node_of_task(address, disconnected).is_none() {
                return;
            }
        }
    }

    /// Connects to a node, checks it, and publishes the connection on the map.
    async fn connect(
        &self,
        address: &NodeAddress,
        clock: u64,
        known: &mut Option<ServerInfo>,
    ) -> Result<(), ConnectFailure> {
        let context = &*self.context;
        let generation = context.next_generation();
        let failure = |error| ConnectFailure { error, is_misconfigured: false };
        let Some(seed) = context.address.nodes.first() else { return Ok(()) };
        let on_disconnect = {
            let (cluster, address) = (Weak::clone(&self.this), address.clone());
            move || {
                if let Some(cluster) = cluster.upgrade() {
                    cluster.disconnect(&address, generation, Cause::new("the connection was closed"));
                }
            }
        };
        let endpoint = address.to_string();
        let connection = connect(context, with_address(seed, address), &endpoint, on_disconnect).await;
        let mut connection = connection.map_err(failure)?;
        let server = inspect(context, &endpoint, &mut connection).await.map_err(failure)?;
        let is_master = server.role == "master";
        let unsuitable = |error| ConnectFailure { error, is_misconfigured: is_master };
        check_setup(&context.settings, &endpoint, &server, known.as_ref()).map_err(unsuitable)?;
        for _ in 0..3 {
            let sample = sample_clock(&context.clock, clock, &mut connection).await;
            sample
                .map_err(|error| failure(connect_error(&error, context.request_info(&endpoint, "TIME"))))?;
        }
        let own: Vec<bool> =
            self.map.read().owners.iter().map(|owner| owner.as_ref() == Some(address)).collect();
        if own.contains(&true) {
            let owns_name = |name: &str| own.get(slot_of_name(name)).copied().unwrap_or(false);
            probe(context, &endpoint, &mut connection, owns_name).await.map_err(unsuitable)?;
        }
        connection.lift_reply_limit();
        let tracking = enable_tracking(&endpoint, &mut connection).await;
        let is_replacement =
            known.replace(server.clone()).is_some_and(|previous| previous.run_id != server.run_id);
        context.on_server(&endpoint, server, is_replacement);
        let mut map = self.map.write();
        if let Some(node) = map.node_mut(address) {
            let connection = connection.clone();
            node.connection = Ok(NodeConnection { connection, generation, tracking, clock });
        }
        drop(map);
        // The connection may have been closed before it was published.
        if connection.has_ended() {
            self.disconnect(address, generation, Cause::new("the connection was closed"));
        }
        Ok(())
    }

    /// Samples the node's clock and checks the node at intervals, until the connection is lost.
    async fn monitor(
        &self,
        address: &NodeAddress,
        clock: u64,
        disconnected: &Arc<Notify>,
        known: &mut Option<ServerInfo>,
    ) {
        let context = &*self.context;
        let (mut sampled, mut checked) = (context.clock.local(), context.clock.local());
        loop {
            let node = match self.map.read().node(address) {
                Some(Node { connection: Ok(node), .. }) => node.clone(),
                _ => return,
            };
            if within(Duration::from_micros(RECENT), disconnected.notified()).await.is_some() {
                continue;
            }
            // The store's time depends on every node's clock, while most calls sample one of them.
            let now = context.clock.local();
            let is_used = self.last_used.load(Ordering::Relaxed).saturating_add(2 * RECENT) > now;
            if !is_used && Duration::from_micros(now.saturating_sub(sampled)) < SAMPLE_EVERY {
                continue;
            }
            sampled = now;
            let mut connection = node.connection.clone();
            let is_due = Duration::from_micros(now.saturating_sub(checked)) >= SAMPLE_EVERY * CHECK_EVERY;
            let work = async {
                let sample = sample_clock(&context.clock, clock, &mut connection).await;
                sample.map_err(|error| client_cause(format_args!("the connection failed"), &error))?;
                match is_due {
                    true => check_again(context, &address.to_string(), &mut connection, known).await,
                    false => Ok(()),
                }
            };
            let cause = match within(context.settings.deadline, work).await {
                Some(Ok(())) => {
                    checked = if is_due { now } else { checked };
                    continue;
                }
                Some(Err(cause)) => cause,
                None => Cause::new("it did not reply in time"),
            };
            self.disconnect(address, node.generation, cause);
        }
    }
}

/// Checks a node again, because its configuration may have changed.
async fn check_again(
    context: &ConnectionContext,
    endpoint: &str,
    connection: &mut Connection,
    known: &mut Option<ServerInfo>,
) -> Result<(), Cause> {
    let server = inspect(context, endpoint, connection).await.map_err(|error| cause_of(&error))?;
    if known.as_ref() == Some(&server) {
        return Ok(());
    }
    let checked = check_setup(&context.settings, endpoint, &server, known.as_ref());
    *known = Some(server);
    checked.map_err(|error| cause_of(&error))
}

async fn cluster_slots(connection: &mut Connection) -> Result<Value, RedisError> {
    connection.send(&[cmd("CLUSTER").arg("SLOTS")], || {}).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

fn share_of(deadline: Duration, count: usize) -> Duration {
    deadline / u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// Returns the connection parameters of the URL with a node's address.
fn with_address(seed: &ConnectionInfo, address: &NodeAddress) -> ConnectionInfo {
    let (host, port) = (address.host.clone(), address.port);
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
