//! `backoff = "10s"`, `["1s", "5s", "1m"]`, `exponential("1s", "5m")`, or an expression.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::parse::ParseStream;
use syn::spanned::Spanned as _;
use syn::{Error, Ident, Result, Token, bracketed, parenthesized, token};

use super::suggest;
use super::time::Time;
use crate::ast::ours_at;

const EXPECTED: &str = "expected `backoff = \"10s\"`, `backoff = [\"1s\", \"5s\", \"1m\"]` or `backoff = exponential(\"1s\", \"5m\")`, or an expression that gives a `Duration` or a `Backoff`";

pub(super) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    super::equals(name, input, "\"10s\"")?;
    if input.peek(token::Bracket) {
        return steps(input);
    }
    if input.peek(Ident) && input.peek2(token::Paren) {
        let name = input.fork().parse::<Ident>()?;
        if name == "exponential" {
            return exponential(input);
        }
        suggest::unless_like("value of `backoff`", &name, "exponential")?;
    }
    match Time::value(input).map_err(|error| Error::new(error.span(), EXPECTED))? {
        time @ Time::Literal(_) => {
            let delay = time.expr();
            Ok(quote_spanned!(Span::mixed_site()=> __idem::Backoff::fixed(#delay)))
        }
        Time::Expr(expr) => {
            let span = ours_at(expr.span());
            Ok(quote_spanned!(span=> __idem::IntoBackoff::into_backoff(#expr)))
        }
    }
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
    input.parse::<Ident>()?;
    let args;
    let paren = parenthesized!(args in input);
    let args: Vec<_> = args.parse_terminated(Time::value, Token![,])?.into_iter().collect();
    let [first, max] = args.as_slice() else {
        return Err(Error::new(
            paren.span.join(),
            "`exponential` takes the first and the longest delay: `(\"1s\", \"5m\")`",
        ));
    };
    if let (Some(first), Some(max)) = (first.literal(), max.literal())
        && first.millis > max.millis
    {
        let message = "the first delay is longer than the longest: swap them";
        return Err(Error::new(first.text.span(), message));
    }
    let (first, max) = (first.expr(), max.expr());
    Ok(quote_spanned!(Span::mixed_site()=> __idem::Backoff::exponential(#first, #max)))
}
