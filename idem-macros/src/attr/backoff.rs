//! `backoff = "10s"`, `["1s", "5s", "1m"]` or `exponential("1s", "5m")`.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::parse::ParseStream;
use syn::{Error, Ident, LitStr, Result, Token, bracketed, parenthesized, token};

use super::time::Time;

const EXPECTED: &str = "expected `backoff = \"10s\"`, `backoff = [\"1s\", \"5s\", \"1m\"]` or `backoff = exponential(\"1s\", \"5m\")`";

pub(super) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    super::equals(name, input, "\"10s\"")?;
    if input.peek(LitStr) {
        let delay = Time::value(input)?.expr();
        return Ok(quote_spanned!(Span::mixed_site()=> __idem::Backoff::fixed(#delay)));
    }
    if input.peek(token::Bracket) {
        return steps(input);
    }
    if input.peek(Ident) && input.peek2(token::Paren) {
        return exponential(input);
    }
    Err(input.error(EXPECTED))
}

fn steps(input: ParseStream<'_>) -> Result<TokenStream> {
    let list;
    let bracket = bracketed!(list in input);
    let delays = list.parse_terminated(Time::value, Token![,])?;
    if delays.is_empty() {
        return Err(Error::new(bracket.span.join(), format!("no delay at all: {EXPECTED}")));
    }
    let delays = delays.iter().map(Time::expr);
    Ok(quote_spanned!(Span::mixed_site()=> __idem::Backoff::steps([#(#delays),*])))
}

fn exponential(input: ParseStream<'_>) -> Result<TokenStream> {
    let name: Ident = input.parse()?;
    if name != "exponential" {
        return Err(Error::new(name.span(), EXPECTED));
    }
    let args;
    let paren = parenthesized!(args in input);
    let args: Vec<_> = args.parse_terminated(Time::value, Token![,])?.into_iter().collect();
    let [first, max] = args.as_slice() else {
        return Err(Error::new(
            paren.span.join(),
            "`exponential` takes the first and the longest delay: `(\"1s\", \"5m\")`",
        ));
    };
    if first.millis > max.millis {
        return Err(Error::new(
            first.literal.span(),
            "the first delay is longer than the longest: swap them",
        ));
    }
    let (first, max) = (first.expr(), max.expr());
    Ok(quote_spanned!(Span::mixed_site()=> __idem::Backoff::exponential(#first, #max)))
}
