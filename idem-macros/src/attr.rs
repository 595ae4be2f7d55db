//! The options of `#[idempotent(..)]`.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Ident, Path, Result, Token, parenthesized, token};

use self::key::{FieldPath, Key};
use self::policy::Choice;
use self::text::{Tags, Text};
use self::time::Time;

mod backoff;
pub(crate) mod key;
pub(crate) mod krate;
mod number;
mod policy;
pub(crate) mod suggest;
pub(crate) mod text;
pub(crate) mod time;

const OPTIONS: [&str; 28] = [
    "key",
    "key_with",
    "key_from",
    "topic",
    "tag",
    "tags",
    "filter",
    "scope",
    "shared_scope",
    "orderly",
    "order_by",
    "broadcast",
    "retention",
    "lease",
    "timeout",
    "concurrency",
    "max_attempts",
    "backoff",
    "in_progress",
    "store_failure",
    "undecodable",
    "missing_key",
    "fingerprint",
    "uncertain",
    "codec",
    "batch",
    "transactional",
    "group_commit",
];

/// The options, each at most once.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) krate: Option<Path>,
    pub(crate) topic: Option<Text>,
    pub(crate) tags: Option<Tags>,
    pub(crate) filter: Option<Text>,
    pub(crate) key: Option<Key>,
    pub(crate) scope: Option<Text>,
    pub(crate) shared_scope: bool,
    pub(crate) orderly: bool,
    pub(crate) order_by: Option<FieldPath>,
    /// Where it was said.
    pub(crate) broadcast: Option<Span>,
    pub(crate) codec: Option<Path>,
    /// The function that says what became of an earlier run.
    pub(crate) check: Option<Path>,
    /// Where it was said.
    pub(crate) transactional: Option<Span>,
    /// Where it was said.
    pub(crate) group_commit: Option<Span>,
    /// Whether the handler takes many messages at once.
    pub(crate) batch: bool,
    pub(crate) lease: Option<Time>,
    pub(crate) timeout: Option<Time>,
    pub(crate) retention: Option<Time>,
    /// The calls on the route that the other options become.
    pub(crate) calls: Vec<Call>,
    /// The names that were seen.
    seen: Vec<Ident>,
}

/// One method call on the route.
pub(crate) struct Call {
    pub(crate) method: Ident,
    pub(crate) arg: TokenStream,
}

impl Options {
    /// Reads options up to the first mistake; what was read before it is kept for the fallback.
    pub(crate) fn parse(tokens: TokenStream) -> (Self, Result<()>) {
        let mut options = Self { krate: krate::find(tokens.clone()), ..Self::default() };
        let result = (|input: ParseStream<'_>| options.parse_all(input)).parse2(tokens);
        (options, result)
    }

    /// The path of the crate that the expansion names.
    pub(crate) fn krate(&self) -> TokenStream {
        krate::or_default(self.krate.as_ref())
    }

    fn parse_all(&mut self, input: ParseStream<'_>) -> Result<()> {
        while !input.is_empty() {
            self.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name = input.call(Ident::parse_any).map_err(|error| {
            Error::new(
                error.span(),
                "expected an option, such as `key = \"order_id\"` or `topic = \"orders\"`",
            )
        })?;
        self.note(&name)?;
        match name.to_string().as_str() {
            "crate" => self.krate = Some(krate::parse(&name, input)?),
            "topic" => self.topic = Some(Text::parse(&name, input)?),
            "tag" => self.tags = Some(Tags::Each(vec![Text::parse(&name, input)?])),
            "tags" => self.tags = Some(Tags::parse(&name, input)?),
            "filter" => self.filter = Some(Text::parse(&name, input)?),
            "key" | "key_with" | "key_from" => self.key = Some(Key::parse(&name, input)?),
            "scope" => self.scope = Some(Text::parse(&name, input)?),
            "shared_scope" => self.shared_scope = true,
            "orderly" => self.orderly = true,
            "order_by" => self.order_by = Some(FieldPath::of_option(&name, input)?),
            "broadcast" => self.broadcast = Some(name.span()),
            "transactional" => self.transactional = Some(name.span()),
            "group_commit" => self.group_commit = Some(name.span()),
            "codec" => self.codec = Some(path(&name, input)?),
            "lease" => self.lease = Some(Time::parse(&name, input)?.more_than_zero()?),
            "timeout" => self.timeout = Some(Time::parse(&name, input)?.more_than_zero()?),
            "retention" => self.retention = Some(Time::parse(&name, input)?.more_than_zero()?),
            "batch" => self.parse_batch(&name, input)?,
            "uncertain" => self.parse_uncertain(&name, input)?,
            _ => self.parse_setting(&name, input)?,
        }
        Ok(())
    }

    /// `batch`, or `batch = 10`.
    fn parse_batch(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        self.batch = true;
        if input.peek(Token![=]) {
            let arg = number::parse_up_to(32, name, input)?;
            self.calls.push(Call { method: Ident::new("max_batch", Span::mixed_site()), arg });
        }
        Ok(())
    }

    /// `uncertain = run`, `hold`, or `check(path::to::function)`.
    fn parse_uncertain(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        let ahead = input.fork();
        let is_check =
            ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Ident>().is_ok_and(|word| word == "check");
        if !is_check {
            return self.parse_setting(name, input);
        }
        input.parse::<Token![=]>()?;
        let word: Ident = input.parse()?;
        let expected =
            |span| Error::new(span, "`check` needs a function: `uncertain = check(path::to::function)`");
        if !input.peek(token::Paren) {
            return Err(expected(word.span()));
        }
        let function;
        parenthesized!(function in input);
        self.check = Some(function.call(Path::parse_mod_style).map_err(|error| expected(error.span()))?);
        if function.is_empty() { Ok(()) } else { Err(expected(function.span())) }
    }

    fn parse_setting(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        let arg = match name.to_string().as_str() {
            "concurrency" => number::parse(name, input)?,
            "max_attempts" => number::parse_or_unlimited(name, input)?,
            "backoff" => backoff::parse(name, input)?,
            option => match Choice::of(option) {
                Some(choice) => choice.parse(name, input)?,
                None => return Err(suggest::unknown("option", name, &OPTIONS)),
            },
        };
        self.calls.push(Call { method: Ident::new(&name.to_string(), Span::mixed_site()), arg });
        Ok(())
    }

    /// Refuses an option that was there before, or another way to say the same.
    fn note(&mut self, name: &Ident) -> Result<()> {
        let subject = |name: &Ident| match name.to_string() {
            name if name.starts_with("key") => "key".to_owned(),
            name if name == "tags" => "tag".to_owned(),
            name => name,
        };
        match self.seen.iter().find(|seen| subject(seen) == subject(name)) {
            Some(seen) if seen == name => {
                Err(Error::new(name.span(), format!("`{name}` is given twice: keep one")))
            }
            Some(seen) => Err(Error::new(
                name.span(),
                format!("`{name}` and `{seen}` say the same in two ways: keep one of them"),
            )),
            None => {
                self.seen.push(name.clone());
                Ok(())
            }
        }
    }
}

/// The `=` behind an option's name.
fn equals(name: &Ident, input: ParseStream<'_>, example: &str) -> Result<()> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("`{name}` needs a value: `{name} = {example}`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() {
        return Err(Error::new(name.span(), format!("`{name}` needs a value: `{name} = {example}`")));
    }
    Ok(())
}

pub(crate) fn path(name: &Ident, input: ParseStream<'_>) -> Result<Path> {
    equals(name, input, "::path")?;
    let expected = |error: Error| Error::new(error.span(), format!("expected a path: `{name} = ::path`"));
    input.call(Path::parse_mod_style).map_err(expected)
}
