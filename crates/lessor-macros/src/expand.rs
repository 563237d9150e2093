//! The guarded function.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Ident, ItemFn, parse_quote};

use crate::function::Function;
use crate::options::Options;
use crate::parts;

/// Returns the guarded function, or the errors and the function as it was.
pub(crate) fn once(options: TokenStream, item: TokenStream) -> TokenStream {
    guarded(options, item.clone()).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!(#error #item)
    })
}

fn guarded(options: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    let function = Function::parse(item)?;
    let options: Options = syn::parse2(options)?;
    check(&options, &function.arguments)?;

    let Options { engine, key, fingerprint, name, lease, setters, with, lessor } = options;
    let Function { item: ItemFn { attrs, vis, mut sig, block, .. }, value, error, .. } = function;
    let name = name.unwrap_or_else(|| sig.ident.unraw().to_string());

    // The body does not see these names.
    let [on, made_key, once] = ["engine", "key", "once"].map(hidden);
    let key = key.iter().map(|part| quote_spanned!(at(part)=> &#part as &dyn #lessor::KeyPart));
    let fingerprint = fingerprint.map(|parts| {
        let parts = parts.iter().map(|part| quote_spanned!(at(part)=> &#part));
        quote!(.fingerprint(&(#(#parts,)*)))
    });
    let setters = setters.iter().map(|(name, value)| quote!(.#name(#value)));
    let with = with.map(|with| {
        // The parameter tells the compiler the type of the request in a closure.
        quote! {
            let #once = {
                fn __lessor_with<Request, Changed>(
                    request: Request,
                    change: impl ::core::ops::FnOnce(Request) -> Changed,
                ) -> Changed {
                    change(request)
                }
                __lessor_with(#once, #with)
            };
        }
    });
    let lease = lease.map_or_else(|| quote!(_), |lease| quote!(#lease));
    let work = quote!(|#lease: &#lessor::Lease| -> ::core::result::Result<#value, #error> #block);
    // The compiler reports a wrong engine or a wrong type of the outcome at the names of the methods.
    let begin = Ident::new("once", at(&engine));
    let result = at(&sig.output);
    let run = match sig.asyncness {
        Some(_) => {
            let run = Ident::new("run_async", result);
            quote!(#once.#run(async #work).await)
        }
        None => {
            let run = Ident::new("run", result);
            quote!(#once.#run(#work))
        }
    };
    sig.output = parse_quote! {
        -> ::core::result::Result<#lessor::Outcome<#value>, #lessor::OnceError<#value, #error>>
    };
    Ok(quote! {
        #(#attrs)* #vis #sig {
            let #made_key = #lessor::Key::of_call(#name, &[#(#key),*]);
            let #on = &(#engine);
            // The types are those of closures in the options.
            let #once: #lessor::Once<#value, #error> = #on.#begin(#made_key.as_str());
            let #once = #once #(#setters)* #fingerprint;
            #with
            #run
        }
    })
}

fn check(options: &Options, arguments: &[Ident]) -> Result<(), Error> {
    let mut problems = parts::problems("key", &options.key, arguments);
    problems.extend(parts::problems(
        "fingerprint",
        options.fingerprint.as_deref().unwrap_or_default(),
        arguments,
    ));
    if let Some(lease) = options.lease.as_ref().filter(|lease| arguments.contains(lease)) {
        let message = format!("`{lease}` is also an argument of this function; give the lease another name");
        problems.push(Error::new(lease.span(), message));
    }
    let combined = problems.into_iter().reduce(|mut all, problem| {
        all.combine(problem);
        all
    });
    combined.map_or(Ok(()), Err)
}

fn hidden(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Returns the place of an expression or a type, for errors in generated code around it.
fn at(part: &impl Spanned) -> Span {
    Span::call_site().located_at(part.span())
}
