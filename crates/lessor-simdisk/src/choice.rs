//! The choices that a power loss makes.

use crate::history::{Length, Version};
use crate::operation::Operation;

/// One thing that a power loss decides. The answer 0 always is that what was not synced is lost; an answer that is too
/// large is taken for the largest there is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Choice<'a> {
    /// 1: it happened.
    Operation(&'a Operation),
    /// The file's length, from the durable one to the one that shows.
    #[expect(missing_docs, reason = "said above")]
    Length { file: &'a str, durable: u64, visible: u64, lengths: &'a [Length] },
    /// Which version of a sector there is: 0 for the durable one, then those written since, in order.
    #[expect(missing_docs, reason = "said above")]
    Sector { file: &'a str, sector: u64, versions: &'a [Version] },
    /// How many bytes of that version there are, 1 to 511, before it goes on as an older one. 0: all of it.
    #[expect(missing_docs, reason = "said above")]
    Torn { file: &'a str, sector: u64, number: u64, version: &'a Version },
    /// As which older version, 0 to `number` - 1, the torn sector goes on.
    #[expect(missing_docs, reason = "said above")]
    Under { file: &'a str, sector: u64, number: u64 },
}

impl Choice<'_> {
    /// The answer that keeps everything.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.as_of(u64::MAX)
    }

    /// The answer that keeps what was done up to that time and nothing later, and tears nothing.
    #[must_use]
    pub fn as_of(&self, time: u64) -> u64 {
        match self {
            Self::Operation(operation) => u64::from(operation.time() <= time),
            Self::Length { durable, lengths, .. } => {
                let reached = lengths.iter().filter(|length| length.time() <= time);
                reached.map(Length::bytes).fold(*durable, u64::max)
            }
            Self::Sector { versions, .. } => {
                versions.partition_point(|version| version.time() <= time) as u64
            }
            Self::Torn { .. } | Self::Under { .. } => 0,
        }
    }

    /// How many answers there are without tears, and with lengths only as they were before and are now.
    #[must_use]
    pub fn options(&self) -> u64 {
        match self {
            Self::Operation(_) | Self::Length { .. } => 2,
            Self::Sector { versions, .. } => versions.len() as u64 + 1,
            Self::Torn { .. } | Self::Under { .. } => 1,
        }
    }
}
