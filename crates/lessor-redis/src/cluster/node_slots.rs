//! The slots that a node reports as its own.

use super::node::NodeAddress;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSlots {
    /// The slots as the node lists them, such as `0-99 [93->-ID]`.
    pub(crate) slots: String,
    /// The nodes that some of these slots are migrating to.
    pub(crate) migrating_to: Vec<NodeAddress>,
}

impl NodeSlots {
    /// Parses the node's own line of its reply to `CLUSTER NODES`.
    pub(crate) fn parse(nodes: &str) -> Option<Self> {
        let line = |is_wanted: &dyn Fn(&[&str]) -> bool| {
            let mut lines = nodes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.find(|fields| is_wanted(fields))
        };
        let own =
            line(&|fields| fields.get(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself")))?;
        let slots = own.get(8..).unwrap_or_default();
        let mut migrating_to = Vec::new();
        for slot in slots {
            let Some((_, id)) = slot.split_once("->-") else { continue };
            let target = line(&|fields| fields.first() == Some(&id.trim_end_matches(']')))?;
            let address = target.get(1)?.split(['@', ',']).next()?;
            migrating_to.push(NodeAddress::parse(address, "")?);
        }
        Some(Self { slots: slots.join(" "), migrating_to })
    }

    /// Returns the number of slots.
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
    fn own_slots_and_migration_targets_are_parsed_from_cluster_nodes() {
        let nodes = "07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426238317239 4 connected\n\
                     67ed [::1]:30002@31002, master - 0 1426238316232 2 connected 5461-10922\n\
                     e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460 7000 [93->-67ed] [77-<-67ed]\n";
        let own = NodeSlots::parse(nodes).unwrap();
        assert_eq!(own.count(), 5_462);
        assert_eq!(own.migrating_to, [NodeAddress { host: "::1".to_owned(), port: 30_002 }]);
        assert_eq!(NodeSlots::parse("nonsense"), None);
    }
}
