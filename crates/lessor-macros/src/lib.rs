//! The attribute of *lessor* that makes a function run once under a key.
//!
//! Applications use it as `lessor::once`, with the feature `macros` of the crate `lessor`. Its
//! documentation is there.

mod duration;
mod expand;
mod function;
mod options;
mod parts;

use proc_macro::TokenStream;

/// Makes a function run once under a key that is made of its arguments.
#[proc_macro_attribute]
pub fn once(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::once(options.into(), item.into()).into()
}
