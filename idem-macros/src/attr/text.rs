//! Texts: a string literal, or an expression that gives one.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Result, Token, bracketed, token};

/// The longest topic that a broker accepts.
const MAX_TOPIC_LEN: usize = 127;

pub(crate) enum Text {
    Literal(LitStr),
    Expr(Expr),
}

/// The tags that a handler takes.
pub(crate) enum Tags {
    /// One by one.
    Each(Vec<Text>),
    /// An expression that gives them all.
    All(Expr),
}

impl Tags {
    /// `name = ["..", ".."]`, or `name = TAGS`.
    pub(super) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<Self> {
        super::equals(name, input, "[\"A\", \"B\"]")?;
        if input.peek(token::Bracket) {
            return Text::parse_list(name, input).map(Self::Each);
        }
        let expected = format!("expected a list: `{name} = [\"A\", \"B\"]`, or an expression that gives one");
        match input.parse() {
            Ok(Expr::Lit(literal)) => Err(Error::new_spanned(literal, expected)),
            Ok(expr) => Ok(Self::All(expr)),
            Err(error) => Err(Error::new(error.span(), expected)),
        }
    }
}

impl Text {
    /// `name = ".."`.
    pub(crate) fn parse(name: &Ident, input: ParseStream<'_>) -> Result<Self> {
        super::equals(name, input, "\"..\"")?;
        let text = Self::value(input)?;
        text.check(name)?;
        Ok(text)
    }

    /// `name = ".."` of a message that is sent, where nobody fills in a placeholder.
    pub(crate) fn parse_without_placeholder(name: &Ident, input: ParseStream<'_>) -> Result<Self> {
        let text = Self::parse(name, input)?;
        match &text {
            Self::Literal(literal) if literal.value().contains("${") => Err(Error::new(
                literal.span(),
                format!(
                    "`${{..}}` is filled in for a consumer's handlers only: write an expression that reads the configuration, such as `{name} = {name}_of(\"orders\")` with a function of yours"
                ),
            )),
            _ => Ok(text),
        }
    }

    /// The texts of a list.
    fn parse_list(name: &Ident, input: ParseStream<'_>) -> Result<Vec<Self>> {
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

    pub(super) fn value(input: ParseStream<'_>) -> Result<Self> {
        let expected = "expected a string in quotes, or an expression that gives one, such as a constant";
        let expr = input.parse().map_err(|error: Error| Error::new(error.span(), expected))?;
        match expr {
            Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => Ok(Self::Literal(literal)),
            Expr::Lit(literal) => Err(Error::new_spanned(literal, expected)),
            expr => Ok(Self::Expr(expr)),
        }
    }

    /// An expression's text is looked at when the consumer starts.
    fn check(&self, name: &Ident) -> Result<()> {
        let Self::Literal(literal) = self else { return Ok(()) };
        let text = literal.value();
        let problem = match name.to_string().as_str() {
            // Filled in when the consumer starts, and checked then.
            "topic" | "tag" | "tags" | "filter" | "scope" if text.contains("${") => unclosed_placeholder(&text),
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
            Self::Expr(expr) => expr.to_tokens(tokens),
        }
    }
}

/// A consumer fills in `${name}`; nobody does it for a message that is sent.
fn unclosed_placeholder(text: &str) -> Option<String> {
    let unclosed = text.split("${").skip(1).any(|placeholder| !placeholder.contains('}'));
    unclosed.then(|| "a `${` without its `}`: write `${name}` or `${name:default}`".to_owned())
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
