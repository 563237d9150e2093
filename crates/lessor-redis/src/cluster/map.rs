//! Which nodes a cluster has, whose slots are which, and what of that was connected to.

use std::sync::Arc;

use lessor_core::StoreError;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;

pub(crate) const SLOTS: usize = 16_384;

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
    pub(super) fn parse(place: &str, asked: &str) -> Option<Self> {
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

pub(super) struct Node {
    pub(super) master: Master,
    /// The connection, or why there is none.
    pub(super) wired: Result<Wired, String>,
    /// The connection is of no more use, or the node has no slots any more.
    pub(super) lost: Arc<Notify>,
    /// What was found out when the first connection was made.
    pub(super) first: Option<Result<(), Unfit>>,
}

/// Why a node cannot be used.
#[derive(Clone)]
pub(super) struct Unfit {
    pub(super) error: StoreError,
    /// It answers, but is not set up as it should be.
    pub(super) is_setup: bool,
}

#[derive(Default)]
pub(super) struct Map {
    pub(super) nodes: Vec<Node>,
    /// For each slot; `None` if nobody has it.
    pub(super) owners: Vec<Option<Master>>,
}

impl Map {
    pub(super) fn node(&self, master: &Master) -> Option<&Node> {
        self.nodes.iter().find(|node| node.master == *master)
    }

    pub(super) fn node_mut(&mut self, master: &Master) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.master == *master)
    }

    /// The one that is looked after by whoever has `lost`.
    pub(super) fn mine(&mut self, master: &Master, lost: &Arc<Notify>) -> Option<&mut Node> {
        self.node_mut(master).filter(|node| Arc::ptr_eq(&node.lost, lost))
    }

    pub(super) fn owner(&self, slot: usize) -> Option<&Master> {
        self.owners.get(slot).and_then(Option::as_ref)
    }

    /// Those that have slots.
    pub(super) fn masters(&self) -> Vec<Master> {
        let mut masters: Vec<Master> = Vec::new();
        for owner in self.owners.iter().flatten() {
            if masters.last() != Some(owner) && !masters.contains(owner) {
                masters.push(owner.clone());
            }
        }
        masters
    }

    /// Takes over what was said, and lets go of nodes that have no slots any more.
    pub(super) fn redraw(&mut self, drawn: Drawn) {
        let Drawn { owners, masters } = drawn;
        self.owners = owners;
        self.nodes.retain(|node| {
            // One that has no slots yet may be about to get some.
            let is_kept = masters.contains(&node.master) || node.wired.is_ok() || node.first.is_none();
            if !is_kept {
                node.lost.notify_one();
            }
            is_kept
        });
    }
}

/// What the answer to `CLUSTER SLOTS` says.
pub(super) struct Drawn {
    /// For each slot.
    owners: Vec<Option<Master>>,
    pub(super) masters: Vec<Master>,
}

impl Drawn {
    /// `asked` is the host of the node that said it. `None` if no node has slots.
    pub(super) fn parse(slots: Value, asked: &str) -> Option<Self> {
        let Value::Array(ranges) = slots else { return None };
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
        (!masters.is_empty()).then_some(Self { owners, masters })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

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
