//! Whole numbers that are not zero.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::parse::ParseStream;
use syn::{Error, Ident, LitInt, Result, Token};

/// `name = 8`, or `name = unlimited`.
pub(super) fn parse_or_unlimited(name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    if !(input.peek(Token![=]) && input.peek2(Ident)) {
        return parse(name, input).map(LitInt::into_token_stream);
    }
    super::equals(name, input, "8")?;
    let word: Ident = input.parse()?;
    if word == "unlimited" {
        return Ok(quote_spanned!(Span::mixed_site()=> __idem::UNLIMITED));
    }
    Err(Error::new(word.span(), "expected a number of attempts, or `unlimited` for no dead letter"))
}

/// `name = 8`, where more than `most` makes no sense.
pub(super) fn parse_up_to(most: u32, name: &Ident, input: ParseStream<'_>) -> Result<LitInt> {
    let literal = parse(name, input)?;
    if literal.base10_parse::<u32>()? > most {
        let message = format!("`{name}` is at most {most}: a broker hands out no more messages at once");
        return Err(Error::new(literal.span(), message));
    }
    Ok(literal)
}

/// `name = 8`.
pub(super) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<LitInt> {
    super::equals(name, input, "8")?;
    let expected = format!("expected a whole number of at least 1: `{name} = 8`");
    let literal: LitInt = input.parse().map_err(|error| Error::new(error.span(), &expected))?;
    match literal.base10_parse::<u32>() {
        Ok(1..) if literal.suffix().is_empty() => Ok(literal),
        Ok(0) => Err(Error::new(
            literal.span(),
            format!("`{name}` is zero: the handler would never run; {expected}"),
        )),
        _ => Err(Error::new(literal.span(), expected)),
    }
}
