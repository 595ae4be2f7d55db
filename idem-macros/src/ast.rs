//! The function that the attribute is on.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, PatType, Result, ReturnType, Signature, Token, Type, Visibility};

/// A function with its body as it was written: a body that is only half typed gives its own error and no other.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if input.peek(Token![struct])
            || input.peek(Token![enum])
            || input.peek(Token![impl])
            || input.peek(Token![mod])
        {
            return Err(input.error("`#[idempotent]` goes on an `async fn`"));
        }
        let sig = input.parse()?;
        match input.parse()? {
            TokenTree::Group(body) => Ok(Self { attrs, vis, sig, body }),
            other => Err(Error::new(
                other.span(),
                "a handler has a body: `#[idempotent]` goes on a free `async fn`",
            )),
        }
    }
}

impl Function {
    /// The arguments with their types; a `self` is not among them.
    pub(crate) fn args(&self) -> impl Iterator<Item = &PatType> {
        self.sig.inputs.iter().filter_map(|arg| match arg {
            FnArg::Typed(arg) => Some(arg),
            FnArg::Receiver(_) => None,
        })
    }

    /// The type of the first argument: the payload, or a batch of them.
    pub(crate) fn payload(&self) -> Option<&Type> {
        self.args().next().map(|arg| &*arg.ty)
    }

    /// The types of the arguments behind the payload.
    pub(crate) fn extractors(&self) -> impl Iterator<Item = &Type> {
        self.args().skip(1).map(|arg| &*arg.ty)
    }

    /// The type that is returned.
    pub(crate) fn output(&self) -> Option<&Type> {
        match &self.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        }
    }

    /// The conditions under which the function is there at all.
    pub(crate) fn cfgs(&self) -> impl Iterator<Item = &Attribute> {
        self.attrs.iter().filter(|attr| attr.path().is_ident("cfg"))
    }

    /// The function under one more attribute.
    pub(crate) fn with(&self, attr: &TokenStream) -> TokenStream {
        quote!(#attr #self)
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attrs, vis, sig, body } = self;
        tokens.extend(quote!(#(#attrs)* #vis #sig #body));
    }
}

/// The struct that stands for the function where types live.
pub(crate) fn marker(function: &Function) -> TokenStream {
    let (cfgs, vis, name) = (function.cfgs(), &function.vis, &function.sig.ident);
    quote_spanned! {Span::mixed_site()=>
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(non_camel_case_types, clippy::empty_structs_with_brackets, clippy::exhaustive_structs)]
        #vis struct #name {}
    }
}

/// The place of the user's token with the hygiene of our own, so that lints take it for ours.
pub(crate) fn ours_at(span: Span) -> Span {
    span.resolved_at(Span::mixed_site())
}
