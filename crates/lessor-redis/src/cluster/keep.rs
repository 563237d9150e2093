//! Looks after a cluster's map, and after a connection to each node that is on it.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lessor_core::StoreError;
use redis::{ConnectionAddr, ConnectionInfo, RedisError, Value, cmd};
use tokio::sync::Notify;

use super::map::{Drawn, Master, Node, Unfit, Wired};
use super::{Cluster, slot_of_name};
use crate::failure::{Effect, is_denied, kind_of, unanswered};
use crate::link::{BACKOFF, CHECK_EVERY, Link, SAMPLE_EVERY};
use crate::probe;
use crate::server::{self, Server};
use crate::wire::Wire;

/// How often nodes are asked for the time while something else is sent, in µs.
pub(super) const RECENT: u64 = 100_000;

impl Cluster {
    /// Looks after the map until the store is closed.
    pub(crate) async fn watch(&self, link: &Arc<Link>) {
        while !self.is_closed.load(Ordering::SeqCst) {
            self.stale.notified().await;
            // Many may find the same at once.
            tokio::time::sleep(BACKOFF.0).await;
            let nodes: Vec<(Master, Wire)> = {
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

    pub(super) async fn read_from_seeds(&self, link: &Arc<Link>) -> Result<(), StoreError> {
        let seeds = &link.address.nodes;
        // All of them together, so that there is time left for the nodes.
        let limit = share_of(link.settings.deadline, 3 * seeds.len());
        let mut problem = unanswered(Effect::Read, "the URL names no server".to_owned());
        for seed in seeds {
            let place = seed.addr().to_string();
            let read = async {
                let mut wire = server::connect(link, seed.clone(), &place, || {}).await?;
                ask_for_slots(&mut wire).await.map_err(|error| match error.code() {
                    Some("ERR") if !is_denied(&error) => StoreError::Misconfigured {
                        reason: format!("{place} is not part of a cluster; write `redis://` before its host"),
                    },
                    _ => server::failed(&error, link.asked(&place, "CLUSTER SLOTS")),
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
        let Some(drawn) = Drawn::parse(slots, asked) else { return false };
        let masters = drawn.masters.clone();
        self.map.write().redraw(drawn);
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
        let mut known = None;
        loop {
            let late = || unanswered(Effect::Read, format!("{master} did not answer in time"));
            let connected =
                within(share_of(link.settings.deadline, 2), self.connect(link, master, clock, &mut known))
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
                self.while_it_works(link, master, clock, lost, &mut known).await;
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
        known: &mut Option<Server>,
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
        let server = server::look(link, &place, &mut wire).await.map_err(unfit)?;
        let is_master = server.role == "master";
        let setup = |error| Unfit { error, is_setup: is_master };
        server::check(&link.settings, &place, &server, known.as_ref()).map_err(setup)?;
        for _ in 0..3 {
            let sample = server::sample(&link.clock, clock, &mut wire).await;
            sample.map_err(|error| unfit(server::failed(&error, link.asked(&place, "TIME"))))?;
        }
        let own: Vec<bool> =
            self.map.read().owners.iter().map(|owner| owner.as_ref() == Some(master)).collect();
        if own.contains(&true) {
            let is_own = |name: &str| own.get(slot_of_name(name)).copied().unwrap_or(false);
            probe::probe(link, &place, &mut wire, is_own).await.map_err(setup)?;
        }
        wire.trust();
        let is_told = server::track(&place, &mut wire).await;
        let is_other = known.replace(server.clone()).is_some_and(|former| former.run_id != server.run_id);
        link.met(&place, server, is_other);
        let mut map = self.map.write();
        if let Some(node) = map.node_mut(master) {
            node.wired = Ok(Wired { wire: wire.clone(), generation, is_told, clock });
        }
        drop(map);
        // It may have been closed before anybody could be told to make another one.
        if wire.is_over() {
            self.lose(master, generation, "the connection was closed");
        }
        Ok(())
    }

    /// Until the connection is lost. Asks for the time every so often.
    async fn while_it_works(
        &self,
        link: &Link,
        master: &Master,
        clock: u64,
        lost: &Arc<Notify>,
        known: &mut Option<Server>,
    ) {
        let (mut sampled, mut checked) = (link.clock.local(), link.clock.local());
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
            let is_due = Duration::from_micros(now.saturating_sub(checked)) >= SAMPLE_EVERY * CHECK_EVERY;
            let work = async {
                let sample = server::sample(&link.clock, clock, &mut wire).await;
                sample.map_err(|error| kind_of(&error))?;
                match is_due {
                    true => check_again(link, &master.to_string(), &mut wire, known).await,
                    false => Ok(()),
                }
            };
            let reason = match within(link.settings.deadline, work).await {
                Some(Ok(())) => {
                    checked = if is_due { now } else { checked };
                    continue;
                }
                Some(Err(reason)) => reason,
                None => "it did not answer in time".to_owned(),
            };
            self.lose(master, wired.generation, &reason);
        }
    }
}

/// What is set at the node may have changed since.
async fn check_again(
    link: &Link,
    place: &str,
    wire: &mut Wire,
    known: &mut Option<Server>,
) -> Result<(), String> {
    let server = server::look(link, place, wire).await.map_err(|error| error.to_string())?;
    if known.as_ref() == Some(&server) {
        return Ok(());
    }
    let checked = server::check(&link.settings, place, &server, known.as_ref());
    *known = Some(server);
    checked.map_err(|error| error.to_string())
}

async fn ask_for_slots(wire: &mut Wire) -> Result<Value, RedisError> {
    wire.send(&[cmd("CLUSTER").arg("SLOTS")], || {}).await
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
