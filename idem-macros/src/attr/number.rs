//! Whole numbers that are not zero.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::ParseStream;
use syn::{Error, Ident, LitInt, Result};

/// `max_attempts = unlimited`.
fn unlimited(input: ParseStream<'_>) -> Result<TokenStream> {
    let word: Ident = input.parse()?;
    if word == "unlimited" {
        return Ok(quote_spanned!(Span::mixed_site()=> __idem::UNLIMITED));
    }
    Err(Error::new(word.span(), "expected a number of attempts, or `unlimited` for no dead letter"))
}

/// `name = 8`.
pub(super) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    super::equals(name, input, "8")?;
    let expected = format!("expected a whole number of at least 1: `{name} = 8`");
    if name == "max_attempts" && input.peek(Ident) {
        return unlimited(input);
    }
    let literal: LitInt = input.parse().map_err(|error| Error::new(error.span(), &expected))?;
    match literal.base10_parse::<u32>() {
        Ok(1..) if literal.suffix().is_empty() => Ok(quote!(#literal)),
        Ok(0) => Err(Error::new(
            literal.span(),
            format!("`{name}` is zero: the handler would never run; {expected}"),
        )),
        _ => Err(Error::new(literal.span(), expected)),
    }
}
