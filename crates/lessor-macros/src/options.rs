//! The options of the attribute.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, ExprPath, Ident, Lit, Path, Token, parenthesized, parse_quote, token};

use crate::duration;

const KNOWN: &str = "`engine`, `key`, `name`, `fingerprint`, `ttl`, `wait_timeout`, `stall_after`, `holder`, \
                     `on_failed`, `on_lapsed`, `classify`, `reconcile`, `lease`, `with` and `crate`";

/// The options of one attribute.
pub(crate) struct Options {
    pub(crate) engine: Expr,
    /// The parts of the key.
    pub(crate) key: Vec<Expr>,
    /// The parts of the fingerprint, if it is wanted.
    pub(crate) fingerprint: Option<Vec<Expr>>,
    /// The name of the work. Default: the name of the function.
    pub(crate) name: Option<String>,
    /// The binding of the lease in the body.
    pub(crate) lease: Option<Ident>,
    /// The setters of the request and their arguments.
    pub(crate) setters: Vec<(Ident, TokenStream)>,
    /// A function that changes the request.
    pub(crate) with: Option<Expr>,
    /// The path of the crate `lessor`.
    pub(crate) lessor: Path,
}

/// One option as it is written.
struct Given {
    name: Ident,
    value: Value,
}

enum Value {
    Expr(Expr),
    List(Vec<Expr>),
    Missing,
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        // Keywords are accepted, because `crate` is one.
        let name = input.call(Ident::parse_any)?;
        let value = if input.peek(token::Paren) {
            let list;
            parenthesized!(list in input);
            Value::List(Punctuated::<Expr, Token![,]>::parse_terminated(&list)?.into_iter().collect())
        } else if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            // As an expression, `crate` would need a further segment.
            Value::Expr(input.parse()?)
        } else {
            Value::Missing
        };
        Ok(Self { name, value })
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        // A missing option is reported at the others.
        let all: TokenStream = input.fork().parse()?;
        let mut read = Read::default();
        let mut names: Vec<Ident> = Vec::new();
        for given in Punctuated::<Given, Token![,]>::parse_terminated(input)? {
            if names.contains(&given.name) {
                read.problem(Error::new(given.name.span(), format!("`{}` is given twice", given.name)));
                continue;
            }
            names.push(given.name.clone());
            if let Err(error) = read.option(given) {
                read.problem(error);
            }
        }
        read.finish(&names, &all)
    }
}

/// The options that have been read.
#[derive(Default)]
struct Read {
    engine: Option<Expr>,
    key: Vec<Expr>,
    fingerprint: Option<Vec<Expr>>,
    name: Option<String>,
    lease: Option<Ident>,
    setters: Vec<(Ident, TokenStream)>,
    with: Option<Expr>,
    lessor: Option<Path>,
    problems: Option<Error>,
}

impl Read {
    fn problem(&mut self, error: Error) {
        match &mut self.problems {
            Some(problems) => problems.combine(error),
            None => self.problems = Some(error),
        }
    }

    fn option(&mut self, Given { name, value }: Given) -> Result<(), Error> {
        match name.to_string().as_str() {
            "engine" => self.engine = Some(value.expr(&name, "engine = engine")?),
            "key" => self.key = value.list(&name, "key(order_id, tenant)")?,
            "fingerprint" => self.fingerprint = Some(value.list(&name, "fingerprint(amount)")?),
            "name" => self.name = Some(text(&value.expr(&name, "name = \"charge\"")?)?),
            "lease" => self.lease = Some(binding(&value.expr(&name, "lease = lease")?)?),
            "with" => self.with = Some(value.expr(&name, "with = |once| once.holder(\"worker-1\")")?),
            "crate" => self.lessor = Some(path(&value.expr(&name, "crate = ::lessor")?)?),
            option @ ("ttl" | "wait_timeout" | "stall_after") => {
                let value = value.expr(&name, &format!("{option} = \"30s\""))?;
                self.setters.push((name.clone(), duration::expression(option, &value)?));
            }
            "holder" => self.setter(name, value, "holder = \"worker-1\"")?,
            "on_failed" => self.setter(name, value, "on_failed = OnFailed::Replay")?,
            "on_lapsed" => self.setter(name, value, "on_lapsed = OnLapsed::InDoubt")?,
            "classify" => self.setter(name, value, "classify = |error| FailureClass::keep()")?,
            "reconcile" => self.setter(name, value, "reconcile = |lease| Reconciled::Unknown")?,
            unknown => {
                let message = format!("there is no option `{unknown}`; the options are {KNOWN}");
                return Err(Error::new(name.span(), message));
            }
        }
        Ok(())
    }

    fn setter(&mut self, name: Ident, value: Value, example: &str) -> Result<(), Error> {
        let value = value.expr(&name, example)?;
        self.setters.push((name, quote!(#value)));
        Ok(())
    }

    fn finish(mut self, given: &[Ident], all: &TokenStream) -> Result<Options, Error> {
        if !given.iter().any(|name| name == "engine") {
            self.problem(Error::new_spanned(
                all,
                "`engine` is missing; write for example `engine = engine`, or `engine = self.engine` in a method",
            ));
        }
        if !given.iter().any(|name| name == "key") {
            self.problem(Error::new_spanned(
                all,
                "`key` is missing; list the arguments that identify the work, such as `key(order_id)`, or write \
                 `key()` for work that is done once for all arguments",
            ));
        }
        match (self.engine, self.problems) {
            (Some(engine), None) => Ok(Options {
                engine,
                key: self.key,
                fingerprint: self.fingerprint,
                name: self.name,
                lease: self.lease,
                setters: self.setters,
                with: self.with,
                lessor: self.lessor.unwrap_or_else(|| parse_quote!(::lessor)),
            }),
            (_, Some(problems)) => Err(problems),
            (None, None) => Err(Error::new_spanned(all, "`engine` is missing")),
        }
    }
}

impl Value {
    fn expr(self, name: &Ident, example: &str) -> Result<Expr, Error> {
        match self {
            Self::Expr(value) => Ok(value),
            Self::List(_) | Self::Missing => Err(malformed(name, example)),
        }
    }

    fn list(self, name: &Ident, example: &str) -> Result<Vec<Expr>, Error> {
        match self {
            Self::List(values) => Ok(values),
            Self::Expr(_) | Self::Missing => Err(malformed(name, example)),
        }
    }
}

fn malformed(name: &Ident, example: &str) -> Error {
    Error::new(name.span(), format!("write `{name}` in the form `{example}`"))
}

fn text(value: &Expr) -> Result<String, Error> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if !text.value().trim().is_empty() => Ok(text.value()),
        _ => {
            Err(Error::new_spanned(value, "the name is a literal text that is not blank, such as \"charge\""))
        }
    }
}

fn binding(value: &Expr) -> Result<Ident, Error> {
    match value {
        Expr::Path(ExprPath { path, qself: None, attrs }) if attrs.is_empty() => path.get_ident().cloned(),
        _ => None,
    }
    .filter(|name| name != "self")
    .ok_or_else(|| {
        Error::new_spanned(
            value,
            "`lease` is the name that the lease has in the body, such as `lease = lease`",
        )
    })
}

fn path(value: &Expr) -> Result<Path, Error> {
    match value {
        Expr::Path(ExprPath { path, qself: None, .. }) => Ok(path.clone()),
        _ => Err(Error::new_spanned(value, "`crate` is the path of the crate lessor, such as `::lessor`")),
    }
}
