//! Durations such as `"1h30m"`, or expressions that give one.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Result};

const EXPECTED: &str = "write whole numbers with units, such as `500ms`, `10s`, `10m`, `2h`, `4d` or `1h30m`";

/// A duration as it was written.
pub(crate) enum Time {
    Literal(Literal),
    /// One that is looked at when the consumer starts.
    Expr(Expr),
}

/// `"10s"`.
pub(crate) struct Literal {
    pub(crate) millis: u64,
    pub(crate) text: LitStr,
}

impl Time {
    /// `name = "10s"`.
    pub(super) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<Self> {
        super::equals(name, input, "\"10s\"")?;
        Self::value(input)
    }

    /// `"10s"`, or `LEASE`.
    pub(super) fn value(input: ParseStream<'_>) -> Result<Self> {
        let expected = format!("expected a duration in quotes, or an expression that gives one: {EXPECTED}");
        match input.parse() {
            Ok(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => Self::of(text),
            Ok(Expr::Lit(literal)) => Err(Error::new_spanned(literal, expected)),
            Ok(expr) => Ok(Self::Expr(expr)),
            Err(error) => Err(Error::new(error.span(), expected)),
        }
    }

    fn of(text: LitStr) -> Result<Self> {
        let not_one = || format!("`{}` is not a duration: {EXPECTED}", text.value());
        let millis = millis(&text.value()).ok_or_else(|| Error::new(text.span(), not_one()))?;
        Ok(Self::Literal(Literal { millis, text }))
    }

    pub(super) fn more_than_zero(self) -> Result<Self> {
        match self.literal() {
            Some(Literal { millis: 0, text }) => {
                Err(Error::new(text.span(), "a duration of zero: make it longer, or leave it out"))
            }
            _ => Ok(self),
        }
    }

    pub(crate) fn literal(&self) -> Option<&Literal> {
        match self {
            Self::Literal(literal) => Some(literal),
            Self::Expr(_) => None,
        }
    }

    /// The duration as an expression.
    pub(crate) fn expr(&self) -> TokenStream {
        match self {
            Self::Literal(Literal { millis, .. }) => {
                quote_spanned!(Span::mixed_site()=> __idem::Duration::from_millis(#millis))
            }
            Self::Expr(expr) => expr.to_token_stream(),
        }
    }
}

fn millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let unit = unit_millis(unit).filter(|unit| *unit < smaller_than)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        (rest, smaller_than) = (after, unit);
    }
    (!text.is_empty()).then_some(total)
}

fn unit_millis(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn durations_are_numbers_with_units_from_great_to_small() {
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("4d"), Some(345_600_000));
        assert_eq!(millis("0s"), Some(0));
        for wrong in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 s",
            "1s1s",
            "1s1h",
            "1x",
            "10ſ",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }
}
