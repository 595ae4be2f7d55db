//! `#[derive(Message)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Data, DeriveInput, Error, Ident, Meta, Path, Result, Token};

use crate::ast::ours_at;
use crate::attr::key::{FieldPath, Key};
use crate::attr::text::Text;
use crate::attr::{krate, path, suggest};
use crate::expand::{computed, field};
use crate::implementation;

const MARK: &str = "message";

const OPTIONS: [&str; 6] = ["topic", "key", "key_with", "tag", "order_by", "codec"];

const EXAMPLE: &str = "`#[message(topic = \"orders\", key = \"order_id\")]`";

/// The options, each at most once.
#[derive(Default)]
struct MessageOptions {
    krate: Option<Path>,
    topic: Option<Text>,
    tag: Option<Text>,
    key: Option<Key>,
    order_by: Option<FieldPath>,
    codec: Option<Path>,
    seen: Vec<Ident>,
}

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let (options, result) = MessageOptions::of(&input);
    match result.and_then(|()| options.check(&input)) {
        Ok(()) => expand(&options, &input),
        Err(error) => fallback(&options, &input, &error),
    }
}

impl MessageOptions {
    /// Reads options up to the first mistake.
    fn of(input: &DeriveInput) -> (Self, Result<()>) {
        let mut options = Self::default();
        let result = options.read(input);
        (options, result)
    }

    fn read(&mut self, input: &DeriveInput) -> Result<()> {
        let mut attrs = input.attrs.iter().filter(|attr| attr.path().is_ident(MARK));
        let Some(attr) = attrs.next() else {
            let message = format!("the type does not say where it goes: put {EXAMPLE} on it");
            return Err(Error::new(input.ident.span(), message));
        };
        if let Some(second) = attrs.next() {
            return Err(Error::new_spanned(second, "`#[message(..)]` is given twice: put all into one"));
        }
        self.read_attr(attr)
    }

    fn read_attr(&mut self, attr: &Attribute) -> Result<()> {
        let Meta::List(list) = &attr.meta else {
            return Err(Error::new_spanned(attr, format!("the options are in parentheses: {EXAMPLE}")));
        };
        self.krate = krate::find(list.tokens.clone());
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                self.read_one(input)?;
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        parser.parse2(list.tokens.clone())
    }

    fn read_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name = input.call(Ident::parse_any).map_err(|error| {
            Error::new(
                error.span(),
                "expected an option, such as `topic = \"orders\"` or `key = \"order_id\"`",
            )
        })?;
        self.note(&name)?;
        match name.to_string().as_str() {
            "crate" => self.krate = Some(krate::parse(&name, input)?),
            "topic" => self.topic = Some(Text::parse_without_placeholder(&name, input)?),
            "tag" => self.tag = Some(Text::parse_without_placeholder(&name, input)?),
            "key" | "key_with" => self.key = Some(Key::parse(&name, input)?),
            "order_by" => self.order_by = Some(FieldPath::of_option(&name, input)?),
            "codec" => self.codec = Some(path(&name, input)?),
            _ => return Err(suggest::unknown("option", &name, &OPTIONS)),
        }
        Ok(())
    }

    fn note(&mut self, name: &Ident) -> Result<()> {
        let is_key = |name: &Ident| name == "key" || name == "key_with";
        let same = |seen: &&Ident| *seen == name || (is_key(seen) && is_key(name));
        if let Some(seen) = self.seen.iter().find(same) {
            let message = if seen == name {
                format!("`{name}` is given twice: keep one")
            } else {
                format!("`{name}` and `{seen}` say the same in two ways: keep one of them")
            };
            return Err(Error::new(name.span(), message));
        }
        self.seen.push(name.clone());
        Ok(())
    }

    /// Checks that need all options and the type.
    fn check(&self, input: &DeriveInput) -> Result<()> {
        let wrong = |message: String| Err(Error::new(input.ident.span(), message));
        if self.topic.is_none() {
            return wrong(
                "the message has no topic: add `topic = \"orders\"` to `#[message(..)]`".to_owned(),
            );
        }
        if matches!(input.data, Data::Struct(_)) {
            return Ok(());
        }
        if matches!(self.key, Some(Key::Fields(_))) {
            return wrong(
                "only a struct has fields of its own for a key: say `key_with = path::to::function`"
                    .to_owned(),
            );
        }
        match self.order_by {
            Some(_) => wrong(
                "only a struct has fields of its own to order by: implement `Message` by hand".to_owned(),
            ),
            None => Ok(()),
        }
    }

    fn krate(&self) -> TokenStream {
        krate::or_default(self.krate.as_ref())
    }
}

fn expand(options: &MessageOptions, input: &DeriveInput) -> TokenStream {
    let MessageOptions { topic, tag, order_by, .. } = options;
    let key = key(options.key.as_ref(), input.ident.span());
    let codec = codec(options.codec.as_ref());
    let encoded = quote_spanned!(ours_at(input.ident.span())=> __idem::OutgoingMessage::encoded);
    let tag = tag.iter();
    let order_by = order_by.iter().map(field);
    implementation(
        options,
        input,
        &quote_spanned! {Span::mixed_site()=>
            let payload = self;
            #encoded(#topic, #key, &#codec, payload) #(.tag(#tag))* #(.order_by(#order_by))*
        },
    )
}

fn implementation(options: &MessageOptions, input: &DeriveInput, body: &TokenStream) -> TokenStream {
    let method = quote_spanned! {Span::mixed_site()=>
        fn to_outgoing(&self) -> __idem::OutgoingMessage {
            #body
        }
    };
    implementation::of(input, &options.krate(), &quote!(Message), &[], &method)
}

/// The error and an implementation that is never called, so that a send of the type stays quiet.
fn fallback(options: &MessageOptions, input: &DeriveInput, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let rest = implementation(options, input, &quote!(::core::unreachable!()));
    quote!(#error #rest)
}

/// Without an option, the key is the type's own, and one that has none is told of at its name.
fn key(key: Option<&Key>, name: Span) -> TokenStream {
    let Some(key) = key else {
        let own = quote_spanned!(ours_at(name)=> __idem::MessageKey::message_key);
        return quote_spanned!(Span::mixed_site()=> #own(payload));
    };
    match key {
        Key::With(function) => computed(function),
        Key::Fields(fields) => {
            let fields = fields.iter().map(field);
            quote_spanned!(Span::mixed_site()=> __idem::IdempotencyKey::from_parts(&[#(#fields),*]))
        }
        Key::From(_) => unreachable!("`key_from` is no option of a message"),
    }
}

fn codec(codec: Option<&Path>) -> TokenStream {
    let picked = quote_spanned! {Span::mixed_site()=>
        {
            #[allow(unused_imports)]
            use __idem::PickJson as _;
            __idem::Pick::<Self>::codec()
        }
    };
    codec.map_or(picked, |codec| quote!(#codec))
}
