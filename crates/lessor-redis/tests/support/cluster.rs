//! Three servers that form a cluster, set up without any client library.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use crate::support::dice::number_from_env;
use crate::support::{Server, free_port, query_all};

pub(crate) const NODES: usize = 3;
const SLOTS: usize = 16_384;

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    /// Starts a cluster whose servers have these command-line options.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::join((0..NODES).map(|_| node(options)).collect())
    }

    /// Starts a cluster whose servers each have a TLS port as well.
    pub(crate) fn start_with_tls(options: &[String]) -> (Self, Vec<u16>) {
        let ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let node = |port: &u16| {
            let port = port.to_string();
            let mut all = vec!["--tls-port", &port, "--tls-cluster", "yes"];
            all.extend(options.iter().map(String::as_str));
            node(&all)
        };
        (Self::join(ports.iter().map(node).collect()), ports)
    }

    fn join(nodes: Vec<Server>) -> Self {
        let cluster = Self { nodes };
        for (at, node) in cluster.nodes.iter().enumerate() {
            let (first, last) = (at * SLOTS / NODES, (at + 1) * SLOTS / NODES - 1);
            assert_eq!(
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]),
                "+OK"
            );
            // The epochs settle disagreements between the nodes.
            assert_eq!(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]), "+OK");
        }
        for other in &cluster.nodes[1..] {
            meet(&cluster.nodes[0], other);
        }
        cluster.wait_until_ok();
        cluster
    }

    /// Adds a server that owns no slots.
    pub(crate) fn add(&mut self, options: &[&str]) {
        let new = node(options);
        meet(&self.nodes[0], &new);
        self.nodes.push(new);
        self.wait_until_ok();
    }

    pub(crate) fn wait_until_ok(&self) {
        let all = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in &self.nodes {
            wait_for("the cluster to be there", || {
                let info = query_all(node.port, &["CLUSTER", "INFO"]).join("");
                info.contains("cluster_state:ok") && info.contains(&all)
            });
        }
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }

    pub(crate) fn id(&self, node: usize) -> String {
        query_all(self.nodes[node].port, &["CLUSTER", "MYID"]).remove(0)
    }

    pub(crate) fn slot(&self, name: &str) -> String {
        query_all(self.nodes[0].port, &["CLUSTER", "KEYSLOT", name]).remove(0)
    }

    /// Returns the node that owns the record of this name.
    pub(crate) fn owner(&self, name: &str) -> usize {
        let is_own = |node: &Server| !node.command(&["GET", name]).starts_with('-');
        self.nodes.iter().position(is_own).unwrap()
    }

    pub(crate) fn size(&self, node: usize) -> usize {
        query_all(self.nodes[node].port, &["DBSIZE"]).remove(0).parse().unwrap()
    }

    /// Begins the migration of a slot.
    pub(crate) fn begin_to_move(&self, slot: &str, from: usize, to: usize) {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        assert_eq!(target.command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &self.id(from)]), "+OK");
        assert_eq!(source.command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &self.id(to)]), "+OK");
    }

    /// Migrates all records of a slot.
    pub(crate) fn move_records(&self, slot: &str, from: usize, to: usize) -> usize {
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let names = query_all(source.port, &["CLUSTER", "GETKEYSINSLOT", slot, "1000"]);
        for name in &names {
            let port = target.port.to_string();
            assert_eq!(source.command(&["MIGRATE", "127.0.0.1", &port, name, "0", "5000"]), "+OK");
        }
        names.len()
    }

    /// Ends the migration of a slot.
    pub(crate) fn end_move(&self, slot: &str, from: usize, to: usize) {
        let id = self.id(to);
        for node in [to, from] {
            assert_eq!(self.nodes[node].command(&["CLUSTER", "SETSLOT", slot, "NODE", &id]), "+OK");
        }
    }
}

fn node(options: &[&str]) -> Server {
    let bus = free_port().to_string();
    let mut all = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &bus];
    all.extend(options);
    Server::start(&all)
}

/// Computes the slot of a name without braces.
pub(crate) fn slot_of(name: &str) -> u16 {
    let mut crc: u32 = 0;
    for byte in name.bytes() {
        crc ^= u32::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 } & 0xffff;
        }
    }
    u16::try_from(crc % 16_384).unwrap()
}

/// Polls until a condition holds, with a generous deadline.
pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..100 * number_from_env("LESSOR_PATIENCE", 60) {
        if is_so() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

fn meet(node: &Server, other: &Server) {
    let bus = query_all(other.port, &["CONFIG", "GET", "cluster-port"]).remove(1);
    assert_eq!(node.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string(), &bus]), "+OK");
}
