//! Where the key comes from.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{
    Error, Expr, ExprPath, Ident, Index, LitInt, LitStr, Member, Path, Result, Token, parenthesized, token,
};

use super::suggest;
use super::text::Text;

const EXPECTED: &str = "expected the name of a field: `key = \"order_id\"`, `key = \"buyer.id\"` or `key = (\"tenant\", \"order_id\")`";

pub(crate) enum Key {
    /// Fields of the payload, each by its path.
    Fields(Vec<FieldPath>),
    /// A function of the payload, by its path, or a closure.
    With(Expr),
    /// The message around the payload.
    From(Source),
}

/// `buyer.id`: the members from the payload inwards.
pub(crate) struct FieldPath(pub(crate) Vec<Member>);

pub(crate) enum Source {
    MessageKeys,
    UniqueKey,
    ProducerKey,
    Property(Text),
}

impl Key {
    pub(crate) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<Self> {
        match name.to_string().as_str() {
            "key" => {
                super::equals(name, input, "\"order_id\"")?;
                fields(input).map(Self::Fields)
            }
            "key_with" => function(name, input).map(Self::With),
            _ => {
                super::equals(name, input, "message_keys")?;
                input.parse().map(Self::From)
            }
        }
    }
}

impl FieldPath {
    /// `name = "field"`.
    pub(crate) fn of_option(name: &Ident, input: ParseStream<'_>) -> Result<Self> {
        super::equals(name, input, "\"buyer_id\"")?;
        if input.peek(token::Paren) {
            return Err(Error::new(
                name.span(),
                format!("`{name}` takes one field: `{name} = \"buyer_id\"`"),
            ));
        }
        input.parse()
    }
}

/// `path::to::function`, or `|order| order.id`.
fn function(name: &Ident, input: ParseStream<'_>) -> Result<Expr> {
    super::equals(name, input, "path::to::function")?;
    if input.peek(Token![|]) || input.peek(Token![||]) || input.peek(Token![move]) {
        return input.parse().map(Expr::Closure);
    }
    let expected = "expected a function of the payload: `key_with = path::to::function`, or `key_with = |order| order.id`";
    let path = Path::parse_mod_style(input).map_err(|error| Error::new(error.span(), expected))?;
    Ok(Expr::Path(ExprPath { attrs: Vec::new(), qself: None, path }))
}

fn fields(input: ParseStream<'_>) -> Result<Vec<FieldPath>> {
    if !input.peek(token::Paren) {
        return Ok(vec![input.parse()?]);
    }
    let list;
    let paren = parenthesized!(list in input);
    let fields = list.parse_terminated(FieldPath::parse, Token![,])?;
    if fields.is_empty() {
        return Err(Error::new(paren.span.join(), format!("the key has no part: {EXPECTED}")));
    }
    Ok(fields.into_iter().collect())
}

impl Parse for FieldPath {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            return from_literal(&input.parse()?);
        }
        let mut members = vec![member(input)?];
        while input.peek(Token![.]) {
            input.parse::<Token![.]>()?;
            members.push(member(input)?);
        }
        Ok(Self(members))
    }
}

/// Each member keeps the literal's span: that is where rustc tells of an unknown field.
fn from_literal(literal: &LitStr) -> Result<FieldPath> {
    let text = literal.value();
    let wrong = |message: String| Error::new(literal.span(), message);
    if text.is_empty() {
        return Err(wrong(format!("the key is empty: {EXPECTED}")));
    }
    let members = text.split('.').map(|segment| match segment {
        "" => Err(wrong(format!("`{text}` has an empty name between its dots: {EXPECTED}"))),
        segment => name(segment, literal.span())
            .ok_or_else(|| wrong(format!("`{segment}` is not the name of a field: {EXPECTED}"))),
    });
    members.collect::<Result<_>>().map(FieldPath)
}

fn name(segment: &str, span: Span) -> Option<Member> {
    if let Ok(index) = segment.parse() {
        return Some(Member::Unnamed(Index { index, span }));
    }
    // The text is compared, because a parser skips spaces and comments around the name.
    let parsed = syn::parse::Parser::parse_str(Ident::parse_any, segment).ok();
    let mut ident = parsed.filter(|ident: &Ident| ident == segment)?;
    if syn::parse_str::<Ident>(segment).is_err() {
        let keyword_field = !matches!(segment, "self" | "Self" | "super" | "crate" | "_");
        ident = keyword_field.then(|| Ident::new_raw(segment, span))?;
    }
    ident.set_span(span);
    Some(Member::Named(ident))
}

fn member(input: ParseStream<'_>) -> Result<Member> {
    let expected = |error: Error| Error::new(error.span(), EXPECTED);
    if input.peek(LitInt) {
        return input.parse::<Index>().map(Member::Unnamed).map_err(expected);
    }
    input.parse::<Ident>().map(Member::Named).map_err(expected)
}

impl Parse for Source {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let expected = "expected `message_keys`, `producer_key`, `unique_key` or `property(\"name\")`";
        let source: Ident = input.parse().map_err(|error| Error::new(error.span(), expected))?;
        match source.to_string().as_str() {
            "message_keys" => Ok(Self::MessageKeys),
            "unique_key" => Ok(Self::UniqueKey),
            "producer_key" => Ok(Self::ProducerKey),
            "property" => property(&source, input).map(Self::Property),
            _ => Err(suggest::unknown(
                "value of `key_from`",
                &source,
                &["message_keys", "producer_key", "unique_key", "property"],
            )),
        }
    }
}

fn property(source: &Ident, input: ParseStream<'_>) -> Result<Text> {
    let wrong = |span| Error::new(span, "`property` needs the property's name: `property(\"name\")`");
    if !input.peek(token::Paren) {
        return Err(wrong(source.span()));
    }
    let arg;
    let paren = parenthesized!(arg in input);
    let name = Text::value(&arg).map_err(|_| wrong(paren.span.join()))?;
    if matches!(&name, Text::Literal(literal) if literal.value().is_empty()) || !arg.is_empty() {
        return Err(wrong(paren.span.join()));
    }
    Ok(name)
}
