//! The reason of an error, with the error that led to it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The reason of an error, and its source: the error that led to it, if there is one.
///
/// The reason never repeats the text of the source. `{}` shows the reason, and `{:#}` the reason followed by the chain
/// of sources. Neither contains a lease id, a result or a password. Cheap to clone.
///
/// The source can be downcast:
///
/// ```
/// use std::error::Error;
/// use std::io;
/// use lessor_core::StoreError;
///
/// fn io_error_kind(error: &StoreError) -> Option<io::ErrorKind> {
///     error.source()?.downcast_ref().map(io::Error::kind)
/// }
///
/// let full = io::Error::from(io::ErrorKind::StorageFull);
/// let error = StoreError::full("writing the table failed; free some space").with_source(full);
/// assert_eq!(io_error_kind(&error), Some(io::ErrorKind::StorageFull));
/// ```
#[derive(Clone)]
pub struct Cause(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    reason: Box<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cause {
    /// Creates a cause without a source.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(Arc::new(Parts { reason: reason.into().into(), source: None }))
    }

    /// Sets the source. Its text must not contain a secret.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.with_shared_source(Arc::from(source.into()))
    }

    /// Sets a source that other errors share. Its text must not contain a secret.
    #[must_use]
    pub fn with_shared_source(mut self, source: Arc<dyn Error + Send + Sync>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(source);
        self
    }

    /// Replaces the reason by what `f` makes of it, and keeps the source.
    #[must_use]
    pub fn map_reason(mut self, f: impl FnOnce(&str) -> String) -> Self {
        let parts = Arc::make_mut(&mut self.0);
        parts.reason = f(&parts.reason).into();
        self
    }

    /// Returns the reason: what failed, and what to change where that is known.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source: &(dyn Error + 'static) = self.0.source.as_deref()?;
        Some(source)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        let mut source = self.source().filter(|_| f.alternate());
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Cause");
        shown.field("reason", &self.reason());
        if let Some(source) = &self.0.source {
            shown.field("source", source);
        }
        shown.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_alternate_form_shows_each_source_once() {
        let inner = Cause::new("inner").with_source(io::Error::other("innermost"));
        let cause = Cause::new("outer").with_source(inner);
        assert_eq!(cause.to_string(), "outer");
        assert_eq!(format!("{cause:#}"), "outer: inner: innermost");
    }

    #[test]
    fn a_clone_keeps_its_reason_and_shares_the_source() {
        let cause = Cause::new("b").with_source(io::Error::from(io::ErrorKind::StorageFull));
        let changed = cause.clone().map_reason(|reason| format!("a: {reason}"));
        assert_eq!((cause.reason(), changed.reason()), ("b", "a: b"));
        for cause in [&cause, &changed] {
            let source = cause.source().and_then(|source| source.downcast_ref()).map(io::Error::kind);
            assert_eq!(source, Some(io::ErrorKind::StorageFull));
        }
    }
}
