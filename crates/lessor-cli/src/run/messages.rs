//! The messages between the runner and the guard: one line of text each, over a socket.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::str::FromStr;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// A message of the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The command must have ended by this time of [`clock`](crate::run::clock).
    Until(u64),
    /// Send this signal to the command.
    Signal(i32),
    /// End the command.
    End,
}

/// A message of the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The command has started, as the leader of a process group with this id.
    Started(i32),
    /// The command could not be started.
    Refused { code: u8, reason: String },
    /// The command is being ended by the guard.
    Ending,
    /// The command has exited, and nothing of its process group is left.
    Exited(u8),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until(at) => write!(f, "until {at}"),
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::End => f.write_str("end -"),
        }
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unknown = || format!("unknown order {line:?}");
        match line.split_once(' ').ok_or_else(unknown)? {
            ("until", at) => at.parse().map(Self::Until).map_err(|_| unknown()),
            ("signal", number) => number.parse().map(Self::Signal).map_err(|_| unknown()),
            ("end", _) => Ok(Self::End),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(group) => write!(f, "started {group}"),
            Self::Refused { code, reason } => write!(f, "refused {code} {}", reason.replace('\n', " ")),
            Self::Ending => f.write_str("ending -"),
            Self::Exited(code) => write!(f, "exited {code}"),
        }
    }
}

impl FromStr for Report {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unknown = || format!("unknown report {line:?}");
        match line.split_once(' ').ok_or_else(unknown)? {
            ("started", group) => group.parse().map(Self::Started).map_err(|_| unknown()),
            ("refused", rest) => {
                let (code, reason) = rest.split_once(' ').ok_or_else(unknown)?;
                Ok(Self::Refused { code: code.parse().map_err(|_| unknown())?, reason: reason.to_owned() })
            }
            ("ending", _) => Ok(Self::Ending),
            ("exited", code) => code.parse().map(Self::Exited).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

/// Sends a file descriptor to the other end of a socket.
pub(crate) fn send_fd(socket: &UnixStream, fd: impl AsFd) -> std::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(b"\n")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Receives a file descriptor. Returns `None` if the other end is closed, or sent something else.
pub(crate) fn receive_fd(socket: &UnixStream) -> std::io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            let fd = fds.next();
            if let Some(fd) = &fd {
                // The command gets it as its standard input only, and not a second time.
                fcntl_setfd(fd, FdFlags::CLOEXEC)?;
            }
            return Ok(fd);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        for order in [Order::Until(u64::MAX), Order::Signal(15), Order::End] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        let refused = Report::Refused { code: 127, reason: "no such file".to_owned() };
        for report in [Report::Started(7), refused, Report::Ending, Report::Exited(255)] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
    }

    #[test]
    fn p12_a_line_that_is_no_message_is_refused() {
        for line in [
            "",
            "until",
            "until x",
            "until -1",
            "signal 1 2",
            "exited 256",
            "refused 1",
            "started 99999999999",
        ] {
            assert!(line.parse::<Order>().is_err() && line.parse::<Report>().is_err(), "{line}");
        }
    }

    #[test]
    fn a_file_descriptor_arrives_at_the_other_end() {
        use std::io::{Read, Write};
        let (one, other) = UnixStream::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        send_fd(&one, far).unwrap();
        let mut received = UnixStream::from(receive_fd(&other).unwrap().unwrap());
        received.write_all(b"hello").unwrap();
        drop(received);
        let mut text = String::new();
        near.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }
}
