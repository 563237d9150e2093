//! The error codes that the engine itself stores.

/// The error code of work that panicked.
pub const PANICKED: &str = "panicked";
/// The error code of work that returned an error, unless its [class](crate::FailureClass::code) has
/// another one.
pub const ERRORED: &str = "error";
/// The error code of work whose result or error could not be stored, because it was too large or
/// would not read back.
pub const RESULT_REFUSED: &str = "result_refused";
