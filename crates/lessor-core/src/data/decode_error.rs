//! The format version, and the reasons for which bytes are not a record.

/// The format version that this library writes, and the newest one that it reads.
pub const FORMAT_VERSION: u8 = 1;

/// The reason for which bytes could not be decoded as a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The record has a newer format.
    #[error(
        "record has format {found}, but this library reads up to {FORMAT_VERSION}; upgrade lessor to read it"
    )]
    #[non_exhaustive]
    NewerFormat {
        /// The format of the record.
        found: u8,
    },
    /// The record has a required field that was added in a newer release.
    #[error("record has field {number}, which this library does not know; upgrade lessor to read it")]
    #[non_exhaustive]
    UnknownField {
        /// The lowest number of the record's unknown fields.
        number: u32,
    },
    /// The bytes are damaged, or are not a record.
    #[error("record is damaged: {what} at byte {at}")]
    #[non_exhaustive]
    Damaged {
        /// The inconsistency that was found.
        what: &'static str,
        /// The offset in the record, in bytes.
        at: usize,
    },
}
