//! The exchange with a server: scripts and their replies, expiry times as arrival
//! times, and the meaning of error replies.

pub(crate) mod arrival;
pub(crate) mod errors;
pub(crate) mod script_call;
pub(crate) mod scripts;
pub(crate) mod values;
