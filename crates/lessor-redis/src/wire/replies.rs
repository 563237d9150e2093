//! What a server says, out of the bytes that have come so far. Whatever they are, they are a value, or the beginning of one, or an error.

use redis::{PushInfo, PushKind, Value, VerbatimFormat};

/// The longest text that a server stores by itself.
const LONGEST: usize = 512 << 20;
/// The longest line, such as an error.
const LINE: usize = 64 << 10;
/// How many values one may be made of. The map of a cluster in which each slot is another node's than the one before has half as many.
const MOST: usize = 1 << 20;
/// How deep they may be in one another.
const DEEPEST: u32 = 16;

#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Answer(Value),
    /// Without having been asked.
    Push(PushInfo),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It has at least so many bytes.
    More(usize),
    /// No server says that.
    Malformed,
}

/// What `bytes` begin with, and how long it is.
pub(super) fn first(bytes: &[u8]) -> Result<(Said, usize), Stop> {
    let mut reader = Reader { bytes, at: 0, left: MOST };
    let said = match bytes.first() {
        Some(b'>') => Said::Push(reader.push()?),
        _ => Said::Answer(reader.value(DEEPEST)?),
    };
    Ok((said, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: u32) -> Result<Value, Stop> {
        let depth = depth.checked_sub(1).ok_or(Stop::Malformed)?;
        self.left = self.left.checked_sub(1).ok_or(Stop::Malformed)?;
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
            b'!' => error(self.bulk(line)?.ok_or(Stop::Malformed)?)?,
            b'=' => {
                let said = text(self.bulk(line)?.ok_or(Stop::Malformed)?)?;
                let (format, text) = said.split_once(':').ok_or(Stop::Malformed)?;
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
            b'~' => Value::Set(self.values(self.count(line)?.ok_or(Stop::Malformed)?, depth)?),
            b'%' => Value::Map(self.pairs(line, depth)?),
            // Said about the value that follows, which goes without it.
            b'|' => {
                self.pairs(line, depth)?;
                self.value(depth)?
            }
            b'_' => Value::Nil,
            b'#' => Value::Boolean(match line {
                b"t" => true,
                b"f" => false,
                _ => return Err(Stop::Malformed),
            }),
            b',' => Value::Double(text(line)?.parse().map_err(|_| Stop::Malformed)?),
            // The payload of `Value::BigNumber` depends on the features of `redis` that the application selects. No command of this
            // crate is answered with one.
            b'(' => Value::BulkString(line.to_vec()),
            _ => return Err(Stop::Malformed),
        })
    }

    fn push(&mut self) -> Result<PushInfo, Stop> {
        let (_, line) = self.line()?;
        let count = self.count(line)?.ok_or(Stop::Malformed)?;
        let mut data = self.values(count, DEEPEST)?;
        if data.is_empty() {
            return Err(Stop::Malformed);
        }
        let kind = match data.remove(0) {
            Value::BulkString(kind) => text(&kind)?,
            Value::SimpleString(kind) => kind,
            _ => return Err(Stop::Malformed),
        };
        let kind = if kind == "invalidate" { PushKind::Invalidate } else { PushKind::Other(kind) };
        Ok(PushInfo { kind, data })
    }

    /// What a value begins with: its kind, and the rest of the line.
    fn line(&mut self) -> Result<(u8, &'a [u8]), Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return match rest.len() {
                length if length > LINE => Err(Stop::Malformed),
                _ => Err(Stop::More(self.bytes.len() + 1)),
            };
        };
        self.at += end + 2;
        let (kind, line) = rest.get(..end).and_then(<[u8]>::split_first).ok_or(Stop::Malformed)?;
        Ok((*kind, line))
    }

    /// As long as `line` says.
    fn bulk(&mut self, line: &[u8]) -> Result<Option<&'a [u8]>, Stop> {
        let length = match number(line)? {
            -1 => return Ok(None),
            length => usize::try_from(length).ok().filter(|length| *length <= LONGEST),
        };
        let end = self.at + length.ok_or(Stop::Malformed)?;
        let bytes = self.bytes.get(self.at..end + 2).ok_or(Stop::More(end + 2))?;
        let bytes = bytes.strip_suffix(b"\r\n").ok_or(Stop::Malformed)?;
        self.at = end + 2;
        Ok(Some(bytes))
    }

    fn count(&self, line: &[u8]) -> Result<Option<usize>, Stop> {
        match number(line)? {
            -1 => Ok(None),
            count => match usize::try_from(count) {
                Ok(count) if count <= self.left => Ok(Some(count)),
                _ => Err(Stop::Malformed),
            },
        }
    }

    fn values(&mut self, count: usize, depth: u32) -> Result<Vec<Value>, Stop> {
        // None is shorter than three bytes. So there is no room made either for what does not come.
        let least = self.at + 3 * count;
        if least > self.bytes.len() {
            return Err(Stop::More(least));
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn pairs(&mut self, line: &[u8], depth: u32) -> Result<Vec<(Value, Value)>, Stop> {
        let count = self.count(line)?.ok_or(Stop::Malformed)?;
        let mut values = self.values(2 * count, depth)?.into_iter();
        Ok(std::iter::from_fn(|| values.next().zip(values.next())).collect())
    }
}

fn text(bytes: &[u8]) -> Result<String, Stop> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Stop::Malformed)
}

fn number(line: &[u8]) -> Result<i64, Stop> {
    std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()).ok_or(Stop::Malformed)
}

/// Only the client library can make one. It may repeat what was sent, which need not be text.
fn error(line: &[u8]) -> Result<Value, Stop> {
    let line = String::from_utf8_lossy(line).replace(['\r', '\n'], " ");
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).map_err(|_| Stop::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// One of each kind, and of those that are made of others.
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
    fn what_a_server_says_is_read_as_the_client_library_reads_it() {
        for said in ALL {
            let theirs = redis::parse_redis_value(said.as_bytes()).unwrap();
            assert_eq!(first(said.as_bytes()), Ok((Said::Answer(theirs), said.len())), "{said:?}");
        }
        let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n";
        let data = vec![Value::Array(vec![Value::BulkString(b"key".to_vec())])];
        let told = Said::Push(PushInfo { kind: PushKind::Invalidate, data });
        assert_eq!(first(push), Ok((told, push.len())));
        let large = first(b"(3492890328409238509324850943850943825024385\r\n").unwrap().0;
        let digits = b"3492890328409238509324850943850943825024385".to_vec();
        assert_eq!(large, Said::Answer(Value::BulkString(digits)));
        let with_attribute = first(b"|1\r\n+ttl\r\n:3600\r\n:7\r\n").unwrap().0;
        assert_eq!(with_attribute, Said::Answer(Value::Int(7)));
    }

    /// Whatever has come of it, more is asked for, and never more than there is.
    #[test]
    fn p12_a_part_of_what_a_server_says_is_never_taken_for_all_of_it() {
        for said in ALL.iter().chain(&[">2\r\n+invalidate\r\n_\r\n", "|1\r\n+a\r\n+b\r\n:1\r\n"]) {
            let (whole, _) = first(said.as_bytes()).unwrap();
            for cut in 0..said.len() {
                match first(&said.as_bytes()[..cut]) {
                    Err(Stop::More(least)) => {
                        assert!((cut + 1..=said.len()).contains(&least), "{said:?} {cut} {least}");
                    }
                    other => panic!("{said:?} cut at {cut}: {other:?}"),
                }
            }
            let more = format!("{said}$3\r\nabc");
            assert_eq!(first(more.as_bytes()), Ok((whole, said.len())), "{said:?}");
        }
    }

    #[test]
    fn p12_whatever_comes_is_an_error_at_worst_and_takes_no_memory_for_what_does_not_come() {
        let deep = "*1\r\n".repeat(40) + ":1\r\n";
        for said in [
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
            // Bytes that are no text are no text.
            let bytes: Vec<u8> = said.bytes().map(|byte| if byte == 0xbd { 0xff } else { byte }).collect();
            assert_eq!(first(&bytes), Err(Stop::Malformed), "{said:?}");
        }
        // Announced, and nothing more; or too many in all, though not at once.
        assert!(matches!(first(b"*1000000\r\n"), Err(Stop::More(_))));
        assert!(matches!(first(b"$400000000\r\n"), Err(Stop::More(_))));
        let many = format!("*2\r\n*{0}\r\n{1}*{0}\r\n{1}", MOST - 3, "_\r\n".repeat(MOST - 3));
        assert_eq!(first(many.as_bytes()), Err(Stop::Malformed));
    }

    /// Bytes at random, and what servers say with some of it changed.
    #[test]
    fn p12_no_bytes_make_it_panic() {
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
            if let Ok((_, length)) = first(&bytes) {
                assert!((3..=bytes.len()).contains(&length), "{bytes:?}");
            }
        }
    }
}
