//! The exit codes of the program.

use std::process::ExitCode;

/// An exit code. The values are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Done,
    Error,
    Usage,
    NotFound,
    Busy,
    InDoubt,
    Failed,
    Lost,
    Unavailable,
    Broken,
    Unsupported,
    Unconfirmed,
    Finished,
    /// The exit code of a command that `lessor run` ran or replays, or one of `run` itself.
    Run(u8),
}

/// The codes of all commands except `run`, for the help.
pub(crate) const CODES: &str = "\
Exit codes (except of `run`):
   0  done
   1  another error
   2  the command line is wrong, or an argument was refused
   3  the key has no record, or there is no store at the place
   4  the key is in progress: it has a live lease
   5  the work of the key is in doubt: the last lease lapsed without an outcome
   6  the work of the key failed
   7  the lease was lost
   8  the store is unavailable: another process has it open, or the server does not answer
   9  the store is damaged, full, incompatible or misconfigured
  10  the store does not offer this command
  11  nothing was changed, because --yes was not given
  12  the key has an outcome already, which is final";

impl Code {
    /// Returns the number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Busy => 4,
            Self::InDoubt => 5,
            Self::Failed => 6,
            Self::Lost => 7,
            Self::Unavailable => 8,
            Self::Broken => 9,
            Self::Unsupported => 10,
            Self::Unconfirmed => 11,
            Self::Finished => 12,
            Self::Run(code) => code,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_exit_code() {
        let all = [
            Code::Done,
            Code::Error,
            Code::Usage,
            Code::NotFound,
            Code::Busy,
            Code::InDoubt,
            Code::Failed,
            Code::Lost,
            Code::Unavailable,
            Code::Broken,
            Code::Unsupported,
            Code::Unconfirmed,
            Code::Finished,
        ];
        let listed: Vec<u8> = CODES
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(listed, all.map(Code::number));
    }
}
