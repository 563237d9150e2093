//! The names of operations, for messages.

use super::{Operation, Request};
use crate::rules::{Command, HolderCommand};

impl Operation<'_> {
    /// Returns the name of the operation, such as `acquire` or `complete`, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.request {
            Request::Acquire(_) | Request::Command(Command::Acquire(_)) => "acquire",
            Request::HolderCommand(_, act) => name_of(act),
            Request::Command(Command::Holder(_, act)) => name_of(act),
            Request::Command(Command::Forget { .. }) => "forget",
            Request::Command(_) => "resolve",
            Request::Rules(_) => "custom rules",
            Request::Swap(_) => "swap",
        }
    }
}

fn name_of(act: &HolderCommand) -> &'static str {
    match act {
        HolderCommand::Extend { .. } => "extend",
        HolderCommand::Checkpoint(_) => "checkpoint",
        HolderCommand::Complete(..) => "complete",
        HolderCommand::Fail(_) => "fail",
        HolderCommand::Release => "release",
        HolderCommand::Abandon | HolderCommand::Unused => "abandon",
        HolderCommand::Doubt => "doubt",
    }
}
