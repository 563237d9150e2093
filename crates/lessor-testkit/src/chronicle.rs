//! A second implementation of a record's history, as simple as possible, and independent of the
//! engine's.

use std::time::Duration;

use lessor_core::{EndedBy, HistoryEntry, HistoryKind, Timestamp};

/// The default maximum number of entries, less the most that the last grant and a former one with
/// two entries have.
const EARLIER: usize = 16 - 5 - 2;

/// An entry: what happened, when, attempt, token, holder, count, smallest time left, and by whom.
pub(crate) type Item = (HistoryKind, Timestamp, u32, u64, Option<String>, u32, Option<Duration>, EndedBy);

pub(crate) fn item(entry: &HistoryEntry) -> Item {
    (
        entry.kind(),
        entry.at(),
        entry.attempt(),
        entry.token().as_u64(),
        entry.holder().map(str::to_owned),
        entry.count(),
        entry.least_ttl_left(),
        entry.by(),
    )
}

/// The grants of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chronicle {
    earlier: Vec<Vec<Item>>,
    former: Option<Vec<Item>>,
    attempt: u32,
    token: u64,
    holder: Option<String>,
    granted_at: Timestamp,
    renewed: Option<(Timestamp, u32, Duration)>,
    checkpointed: Option<(Timestamp, u32)>,
    pub(crate) abandoned: bool,
    pub(crate) by: EndedBy,
}

impl Chronicle {
    pub(crate) fn new(attempt: u32, token: u64, holder: Option<String>, granted_at: Timestamp) -> Self {
        Self {
            earlier: Vec::new(),
            former: None,
            attempt,
            token,
            holder,
            granted_at,
            renewed: None,
            checkpointed: None,
            abandoned: false,
            by: EndedBy::Holder,
        }
    }

    /// Returns the history with this grant after the last one, which ended with `ends`.
    pub(crate) fn followed_by(mut self, ends: &[(HistoryKind, Timestamp)], next: Self) -> Self {
        let last = self.of_last(ends);
        if self.former.is_none() && last.len() == 2 {
            return Self { earlier: self.earlier, former: Some(last), ..next };
        }
        self.earlier.extend(self.former.take());
        self.earlier.push(last);
        while self.earlier.iter().map(Vec::len).sum::<usize>() > EARLIER {
            self.earlier.remove(0);
        }
        Self { earlier: self.earlier, ..next }
    }

    pub(crate) fn renew(&mut self, now: Timestamp, left: Duration) {
        let (_, count, least) = self.renewed.unwrap_or((now, 0, left));
        self.renewed = Some((now, count + 1, least.min(left)));
    }

    pub(crate) fn checkpoint(&mut self, now: Timestamp) {
        let (_, count) = self.checkpointed.unwrap_or((now, 0));
        self.checkpointed = Some((now, count + 1));
    }

    /// Returns the entries, if the last grant ended with `ends`.
    pub(crate) fn items(&self, ends: &[(HistoryKind, Timestamp)]) -> Vec<Item> {
        let grants = self.earlier.iter().chain(&self.former);
        grants.flatten().cloned().chain(self.of_last(ends)).collect()
    }

    fn of_last(&self, ends: &[(HistoryKind, Timestamp)]) -> Vec<Item> {
        let item = |kind, at, count, left, by| {
            (kind, at, self.attempt, self.token, self.holder.clone(), count, left, by)
        };
        let holder = EndedBy::Holder;
        let renewed =
            self.renewed.map(|(at, count, least)| item(HistoryKind::Renewed, at, count, Some(least), holder));
        let checkpointed =
            self.checkpointed.map(|(at, count)| item(HistoryKind::Checkpointed, at, count, None, holder));
        let mut items = vec![item(HistoryKind::Granted, self.granted_at, 1, None, holder)];
        items.extend(renewed);
        items.extend(checkpointed);
        items.sort_by_key(|item| item.1);
        for (kind, at) in ends {
            let is_outcome =
                matches!(kind, HistoryKind::Completed | HistoryKind::Failed | HistoryKind::Released);
            items.push(item(*kind, *at, 1, None, if is_outcome { self.by } else { holder }));
        }
        items
    }
}
