//! The calls of holders, observers and operators of leases.

mod acquire;
mod finish;
mod hold;
mod list;
mod observe;
mod operate;

pub(crate) use acquire::acquire;
pub(crate) use finish::{cancel, complete, fail, release};
pub(crate) use hold::{checkpoint, extend};
pub(crate) use list::list;
pub(crate) use observe::{result, status};
pub(crate) use operate::{forget, resolve};
