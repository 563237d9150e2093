//! The encoding of numbers, times, texts and payloads.

use crate::data::decode_error::DecodeError;
use crate::data::hash::sha256;
use crate::data::payload::Payload;
use crate::data::time::Timestamp;

fn add(at: Timestamp, micros: u64) -> Option<Timestamp> {
    at.as_micros().checked_add(micros).and_then(Timestamp::from_micros)
}

/// Appends values to bytes.
pub(crate) struct Writer<'b>(pub(crate) &'b mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn tag<T: PartialEq>(&mut self, all: &[T], one: T) {
        let place = all.iter().position(|each| *each == one);
        self.byte(place.and_then(|place| place.try_into().ok()).unwrap_or(u8::MAX));
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.byte(value.to_le_bytes()[0]);
    }

    pub(crate) fn since(&mut self, at: Timestamp, earlier: Timestamp) {
        self.varint(at.as_micros().saturating_sub(earlier.as_micros()));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.bytes(text.as_bytes());
        }
    }

    pub(crate) fn payload(&mut self, payload: Option<&[u8]>) {
        if let Some(payload) = payload {
            self.0.extend_from_slice(&sha256(payload));
            self.bytes(payload);
        }
    }
}

/// Reads values from bytes. Refuses every value that is not in its only form.
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Returns the bytes from `from`, the position of an earlier call of [`at`](Self::at), up to
    /// this position.
    pub(crate) fn since(&self, from: usize) -> &'b [u8] {
        self.bytes.get(from..self.at).unwrap_or_default()
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn damaged(&self, what: &'static str) -> DecodeError {
        DecodeError::Damaged { what, at: self.at }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'b [u8], DecodeError> {
        let end = self.at.checked_add(count).ok_or(self.damaged("length out of range"))?;
        let taken = self.bytes.get(self.at..end).ok_or(self.damaged("cut short"))?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.damaged("cut short"))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn tag<T: Copy>(&mut self, all: &[T]) -> Result<T, DecodeError> {
        let place = usize::from(self.byte()?);
        all.get(place).copied().ok_or(self.damaged("unknown tag"))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.damaged("number out of range"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if bits == 0 && shift > 0 {
                    return Err(self.damaged("number is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.damaged("number out of range"))
    }

    pub(crate) fn after(&mut self, earlier: Timestamp) -> Result<Timestamp, DecodeError> {
        let micros = self.varint()?;
        add(earlier, micros).ok_or(self.damaged("time out of range"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8], DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| self.damaged("length out of range"))?;
        self.take(length)
    }

    /// Returns the bytes that have not been read.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Returns a text of at most `most` bytes.
    pub(crate) fn text_of(&mut self, most: usize) -> Result<&'b str, DecodeError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.damaged("text is not UTF-8"))?;
        if text.len() > most { Err(self.damaged("text is too long")) } else { Ok(text) }
    }

    pub(crate) fn text(&mut self) -> Result<Box<str>, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(Into::into).map_err(|_| self.damaged("text is not UTF-8"))
    }

    pub(crate) fn payload(&mut self) -> Result<Payload, DecodeError> {
        let digest = self.array()?;
        let bytes = self.bytes()?;
        Payload::verified(bytes, digest).ok_or(self.damaged("content does not match its SHA-256"))
    }
}
