//! Whole numbers that are not zero, or expressions that give one.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitInt, Result, Token};

/// `name = 8`, or `name = unlimited`.
pub(super) fn parse_or_unlimited(name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    let Some(word) = word(input) else { return parse(name, input) };
    super::equals(name, input, "8")?;
    input.parse::<Ident>()?;
    if word == "unlimited" {
        return Ok(quote_spanned!(Span::mixed_site()=> __idem::UNLIMITED));
    }
    Err(Error::new(word.span(), "expected a number of attempts, or `unlimited` for no dead letter"))
}

/// A word in lower case: an option's own, and no constant.
fn word(input: ParseStream<'_>) -> Option<Ident> {
    let ahead = input.fork();
    ahead.parse::<Token![=]>().ok()?;
    let word: Ident = ahead.parse().ok()?;
    let is_alone = ahead.is_empty() || ahead.peek(Token![,]);
    (is_alone && !word.to_string().contains(char::is_uppercase)).then_some(word)
}

/// `name = 8`, where more than `most` makes no sense.
pub(super) fn parse_up_to(most: u32, name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    match value(name, input)? {
        Number::Literal(literal) if literal.base10_parse::<u32>()? > most => {
            let message = format!("`{name}` is at most {most}: a broker hands out no more messages at once");
            Err(Error::new(literal.span(), message))
        }
        number => Ok(number.into_token_stream()),
    }
}

/// `name = 8`, or `name = WORKERS`.
pub(super) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
    value(name, input).map(Number::into_token_stream)
}

enum Number {
    Literal(LitInt),
    /// One that is looked at when the consumer starts.
    Expr(Expr),
}

impl Number {
    fn into_token_stream(self) -> TokenStream {
        match self {
            Self::Literal(literal) => literal.into_token_stream(),
            Self::Expr(expr) => expr.into_token_stream(),
        }
    }
}

fn value(name: &Ident, input: ParseStream<'_>) -> Result<Number> {
    super::equals(name, input, "8")?;
    let expected = format!("expected a whole number of at least 1: `{name} = 8`");
    let literal = match input.parse() {
        Ok(Expr::Lit(ExprLit { lit: Lit::Int(literal), .. })) => literal,
        Ok(other @ (Expr::Lit(_) | Expr::Unary(_))) => return Err(Error::new_spanned(other, expected)),
        Ok(expr) => return Ok(Number::Expr(expr)),
        Err(error) => return Err(Error::new(error.span(), expected)),
    };
    match literal.base10_parse::<u32>() {
        Ok(1..) if literal.suffix().is_empty() => Ok(Number::Literal(literal)),
        Ok(0) => Err(Error::new(
            literal.span(),
            format!("`{name}` is zero: the handler would never run; {expected}"),
        )),
        _ => Err(Error::new(literal.span(), expected)),
    }
}
