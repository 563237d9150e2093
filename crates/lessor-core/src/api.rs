//! The types that applications use.

pub(crate) mod acquire;
pub(crate) mod close;
pub(crate) mod engine;
pub(crate) mod explain;
pub(crate) mod lease;
pub(crate) mod list;
pub(crate) mod namespace;
pub(crate) mod once;
mod operate;
pub(crate) mod resolve;
mod terms;
pub(crate) mod within;
