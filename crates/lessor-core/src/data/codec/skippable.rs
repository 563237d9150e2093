//! Fields 11 and 12: skippable fields, of which this library knows one each.

use crate::data::bytes::{Reader, Writer};
use crate::data::decode_error::DecodeError;

/// The tag of the field that this library knows.
const KNOWN_TAG: u64 = 1;

/// The skippable fields of a record or of a grant.
pub(super) struct Skippable<'b> {
    /// The content of the field that this library knows.
    pub(super) known: Option<&'b [u8]>,
    /// The other fields, in encoded form.
    pub(super) others: Option<Box<[u8]>>,
}

impl<'b> Skippable<'b> {
    /// Reads the fields, and checks their order.
    pub(super) fn read(input: &mut Reader<'b>) -> Result<Self, DecodeError> {
        let bytes = input.bytes()?;
        let mut fields = Reader::new(bytes);
        let (mut known, mut others, mut last) = (None, Vec::new(), None);
        while !fields.is_at_end() {
            let from = fields.at();
            let field = fields.varint().and_then(|tag| Ok((tag, fields.bytes()?)));
            let (tag, content) =
                field.map_err(|_| input.damaged("skippable fields do not fit their length"))?;
            if last.is_some_and(|last| tag <= last) {
                return Err(input.damaged("skippable fields are not in the order of their tags"));
            }
            last = Some(tag);
            if tag == KNOWN_TAG {
                known = Some(content);
            } else {
                // The known field and the others are disjoint, so nothing is allocated twice.
                others.extend_from_slice(fields.since(from));
            }
        }
        if last.is_none() {
            return Err(input.damaged("there are no skippable fields"));
        }
        Ok(Self { known, others: (!others.is_empty()).then(|| others.into()) })
    }
}

/// Writes the known field among the others, unless there is none of either.
pub(super) fn write(out: &mut Writer<'_>, known: Option<&[u8]>, others: Option<&[u8]>) {
    let others = others.unwrap_or_default();
    let (lower, higher) = others.split_at_checked(end_of_lower_tags(others)).unwrap_or((others, &[]));
    let mut own = Vec::new();
    if let Some(content) = known {
        let mut field = Writer(&mut own);
        field.varint(KNOWN_TAG);
        field.bytes(content);
    }
    if own.is_empty() && others.is_empty() {
        return;
    }
    out.varint((own.len() + others.len()) as u64);
    for part in [lower, &own, higher] {
        out.0.extend_from_slice(part);
    }
}

/// Returns the length of the fields with tags below the known one.
fn end_of_lower_tags(others: &[u8]) -> usize {
    let mut fields = Reader::new(others);
    let mut end = 0;
    while fields.varint().is_ok_and(|tag| tag < KNOWN_TAG) && fields.bytes().is_ok() {
        end = fields.at();
    }
    end
}
