//! The place in a record for a short result, or for the trace of work that has none.

use crate::data::trace::Trace;

/// The place in a record for a short result, or for a trace. Longer results are attributes, and so
/// is the trace of a record with a result.
#[derive(Clone, Copy, PartialEq)]
#[repr(C)]
pub(crate) struct Inline {
    /// The length of a result, [`NONE`](Self::NONE) or [`TRACE`](Self::TRACE).
    length: u8,
    /// Empty with [`NONE`](Self::NONE).
    bytes: Trace,
}

impl Inline {
    const NONE: u8 = u8::MAX;
    const TRACE: u8 = u8::MAX - 1;

    #[inline]
    pub(crate) const fn none() -> Self {
        Self { length: Self::NONE, bytes: Trace::EMPTY }
    }

    /// Returns `None` if the bytes do not fit.
    #[inline]
    pub(crate) fn result_of(bytes: &[u8]) -> Option<Self> {
        let mut inline = Self::none();
        inline.bytes.as_bytes_mut().get_mut(..bytes.len())?.copy_from_slice(bytes);
        inline.length = u8::try_from(bytes.len()).ok()?;
        Some(inline)
    }

    #[inline]
    pub(crate) const fn trace_of(trace: Trace) -> Self {
        Self { length: Self::TRACE, bytes: trace }
    }

    /// Returns a copy on the heap. `None` if there is neither a result nor a trace.
    #[inline]
    pub(crate) fn boxed(&self) -> Option<Box<Self>> {
        (self.length != Self::NONE).then(|| Box::new(*self))
    }

    /// Returns the result, if there is one.
    #[inline]
    pub(crate) fn result(&self) -> Option<&[u8]> {
        self.bytes.as_bytes().get(..usize::from(self.length))
    }

    /// Returns the trace, if there is one.
    #[inline]
    pub(crate) fn trace(&self) -> Option<&Trace> {
        (self.length == Self::TRACE).then_some(&self.bytes)
    }

    /// Returns the trace, which replaces a result.
    #[inline]
    pub(crate) fn trace_mut(&mut self) -> &mut Trace {
        match self.length {
            Self::TRACE => {}
            Self::NONE => self.length = Self::TRACE,
            _ => *self = Self::trace_of(Trace::EMPTY),
        }
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_result_of_up_to_64_bytes_or_a_trace() {
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).collect();
            let inline = Inline::result_of(&bytes);
            assert_eq!(inline.is_some(), bytes.len() <= 64, "{length} bytes");
            if let Some(mut inline) = inline {
                assert_eq!(inline.result(), Some(&bytes[..]));
                assert!(inline.trace().is_none());
                assert!(*inline.trace_mut() == Trace::EMPTY && inline.result().is_none());
            }
        }
        assert_eq!(Inline::none().result(), None);
        assert!(Inline::none().trace().is_none());
        // A record of the in-memory store has no padding.
        assert_eq!(size_of::<Inline>(), 65);
    }
}
