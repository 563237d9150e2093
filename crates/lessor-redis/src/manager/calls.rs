//! Calls: requests and their replies, each bounded by a deadline.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_lite::future;
use lessor_core::{Cause, StoreError, Timestamp};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};

use super::connection_manager::{ActiveRoute, ConnectionManager, DownReason, Route};
use super::deadlines::Expiry;
use crate::cluster::node::{NodeAddress, SentTo};
use crate::cluster::node_slots::NodeSlots;
use crate::cluster::slot::SLOTS;
use crate::node::clock::SINGLE_SERVER;
use crate::node::tracking::client_caching;
use crate::protocol::errors::{Effect, cause_of, classify, command_name, no_reply};
use crate::protocol::values::text_of;

/// The number of times that the nodes' slots are read until the nodes agree.
const MAX_LAYOUT_READS: usize = 100;

impl ConnectionManager {
    /// Returns the deadline of a call that begins now, in µs of this machine's time.
    pub(crate) fn call_deadline(&self) -> u64 {
        let timeout = u64::try_from(self.call_timeout().as_micros()).unwrap_or(u64::MAX);
        self.context.clock.local().saturating_add(timeout)
    }

    /// Returns the time that one call may take: half of an operation's deadline, because the engine
    /// may need a second call to find out what became of the first.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.context.settings.deadline / 2
    }

    /// Sends a command and waits for its reply until `deadline`. Returns the reply, and an upper
    /// bound of the time on the clock of the server that replied.
    pub(crate) async fn call(
        &self,
        command: &Cmd,
        effect: Effect,
        deadline: u64,
    ) -> Result<(Value, Timestamp), StoreError> {
        self.exchange(Some(command), effect, deadline, async |active, sent| {
            let reply = active.send(command, false, sent).await?;
            let now = match sent {
                Some(SentTo { node: Some(_), clock, .. }) => self.context.clock.latest_for(*clock),
                _ => self.context.clock.now(),
            };
            Ok((reply, now))
        })
        .await
    }

    /// Calls a script and waits for its reply until `deadline`. Returns `None` if the server does
    /// not have the script. With `tracking`, the server reports later changes to the keys that the
    /// script reads.
    pub(crate) async fn call_script(
        &self,
        command: &Cmd,
        effect: Effect,
        tracking: bool,
        deadline: u64,
    ) -> Result<Option<Value>, StoreError> {
        self.exchange(Some(command), effect, deadline, async |active, sent| {
            match active.send(command, tracking, sent).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
                reply => reply.map(Some),
            }
        })
        .await
    }

    /// Returns the nodes of a cluster with the slots that they report as their own. Returns nothing
    /// if there is a single server.
    pub(crate) async fn cluster_layout(&self) -> Result<Vec<(NodeAddress, NodeSlots)>, StoreError> {
        let Some(cluster) = self.cluster() else { return Ok(Vec::new()) };
        for _ in 0..MAX_LAYOUT_READS {
            let mut nodes = cluster.owning_nodes();
            let mut layout: Vec<(NodeAddress, NodeSlots)> = Vec::new();
            while let Some(node) = nodes.pop() {
                let reply = self.call_node(Some(&node), cmd("CLUSTER").arg("NODES"), Effect::Read).await?;
                let own = NodeSlots::parse(&text_of(reply)).ok_or_else(|| {
                    StoreError::incompatible(format!("unexpected reply to CLUSTER NODES from {node}"))
                })?;
                for target in &own.migrating_to {
                    if !nodes.contains(target)
                        && layout.iter().all(|(known, _)| known != target)
                        && node != *target
                    {
                        cluster.add_node(target.clone());
                        nodes.push(target.clone());
                    }
                }
                layout.push((node, own));
            }
            if layout.iter().map(|(_, own)| own.count()).sum::<usize>() >= SLOTS {
                return Ok(layout);
            }
            // The nodes do not agree yet, or a slot has no owner.
            cluster.wait_for_change().await;
        }
        let reason = format!("{}: the cluster does not cover all hash slots", self.context.address.endpoint);
        Err(StoreError::unavailable(reason))
    }

    /// Sends commands on one key each and returns all replies. A single server receives them as one
    /// pipeline. A cluster receives them one after the other, because the keys may be on several
    /// nodes.
    pub(crate) async fn call_each(&self, commands: &[Cmd], effect: Effect) -> Result<Vec<Value>, StoreError> {
        self.exchange(commands.first(), effect, self.call_deadline(), async |active, sent| {
            let connection = match &mut active.route {
                Route::Single(connection) if !commands.is_empty() => connection,
                _ => {
                    let mut values = Vec::with_capacity(commands.len());
                    for command in commands {
                        values.push(active.send(command, false, sent).await?);
                    }
                    return Ok(values);
                }
            };
            let generation = active.generation;
            let mark = || *sent = Some(SentTo { node: None, generation, clock: SINGLE_SERVER });
            connection.try_pipeline(&commands.iter().collect::<Vec<_>>(), mark).await
        })
        .await
    }

    /// Sends a command to a node of a cluster, or to the single server if `node` is `None`.
    pub(crate) async fn call_node(
        &self,
        node: Option<&NodeAddress>,
        command: &Cmd,
        effect: Effect,
    ) -> Result<Value, StoreError> {
        self.exchange(Some(command), effect, self.call_deadline(), async |active, sent| {
            match (&active.route, node) {
                (Route::Cluster(cluster), Some(node)) => cluster.send_to_node(node, command, sent).await,
                _ => active.send(command, false, sent).await,
            }
        })
        .await
    }

    fn expiry(&self, deadline: u64) -> Expiry<'_, impl Fn() -> u64 + Unpin> {
        Expiry::new(&self.deadlines, || self.context.clock.local(), deadline)
    }

    async fn exchange<T>(
        &self,
        command: Option<&Cmd>,
        effect: Effect,
        deadline: u64,
        send: impl AsyncFnOnce(&mut ActiveRoute, &mut Option<SentTo>) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        // While this is `None`, the request certainly has no effect.
        let mut sent = None;
        // Each call allocates this future, and allocations below 1 KiB are several times as fast.
        // So rarely used futures are boxed, and no future is moved into another one.
        let outcome = {
            let mut exchange = pin!(async {
                let mut active = match self.current() {
                    Ok(active) => active,
                    Err(_) => Box::pin(self.wait_for_route()).await?,
                };
                Ok(send(&mut active, &mut sent).await)
            });
            let mut expiry = self.expiry(deadline);
            let outcome = future::poll_fn(|context| match exchange.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending => Pin::new(&mut expiry).poll(context).map(|()| None),
            });
            outcome.await
        };
        let endpoint = match &sent {
            Some(SentTo { node: Some(node), .. }) => node.to_string(),
            _ => self.context.address.endpoint.clone(),
        };
        let name = || command.map(command_name).unwrap_or_default();
        match (outcome, sent) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(Ok(reply))), _) => Ok(reply),
            (Some(Ok(Err(_))), None) if self.is_closed() => {
                Err(StoreError::unavailable("the store is closed"))
            }
            (Some(Ok(Err(error))), None) => {
                Err(classify(&error, self.context.request_info(&endpoint, &name()), Effect::Read).error)
            }
            (Some(Ok(Err(error))), Some(sent)) => {
                let failure = classify(&error, self.context.request_info(&endpoint, &name()), effect);
                if failure.breaks_connection {
                    self.drop_connection(&sent, cause_of(&failure.error));
                }
                Err(failure.error)
            }
            (None, None) => {
                let cause = match (self.current(), self.cluster()) {
                    (Err(Some(DownReason { cause, is_permanent: true })), _) => {
                        return Err(StoreError::Misconfigured(cause));
                    }
                    (Err(Some(reason)), _) => reason.cause,
                    (_, Some(cluster)) => {
                        cluster.first_problem().unwrap_or_else(|| Cause::new("its nodes do not agree"))
                    }
                    _ => Cause::new("it was not established in time"),
                };
                let cause = cause.map_reason(|reason| format!("no connection to {endpoint}: {reason}"));
                Err(StoreError::Unavailable(cause))
            }
            (None, Some(sent)) => {
                let reason =
                    format!("{endpoint} did not reply to {} within {:?}", name(), self.call_timeout());
                let cause = Cause::new(reason);
                // Replies arrive in order, so the later ones on this connection would be late too.
                self.drop_connection(&sent, cause.clone());
                Err(no_reply(effect, cause))
            }
        }
    }

    /// Drops the connection that a request was sent on.
    fn drop_connection(&self, sent: &SentTo, cause: Cause) {
        match (&sent.node, self.cluster()) {
            (Some(node), Some(cluster)) => cluster.disconnect(node, sent.generation, cause),
            _ => self.disconnect(Some(sent.generation), DownReason::transient(cause)),
        }
    }
}

impl ActiveRoute {
    /// Sends a command. `sent` is set to the connection that the command was sent on, unless a node
    /// replied that it did not execute the command.
    async fn send(
        &mut self,
        command: &Cmd,
        tracking: bool,
        sent: &mut Option<SentTo>,
    ) -> Result<Value, RedisError> {
        let connection = match &mut self.route {
            Route::Cluster(cluster) => return cluster.send(command, tracking, sent).await,
            Route::Single(connection) => connection,
        };
        let generation = self.generation;
        let mark = || *sent = Some(SentTo { node: None, generation, clock: SINGLE_SERVER });
        if !tracking || !self.tracking {
            return connection.send(&[command], mark).await;
        }
        connection.send(&[&client_caching(), command], mark).await
    }
}
