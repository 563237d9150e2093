//! The choices that a power loss makes.

use crate::history::{Length, Version};
use crate::operation::Operation;

/// One thing that a power loss decides. The answer 0 always means that unsynced data is lost. An
/// answer above the highest one counts as the highest.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Choice<'a> {
    /// The fate of an operation on the folder: 1 if it happened, 0 if it did not.
    Operation(&'a Operation),
    /// The length of a file, from the durable one to the visible one.
    #[expect(missing_docs, reason = "documented with the variant")]
    Length { file: &'a str, durable: u64, visible: u64, lengths: &'a [Length] },
    /// The version of a sector: 0 for the durable one, then the unsynced ones in order.
    #[expect(missing_docs, reason = "documented with the variant")]
    Sector { file: &'a str, sector: u64, versions: &'a [Version] },
    /// The number of bytes of that version, 1 to 511, before the sector continues with an older
    /// version. 0 for the whole sector.
    #[expect(missing_docs, reason = "documented with the variant")]
    Torn { file: &'a str, sector: u64, number: u64, version: &'a Version },
    /// The older version, 0 to `number` - 1, with which the torn sector continues.
    #[expect(missing_docs, reason = "documented with the variant")]
    Under { file: &'a str, sector: u64, number: u64 },
}

impl Choice<'_> {
    /// Returns the answer that keeps everything.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.as_of(u64::MAX)
    }

    /// Returns the answer that keeps everything up to `time` and nothing later, and tears nothing.
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

    /// Returns the number of answers without tears, and with no length but the durable and the
    /// visible one.
    #[must_use]
    pub fn options(&self) -> u64 {
        match self {
            Self::Operation(_) | Self::Length { .. } => 2,
            Self::Sector { versions, .. } => versions.len() as u64 + 1,
            Self::Torn { .. } | Self::Under { .. } => 1,
        }
    }
}
