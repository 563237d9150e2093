//! The function that the attribute is on.

use proc_macro2::TokenStream;
use syn::{
    Error, FnArg, GenericArgument, Ident, Item, ItemFn, Pat, PathArguments, ReturnType, Signature,
    TraitItemFn, Type,
};

/// A function that can be guarded.
pub(crate) struct Function {
    pub(crate) item: ItemFn,
    /// The names that the parameters bind, with `self`.
    pub(crate) arguments: Vec<Ident>,
    /// The types of the result's value and error.
    pub(crate) value: Type,
    pub(crate) error: Type,
}

impl Function {
    pub(crate) fn parse(item: TokenStream) -> Result<Self, Error> {
        let item: ItemFn = syn::parse2(item.clone()).map_err(|error| reason(item, error))?;
        if let Some(constness) = &item.sig.constness {
            let message = "a `const` function cannot be guarded, because it cannot use an engine";
            return Err(Error::new_spanned(constness, message));
        }
        let (value, error) = returned(&item.sig)?;
        let mut arguments = Vec::new();
        for input in &item.sig.inputs {
            match input {
                FnArg::Receiver(input) => arguments.push(Ident::new("self", input.self_token.span)),
                FnArg::Typed(input) => bound(&input.pat, &mut arguments),
            }
        }
        Ok(Self { item, arguments, value, error })
    }
}

/// Returns the reason for which an item is not a function with a body.
fn reason(item: TokenStream, error: Error) -> Error {
    if let Ok(TraitItemFn { sig, default: None, .. }) = syn::parse2(item.clone()) {
        let message = "the function has no body to guard; put `#[lessor::once]` on the implementation";
        return Error::new_spanned(sig, message);
    }
    match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Fn(_) | Item::Verbatim(_)) | Err(_) => error,
        Ok(_) => {
            Error::new_spanned(item, "`#[lessor::once]` guards a function or a method, and nothing else")
        }
    }
}

/// Returns the types of the value and the error that a function returns.
fn returned(signature: &Signature) -> Result<(Type, Type), Error> {
    const WHAT: &str = "a guarded function returns `Result<T, E>` with both types written out, because its \
                        outcome is stored and replayed";
    let ReturnType::Type(_, returned) = &signature.output else {
        return Err(Error::new_spanned(signature, WHAT));
    };
    let refused = || Error::new_spanned(returned, WHAT);
    let Type::Path(path) = &**returned else { return Err(refused()) };
    let last = path.path.segments.last().filter(|last| last.ident == "Result").ok_or_else(refused)?;
    let PathArguments::AngleBracketed(types) = &last.arguments else { return Err(refused()) };
    let types: Vec<&GenericArgument> = types.args.iter().collect();
    match types[..] {
        [GenericArgument::Type(value), GenericArgument::Type(error)] => Ok((value.clone(), error.clone())),
        _ => Err(refused()),
    }
}

/// Appends the names that a pattern binds.
fn bound(pattern: &Pat, names: &mut Vec<Ident>) {
    match pattern {
        Pat::Ident(pattern) => {
            names.push(pattern.ident.clone());
            if let Some((_, pattern)) = &pattern.subpat {
                bound(pattern, names);
            }
        }
        Pat::Paren(pattern) => bound(&pattern.pat, names),
        Pat::Reference(pattern) => bound(&pattern.pat, names),
        Pat::Slice(pattern) => pattern.elems.iter().for_each(|pattern| bound(pattern, names)),
        Pat::Struct(pattern) => pattern.fields.iter().for_each(|field| bound(&field.pat, names)),
        Pat::Tuple(pattern) => pattern.elems.iter().for_each(|pattern| bound(pattern, names)),
        Pat::TupleStruct(pattern) => pattern.elems.iter().for_each(|pattern| bound(pattern, names)),
        _ => {}
    }
}
