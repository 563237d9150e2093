//! The RESP3 parser. Any bytes parse as a frame, as the beginning of a frame, or as an error.

use redis::{PushInfo, PushKind, Value, VerbatimFormat};

/// The longest bulk string that a server stores by default.
const MAX_BULK_LEN: usize = 512 << 20;
/// The longest line, such as a simple error.
const MAX_LINE_LEN: usize = 64 << 10;
/// The maximum number of values in one frame. The map of a cluster whose adjacent slots all belong
/// to different nodes has half as many.
const MAX_VALUES: usize = 1 << 20;
/// The maximum nesting depth of values.
const MAX_DEPTH: u32 = 16;

#[derive(Debug, PartialEq)]
pub(super) enum RespFrame {
    Reply(Value),
    /// A message that is not a reply.
    Push(PushInfo),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParseError {
    /// The frame is at least this many bytes long.
    Incomplete(usize),
    /// The bytes are not RESP3.
    Malformed,
}

/// Parses the frame at the beginning of `bytes`. Returns it with its length in bytes.
pub(super) fn parse_frame(bytes: &[u8]) -> Result<(RespFrame, usize), ParseError> {
    let mut reader = Parser { bytes, at: 0, left: MAX_VALUES };
    let frame = match bytes.first() {
        Some(b'>') => RespFrame::Push(reader.push()?),
        _ => RespFrame::Reply(reader.value(MAX_DEPTH)?),
    };
    Ok((frame, reader.at))
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: u32) -> Result<Value, ParseError> {
        let depth = depth.checked_sub(1).ok_or(ParseError::Malformed)?;
        self.left = self.left.checked_sub(1).ok_or(ParseError::Malformed)?;
        let (kind, line) = self.line()?;
        Ok(match kind {
            b'+' if line == b"OK" => Value::Okay,
            b'+' => Value::SimpleString(text(line)?),
            b'-' => error(line)?,
            b':' => Value::Int(number(line)?),
            b'$' => match self.bulk(line)? {
                Some(bytes) => Value::BulkString(bytes.to_vec()),
                None => Value::Nil,
            },
            b'!' => error(self.bulk(line)?.ok_or(ParseError::Malformed)?)?,
            b'=' => {
                let frame = text(self.bulk(line)?.ok_or(ParseError::Malformed)?)?;
                let (format, text) = frame.split_once(':').ok_or(ParseError::Malformed)?;
                let format = match format {
                    "txt" => VerbatimFormat::Text,
                    "mkd" => VerbatimFormat::Markdown,
                    other => VerbatimFormat::Unknown(other.to_owned()),
                };
                Value::VerbatimString { format, text: text.to_owned() }
            }
            b'*' => match self.count(line)? {
                Some(count) => Value::Array(self.values(count, depth)?),
                None => Value::Nil,
            },
            b'~' => Value::Set(self.values(self.count(line)?.ok_or(ParseError::Malformed)?, depth)?),
            b'%' => Value::Map(self.pairs(line, depth)?),
            // Attributes describe the value that follows. They are ignored.
            b'|' => {
                self.pairs(line, depth)?;
                self.value(depth)?
            }
            b'_' => Value::Nil,
            b'#' => Value::Boolean(match line {
                b"t" => true,
                b"f" => false,
                _ => return Err(ParseError::Malformed),
            }),
            b',' => Value::Double(text(line)?.parse().map_err(|_| ParseError::Malformed)?),
            // The payload of `Value::BigNumber` depends on the features of `redis` that the
            // application selects. No command of this crate returns a big number.
            b'(' => Value::BulkString(line.to_vec()),
            _ => return Err(ParseError::Malformed),
        })
    }

    fn push(&mut self) -> Result<PushInfo, ParseError> {
        let (_, line) = self.line()?;
        let count = self.count(line)?.ok_or(ParseError::Malformed)?;
        let mut data = self.values(count, MAX_DEPTH)?;
        if data.is_empty() {
            return Err(ParseError::Malformed);
        }
        let kind = match data.remove(0) {
            Value::BulkString(kind) => text(&kind)?,
            Value::SimpleString(kind) => kind,
            _ => return Err(ParseError::Malformed),
        };
        let kind = if kind == "invalidate" { PushKind::Invalidate } else { PushKind::Other(kind) };
        Ok(PushInfo { kind, data })
    }

    /// Reads the first line of a value. Returns its type byte and the rest of the line.
    fn line(&mut self) -> Result<(u8, &'a [u8]), ParseError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return match rest.len() {
                length if length > MAX_LINE_LEN => Err(ParseError::Malformed),
                _ => Err(ParseError::Incomplete(self.bytes.len() + 1)),
            };
        };
        self.at += end + 2;
        let (kind, line) = rest.get(..end).and_then(<[u8]>::split_first).ok_or(ParseError::Malformed)?;
        Ok((*kind, line))
    }

    /// Reads a bulk string of the length in `line`.
    fn bulk(&mut self, line: &[u8]) -> Result<Option<&'a [u8]>, ParseError> {
        let length = match number(line)? {
            -1 => return Ok(None),
            length => usize::try_from(length).ok().filter(|length| *length <= MAX_BULK_LEN),
        };
        let end = self.at + length.ok_or(ParseError::Malformed)?;
        let bytes = self.bytes.get(self.at..end + 2).ok_or(ParseError::Incomplete(end + 2))?;
        let bytes = bytes.strip_suffix(b"\r\n").ok_or(ParseError::Malformed)?;
        self.at = end + 2;
        Ok(Some(bytes))
    }

    fn count(&self, line: &[u8]) -> Result<Option<usize>, ParseError> {
        match number(line)? {
            -1 => Ok(None),
            count => match usize::try_from(count) {
                Ok(count) if count <= self.left => Ok(Some(count)),
                _ => Err(ParseError::Malformed),
            },
        }
    }

    fn values(&mut self, count: usize, depth: u32) -> Result<Vec<Value>, ParseError> {
        // A value takes at least three bytes. This check also bounds the memory that is allocated
        // for values that have not been received.
        let least = self.at + 3 * count;
        if least > self.bytes.len() {
            return Err(ParseError::Incomplete(least));
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn pairs(&mut self, line: &[u8], depth: u32) -> Result<Vec<(Value, Value)>, ParseError> {
        let count = self.count(line)?.ok_or(ParseError::Malformed)?;
        let mut values = self.values(2 * count, depth)?.into_iter();
        Ok(std::iter::from_fn(|| values.next().zip(values.next())).collect())
    }
}

fn text(bytes: &[u8]) -> Result<String, ParseError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ParseError::Malformed)
}

fn number(line: &[u8]) -> Result<i64, ParseError> {
    std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()).ok_or(ParseError::Malformed)
}

/// Parses an error. Only the client library can construct one. The text may quote bytes of a
/// request that are not UTF-8.
fn error(line: &[u8]) -> Result<Value, ParseError> {
    let line = String::from_utf8_lossy(line).replace(['\r', '\n'], " ");
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).map_err(|_| ParseError::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// One frame of each type, and some nested ones.
    const ALL: &[&str] = &[
        "+OK\r\n",
        "+PONG\r\n",
        "-MOVED 3999 127.0.0.1:6381\r\n",
        "-ERR\r\n",
        ":-12\r\n",
        "$5\r\na\r\nbc\r\n",
        "$0\r\n\r\n",
        "$-1\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n",
        "=8\r\ntxt:text\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*4\r\n:0\r\n_\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n",
        "~2\r\n#t\r\n#f\r\n",
        "%2\r\n+first\r\n:1\r\n+second\r\n*1\r\n,1.5\r\n",
        "*2\r\n-LOADING server is loading\r\n*1\r\n*1\r\n$1\r\nx\r\n",
    ];

    #[test]
    fn frames_are_parsed_as_the_client_library_parses_them() {
        for frame in ALL {
            let by_client_library = redis::parse_redis_value(frame.as_bytes()).unwrap();
            assert_eq!(
                parse_frame(frame.as_bytes()),
                Ok((RespFrame::Reply(by_client_library), frame.len())),
                "{frame:?}"
            );
        }
        let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n";
        let data = vec![Value::Array(vec![Value::BulkString(b"key".to_vec())])];
        let expected = RespFrame::Push(PushInfo { kind: PushKind::Invalidate, data });
        assert_eq!(parse_frame(push), Ok((expected, push.len())));
        let large = parse_frame(b"(3492890328409238509324850943850943825024385\r\n").unwrap().0;
        let digits = b"3492890328409238509324850943850943825024385".to_vec();
        assert_eq!(large, RespFrame::Reply(Value::BulkString(digits)));
        let with_attribute = parse_frame(b"|1\r\n+ttl\r\n:3600\r\n:7\r\n").unwrap().0;
        assert_eq!(with_attribute, RespFrame::Reply(Value::Int(7)));
    }

    /// An incomplete frame asks for more bytes, and never for more than the frame has.
    #[test]
    fn p12_an_incomplete_frame_is_never_parsed_as_a_complete_one() {
        for frame in ALL.iter().chain(&[">2\r\n+invalidate\r\n_\r\n", "|1\r\n+a\r\n+b\r\n:1\r\n"]) {
            let (whole, _) = parse_frame(frame.as_bytes()).unwrap();
            for cut in 0..frame.len() {
                match parse_frame(&frame.as_bytes()[..cut]) {
                    Err(ParseError::Incomplete(least)) => {
                        assert!((cut + 1..=frame.len()).contains(&least), "{frame:?} {cut} {least}");
                    }
                    other => panic!("{frame:?} cut at {cut}: {other:?}"),
                }
            }
            let more = format!("{frame}$3\r\nabc");
            assert_eq!(parse_frame(more.as_bytes()), Ok((whole, frame.len())), "{frame:?}");
        }
    }

    #[test]
    fn p12_malformed_frames_are_errors_and_allocate_no_memory_for_missing_bytes() {
        let deep = "*1\r\n".repeat(40) + ":1\r\n";
        for frame in [
            "hello\r\n",
            "\r\n",
            ":\r\n",
            ":1x\r\n",
            "$-2\r\n",
            "$1\r\nabc",
            "$9999999999\r\n",
            "*99999999999999999999\r\n",
            "*9999999\r\n",
            "%9999999\r\n",
            "~-1\r\n",
            ">0\r\n",
            ">-1\r\n",
            ">1\r\n:1\r\n",
            "#x\r\n",
            "=3\r\nabc\r\n",
            "+\u{fffd}\r\n",
            &deep,
        ] {
            // A byte sequence that is not UTF-8.
            let bytes: Vec<u8> = frame.bytes().map(|byte| if byte == 0xbd { 0xff } else { byte }).collect();
            assert_eq!(parse_frame(&bytes), Err(ParseError::Malformed), "{frame:?}");
        }
        // Announced lengths without content, and too many values in total.
        assert!(matches!(parse_frame(b"*1000000\r\n"), Err(ParseError::Incomplete(_))));
        assert!(matches!(parse_frame(b"$400000000\r\n"), Err(ParseError::Incomplete(_))));
        let many = format!("*2\r\n*{0}\r\n{1}*{0}\r\n{1}", MAX_VALUES - 3, "_\r\n".repeat(MAX_VALUES - 3));
        assert_eq!(parse_frame(many.as_bytes()), Err(ParseError::Malformed));
    }

    /// Random bytes, and valid frames with random changes.
    #[test]
    fn p12_no_bytes_make_the_parser_panic() {
        let mut state = 1_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        const BYTES: &[u8] = b"+-:$!=*~%|_#,(>\r\n0123456789-xtf\0\xff";
        for _ in 0..200_000 {
            let mut bytes = match draw(2) {
                0 => Vec::new(),
                _ => ALL[draw(ALL.len())].as_bytes().to_vec(),
            };
            for _ in 0..=draw(6) {
                let at = draw(bytes.len() + 1);
                match draw(3) {
                    0 if at < bytes.len() => bytes[at] = BYTES[draw(BYTES.len())],
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.insert(at, BYTES[draw(BYTES.len())]),
                }
            }
            if let Ok((_, length)) = parse_frame(&bytes) {
                assert!((3..=bytes.len()).contains(&length), "{bytes:?}");
            }
        }
    }
}
