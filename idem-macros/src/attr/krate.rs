//! `crate = ::path` or `crate = "path"`: where the expansion finds idem.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Error, LitStr, Meta, Path, Result};

/// The value of `crate`.
pub(crate) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<Path> {
    super::equals(name, input, "::path")?;
    if input.peek(LitStr) {
        let literal: LitStr = input.parse()?;
        let no_path = |_| {
            let text = literal.value();
            Error::new(
                literal.span(),
                format!("`{text}` is not a path: `crate = ::path` or `crate = \"path\"`"),
            )
        };
        return literal.parse_with(Path::parse_mod_style).map_err(no_path);
    }
    let expected =
        |error: Error| Error::new(error.span(), "expected a path: `crate = ::path` or `crate = \"path\"`");
    input.call(Path::parse_mod_style).map_err(expected)
}

/// The crate that the options name, also behind a mistake: the fallback must find it, or there would be a second error.
pub(crate) fn find(options: TokenStream) -> Option<Path> {
    let mut tokens = options.into_iter();
    let mut is_name = true;
    while let Some(token) = tokens.next() {
        if let (true, TokenTree::Ident(name)) = (is_name, &token)
            && name == "crate"
        {
            let value = tokens.by_ref().take_while(|token| !is_comma(token)).collect();
            return (|input: ParseStream<'_>| parse(name, input)).parse2(value).ok();
        }
        is_name = is_comma(&token);
    }
    None
}

/// The path to write: the one that was said, or the crate under its own name.
pub(crate) fn or_default(said: Option<&Path>) -> TokenStream {
    said.map_or_else(|| quote!(::idem_rocketmq), |path| quote!(#path))
}

/// The crate that a type's attribute `mark` names, where it can say nothing else. What was said before a mistake is kept.
pub(crate) fn of_attrs(attrs: &[Attribute], mark: &str, otherwise: &str) -> (TokenStream, Result<()>) {
    let mut said = None;
    let mut result = Ok(());
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(mark)) {
        let Meta::List(list) = &attr.meta else {
            return (or_default(said.as_ref()), Err(Error::new_spanned(attr, otherwise)));
        };
        said = said.or_else(|| find(list.tokens.clone()));
        let parser = |input: ParseStream<'_>| only_crate(input, otherwise);
        result = result.and(parser.parse2(list.tokens.clone()));
    }
    (or_default(said.as_ref()), result)
}

fn only_crate(input: ParseStream<'_>, otherwise: &str) -> Result<()> {
    let name = input.call(Ident::parse_any).map_err(|error| Error::new(error.span(), otherwise))?;
    if name != "crate" {
        return Err(Error::new(name.span(), otherwise));
    }
    parse(&name, input)?;
    input.parse::<Option<syn::Token![,]>>()?;
    if input.is_empty() { Ok(()) } else { Err(input.error(otherwise)) }
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}
