//! Options with a fixed list of values, one for each row of the verdict table.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::parse::ParseStream;
use syn::{Error, Ident, Result, Token, parenthesized, token};

use super::suggest;
use super::time::Time;

/// One option: the enum of the core that it is, and its values with their variants.
pub(super) struct Choice {
    option: &'static str,
    ty: &'static str,
    values: &'static [(&'static str, &'static str)],
    /// The meaning of the bare option.
    bare: Option<&'static str>,
    /// The value that takes a duration.
    timed: Option<&'static str>,
}

const CHOICES: [Choice; 6] = [
    Choice {
        option: "in_progress",
        ty: "InProgress",
        values: &[("retry", "Retry"), ("wait", "Wait")],
        bare: None,
        timed: Some("wait"),
    },
    Choice {
        option: "store_failure",
        ty: "StoreFailure",
        values: &[("hold", "Hold"), ("open", "Open"), ("retry", "Retry")],
        bare: None,
        timed: None,
    },
    Choice {
        option: "undecodable",
        ty: "Undecodable",
        values: &[("dead_letter", "DeadLetter"), ("retry", "Retry")],
        bare: None,
        timed: None,
    },
    Choice {
        option: "missing_key",
        ty: "MissingKey",
        values: &[("dead_letter", "DeadLetter"), ("retry", "Retry"), ("run", "RunWithoutDedup")],
        bare: None,
        timed: None,
    },
    Choice {
        option: "fingerprint",
        ty: "FingerprintMismatch",
        values: &[("dead_letter", "DeadLetter"), ("duplicate", "Duplicate"), ("run", "Run")],
        bare: Some("DeadLetter"),
        timed: None,
    },
    // Besides, `check(..)`, which is no setting.
    Choice {
        option: "uncertain",
        ty: "UncertainRun",
        values: &[("run", "Run"), ("hold", "Hold")],
        bare: None,
        timed: None,
    },
];

impl Choice {
    pub(super) fn of(option: &str) -> Option<&'static Self> {
        CHOICES.iter().find(|choice| choice.option == option)
    }

    pub(super) fn parse(&self, name: &Ident, input: ParseStream<'_>) -> Result<TokenStream> {
        if let Some(bare) = self.bare
            && !input.peek(Token![=])
        {
            return Ok(self.variant(bare, None));
        }
        super::equals(name, input, self.values[0].0)?;
        let value: Ident = input.parse().map_err(|error| Error::new(error.span(), self.expected()))?;
        let Some((written, variant)) = self.values.iter().find(|(written, _)| value == written) else {
            let known: Vec<_> = self.values.iter().map(|(written, _)| *written).collect();
            return Err(suggest::unknown(&format!("value of `{name}`"), &value, &known));
        };
        let time = (self.timed == Some(*written)).then(|| duration(&value, input)).transpose()?;
        Ok(self.variant(variant, time.as_ref()))
    }

    fn variant(&self, variant: &str, time: Option<&Time>) -> TokenStream {
        let (ty, variant) = (format_ident!("{}", self.ty), format_ident!("{variant}"));
        let time = time.map(|time| {
            let expr = time.expr();
            quote_spanned!(Span::mixed_site()=> (#expr))
        });
        quote_spanned!(Span::mixed_site()=> __idem::#ty::#variant #time)
    }

    fn expected(&self) -> String {
        let values: Vec<_> = self.values.iter().map(|(written, _)| *written).collect();
        format!("expected one of `{}`, without quotes", values.join("`, `"))
    }
}

fn duration(value: &Ident, input: ParseStream<'_>) -> Result<Time> {
    if !input.peek(token::Paren) {
        return Err(Error::new(value.span(), format!("`{value}` needs a duration: `{value}(\"2s\")`")));
    }
    let arg;
    parenthesized!(arg in input);
    let time = Time::value(&arg)?;
    if arg.is_empty() { Ok(time) } else { Err(arg.error(format!("`{value}` takes one duration"))) }
}
