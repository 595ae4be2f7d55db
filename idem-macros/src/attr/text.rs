//! Texts: a string literal, or the path of a constant.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::ParseStream;
use syn::{Error, Ident, LitStr, Path, Result, Token, bracketed};

/// The longest topic that a broker accepts.
const MAX_TOPIC_LEN: usize = 127;

pub(crate) enum Text {
    Literal(LitStr),
    Constant(Path),
}

impl Text {
    /// `name = ".."`.
    pub(crate) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<Self> {
        super::equals(name, input, "\"..\"")?;
        let text = Self::value(input)?;
        text.check(name)?;
        Ok(text)
    }

    /// `name = ["..", ".."]`.
    pub(super) fn parse_list(name: &Ident, input: ParseStream<'_>) -> Result<Vec<Self>> {
        super::equals(name, input, "[\"A\", \"B\"]")?;
        if !input.peek(syn::token::Bracket) {
            return Err(input.error(format!("expected a list: `{name} = [\"A\", \"B\"]`")));
        }
        let list;
        let bracket = bracketed!(list in input);
        let texts = list.parse_terminated(Self::value, Token![,])?;
        if texts.is_empty() {
            let message =
                format!("`{name}` is empty: name a tag, or leave `{name}` out to take all messages");
            return Err(Error::new(bracket.span.join(), message));
        }
        texts.iter().try_for_each(|text| text.check(name))?;
        Ok(texts.into_iter().collect())
    }

    fn value(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            return input.parse().map(Self::Literal);
        }
        let expected =
            |error: Error| Error::new(error.span(), "expected a string in quotes, or the path of a constant");
        input.call(Path::parse_mod_style).map(Self::Constant).map_err(expected)
    }

    /// A constant's text is looked at when the consumer starts.
    fn check(&self, name: &Ident) -> Result<()> {
        let Self::Literal(literal) = self else { return Ok(()) };
        let text = literal.value();
        let problem = match name.to_string().as_str() {
            "topic" => topic_problem(&text),
            "tag" | "tags" => tag_problem(&text),
            "filter" => text.trim().is_empty().then(|| {
                "the filter is empty: write a condition, such as `filter = \"amount > 100\"`, or leave it out".to_owned()
            }),
            _ => text.is_empty().then(|| format!("`{name}` is empty: name it, or leave it out")),
        };
        problem.map_or(Ok(()), |problem| Err(Error::new(literal.span(), problem)))
    }
}

impl ToTokens for Text {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Literal(literal) => literal.to_tokens(tokens),
            Self::Constant(path) => path.to_tokens(tokens),
        }
    }
}

fn topic_problem(topic: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-%|".contains(c);
    if topic.is_empty() {
        return Some("the topic is empty: name the topic, such as `topic = \"orders\"`".to_owned());
    }
    if let Some(c) = topic.chars().find(|c| !allowed(*c)) {
        return Some(format!(
            "RocketMQ does not accept `{}` in a topic: use letters, digits, `_` and `-`",
            c.escape_default()
        ));
    }
    (topic.len() > MAX_TOPIC_LEN).then(|| {
        format!("the topic has {} characters: RocketMQ accepts at most {MAX_TOPIC_LEN}", topic.len())
    })
}

fn tag_problem(tag: &str) -> Option<String> {
    let bad = |c: char| c == '|' || c.is_whitespace() || c.is_control();
    if tag == "*" || tag.is_empty() {
        return Some(format!("`{tag}` is no tag: leave `tag` out to take all messages of the topic"));
    }
    if tag.contains("||") {
        let tags: Vec<_> = tag.split("||").map(|tag| format!("{:?}", tag.trim())).collect();
        return Some(format!("one string is one tag: write `tags = [{}]`", tags.join(", ")));
    }
    tag.contains(bad)
        .then(|| "a tag has no spaces and no `|`: write several tags as `tags = [\"A\", \"B\"]`".to_owned())
}
