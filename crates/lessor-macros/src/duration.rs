//! Durations as text.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Expr, ExprLit, Lit};

/// Returns the expression of a duration, which is given as a text such as `"30s"`, or as an
/// expression of the type `Duration`.
pub(crate) fn expression(option: &str, value: &Expr) -> Result<TokenStream, Error> {
    let Expr::Lit(ExprLit { lit, .. }) = value else { return Ok(quote!(#value)) };
    let Lit::Str(text) = lit else {
        let message = format!("`{option}` is a text with a unit, such as \"30s\", or a `Duration`");
        return Err(Error::new_spanned(lit, message));
    };
    match humantime::parse_duration(&text.value()) {
        Ok(duration) => {
            let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
            Ok(quote!(::core::time::Duration::new(#seconds, #nanos)))
        }
        Err(_) => {
            let message = format!(
                "{:?} is not a duration; write for example \"500ms\", \"30s\" or \"1h 30m\"",
                text.value()
            );
            Err(Error::new_spanned(lit, message))
        }
    }
}
