//! Sends requests and waits for their answers, each by its deadline.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_lite::future;
use lessor_core::{StoreError, Timestamp};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};

use super::{Link, Live, Reason, Way};
use crate::clock::ONLY;
use crate::cluster::{Master, Own, SLOTS, caching};
use crate::deadlines::Expiry;
use crate::failure::{Effect, judge, name_of, unanswered};
use crate::server;

/// How often the nodes of a cluster are asked until their answers are of one mind.
const LAYOUTS: usize = 100;

impl Link {
    /// When a call that begins now ends at the latest, by this machine's time.
    pub(crate) fn limit(&self) -> u64 {
        let patience = u64::try_from(self.patience().as_micros()).unwrap_or(u64::MAX);
        self.clock.local().saturating_add(patience)
    }

    /// How long one call takes at most: an operation of an engine may need a second one, to look what became of the first.
    pub(crate) fn patience(&self) -> Duration {
        self.settings.deadline / 2
    }

    /// Sends a command and waits for its answer, at most until `limit`; with what the clock of whoever answered is at most.
    pub(crate) async fn call(
        &self,
        command: &Cmd,
        effect: Effect,
        limit: u64,
    ) -> Result<(Value, Timestamp), StoreError> {
        self.exchange(Some(command), effect, limit, async |live, sent| {
            let answer = live.send(command, false, sent).await?;
            let now = match sent {
                Some(Sent { master: Some(_), clock, .. }) => self.clock.now_of(*clock),
                _ => self.clock.now(),
            };
            Ok((answer, now))
        })
        .await
    }

    /// The same for a script that the server may not have, which is `None`. If it `is_told`, the server shall tell when what the script
    /// reads changes.
    pub(crate) async fn call_script(
        &self,
        command: &Cmd,
        effect: Effect,
        is_told: bool,
        limit: u64,
    ) -> Result<Option<Value>, StoreError> {
        self.exchange(Some(command), effect, limit, async |live, sent| {
            match live.send(command, is_told, sent).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
                answer => answer.map(Some),
            }
        })
        .await
    }

    /// Which nodes of a cluster keys are on, and what those say of that; nothing where there is only one server.
    pub(crate) async fn layout(&self) -> Result<Vec<(Master, Own)>, StoreError> {
        let Some(cluster) = self.cluster() else { return Ok(Vec::new()) };
        for _ in 0..LAYOUTS {
            let mut masters = cluster.masters();
            let mut layout: Vec<(Master, Own)> = Vec::new();
            while let Some(master) = masters.pop() {
                let nodes = self.ask(Some(&master), cmd("CLUSTER").arg("NODES"), Effect::Read).await?;
                let own = Own::parse(&server::text_of(nodes)).ok_or_else(|| StoreError::Incompatible {
                    reason: format!("{master} answered CLUSTER NODES in a way that is not known"),
                })?;
                for target in &own.targets {
                    if !masters.contains(target)
                        && layout.iter().all(|(known, _)| known != target)
                        && master != *target
                    {
                        cluster.keep(target.clone());
                        masters.push(target.clone());
                    }
                }
                layout.push((master, own));
            }
            if layout.iter().map(|(_, own)| own.count()).sum::<usize>() >= SLOTS {
                return Ok(layout);
            }
            // Nodes do not agree on that yet, or a part has no node.
            cluster.wait().await;
        }
        let reason = format!("{} is a cluster of which not every part has a node", self.address.place);
        Err(StoreError::Unavailable { reason })
    }

    /// Commands, each for one key, one behind the other; on a cluster, where they may be on several nodes, one after the
    /// other.
    pub(crate) async fn each(&self, commands: &[Cmd], effect: Effect) -> Result<Vec<Value>, StoreError> {
        self.exchange(commands.first(), effect, self.limit(), async |live, sent| {
            let wire = match &mut live.way {
                Way::One(wire) if !commands.is_empty() => wire,
                _ => {
                    let mut values = Vec::with_capacity(commands.len());
                    for command in commands {
                        values.push(live.send(command, false, sent).await?);
                    }
                    return Ok(values);
                }
            };
            let generation = live.generation;
            let mark = || *sent = Some(Sent { master: None, generation, clock: ONLY });
            wire.send_each(&commands.iter().collect::<Vec<_>>(), mark).await
        })
        .await
    }

    /// Asks one of the nodes, or the only one that there is.
    pub(crate) async fn ask(
        &self,
        master: Option<&Master>,
        command: &Cmd,
        effect: Effect,
    ) -> Result<Value, StoreError> {
        self.exchange(Some(command), effect, self.limit(), async |live, sent| match (&live.way, master) {
            (Way::Cluster(cluster), Some(master)) => cluster.ask(master, command, sent).await,
            _ => live.send(command, false, sent).await,
        })
        .await
    }

    fn expiry(&self, limit: u64) -> Expiry<'_, impl Fn() -> u64 + Unpin> {
        Expiry::new(&self.deadlines, || self.clock.local(), limit)
    }

    async fn exchange<T>(
        &self,
        command: Option<&Cmd>,
        effect: Effect,
        limit: u64,
        send: impl AsyncFnOnce(&mut Live, &mut Option<Sent>) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        // Until something was sent, nothing has happened for certain.
        let mut sent = None;
        // Whatever is seldom needed has a box of its own, and nothing is moved into another future: each call allocates this one,
        // which is several times as fast below one KiB.
        let outcome = {
            let mut exchange = pin!(async {
                let mut live = match self.look() {
                    Ok(live) => live,
                    Err(_) => Box::pin(self.live()).await?,
                };
                Ok(send(&mut live, &mut sent).await)
            });
            let mut expiry = self.expiry(limit);
            let outcome = future::poll_fn(|context| match exchange.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending => Pin::new(&mut expiry).poll(context).map(|()| None),
            });
            outcome.await
        };
        let place = match &sent {
            Some(Sent { master: Some(master), .. }) => master.to_string(),
            _ => self.address.place.clone(),
        };
        let name = || command.map(name_of).unwrap_or_default();
        match (outcome, sent) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(Ok(answer))), _) => Ok(answer),
            (Some(Ok(Err(_))), None) if self.is_closed() => {
                Err(StoreError::Unavailable { reason: "the store is closed".to_owned() })
            }
            (Some(Ok(Err(error))), None) => {
                Err(judge(&error, self.asked(&place, &name()), Effect::Read).error)
            }
            (Some(Ok(Err(error))), Some(sent)) => {
                let failure = judge(&error, self.asked(&place, &name()), effect);
                if failure.is_broken {
                    self.drop_wire(&sent, &failure.error.to_string());
                }
                Err(failure.error)
            }
            (None, None) => {
                let reason = match (self.look(), self.cluster()) {
                    (Err(Some(Reason { text, is_lasting: true })), _) => {
                        return Err(StoreError::Misconfigured { reason: text });
                    }
                    (Err(Some(reason)), _) => reason.text,
                    (_, Some(cluster)) => {
                        cluster.trouble().unwrap_or_else(|| "its nodes do not agree".to_owned())
                    }
                    _ => "there was none in time".to_owned(),
                };
                Err(StoreError::Unavailable { reason: format!("no connection to {place}: {reason}") })
            }
            (None, Some(sent)) => {
                let reason = format!("{place} did not answer {} in {:?}", name(), self.patience());
                // Answers come in order, so those behind this one would be late as well.
                self.drop_wire(&sent, &reason);
                Err(unanswered(effect, reason))
            }
        }
    }

    /// What something was sent on is of no more use.
    fn drop_wire(&self, sent: &Sent, reason: &str) {
        match (&sent.master, self.cluster()) {
            (Some(master), Some(cluster)) => cluster.lose(master, sent.generation, reason),
            _ => self.fall(Some(sent.generation), Reason::passing(reason)),
        }
    }
}

/// Where something was sent.
pub(crate) struct Sent {
    /// Of a cluster.
    pub(crate) master: Option<Master>,
    pub(crate) generation: u64,
    pub(crate) clock: u64,
}

impl Live {
    /// `sent` says where the command was sent, unless it was answered that it was not carried out.
    async fn send(
        &mut self,
        command: &Cmd,
        is_told: bool,
        sent: &mut Option<Sent>,
    ) -> Result<Value, RedisError> {
        let wire = match &mut self.way {
            Way::Cluster(cluster) => return cluster.send(command, is_told, sent).await,
            Way::One(wire) => wire,
        };
        let generation = self.generation;
        let mark = || *sent = Some(Sent { master: None, generation, clock: ONLY });
        if !is_told || !self.is_told {
            return wire.send(&[command], mark).await;
        }
        wire.send(&[&caching(), command], mark).await
    }
}
