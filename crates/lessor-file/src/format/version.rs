//! The version of the format.

/// The version of the format of all files of a log.
pub(crate) const FORMAT: u32 = 1;

/// Refuses a file with a newer format, or with features that this version does not know.
pub(crate) fn check_format(what: &str, format: u32, features: u32) -> Result<(), String> {
    if format > FORMAT {
        return Err(format!(
            "{what} has format {format}, this version reads up to {FORMAT}; upgrade lessor to open it"
        ));
    }
    if features != 0 {
        return Err(format!(
            "{what} uses features ({features:#x}) that this version does not support; upgrade lessor to open it"
        ));
    }
    Ok(())
}
