//! The demand of a test.

/// How often an effect may happen, compared with a run without a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// As often as without a fault. The function finishes, after at most seven further calls.
    #[default]
    ExactlyOnce,
    /// At most as often as without a fault. The function may fail forever.
    AtMostOnce,
    /// At least as often as without a fault. The function finishes.
    AtLeastOnce,
}
