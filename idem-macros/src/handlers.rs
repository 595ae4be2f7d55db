//! `handlers![a, m::b]`: the struct beside each function gives its route.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Path, Result, Token, parenthesized};

use crate::ast::ours_at;

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let List { krate, handlers } = List::parse.parse2(input)?;
    let routes = handlers.iter().map(|handler| route(&krate, handler));
    Ok(quote! {{
        let routes: #krate::__private::Vec<#krate::__private::Route> = #krate::__private::Vec::from([#(#routes),*]);
        routes
    }})
}

/// The inner import shadows the outer one if the function has a struct beside it. If not, it brings the function alone,
/// and the outer struct says what is missing.
fn route(krate: &TokenStream, handler: &Path) -> TokenStream {
    let span = handler.segments.last().map_or_else(Span::mixed_site, |last| last.ident.span());
    let name = Ident::new("WithoutIdempotent", span);
    let handler = not_a_variable(handler.clone());
    let import = quote_spanned!(span=> use #handler as #name;);
    quote! {{
        #[allow(unused_imports)]
        use #krate::__private::WithoutIdempotent;
        {
            #[allow(deprecated, unused_imports)]
            #import
            <#name as #krate::__private::Routed>::route()
        }
    }}
}

/// A variable around the list may have a handler's name, and an import refuses it. Only variables are hygienic.
fn not_a_variable(mut handler: Path) -> Path {
    if let (true, Some(name)) = (handler.segments.len() == 1, handler.segments.first_mut()) {
        name.ident.set_span(ours_at(name.ident.span()));
    }
    handler
}

struct List {
    krate: TokenStream,
    handlers: Punctuated<Path, Token![,]>,
}

impl Parse for List {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let krate;
        parenthesized!(krate in input);
        Ok(Self { krate: krate.parse()?, handlers: Punctuated::parse_terminated_with(input, handler)? })
    }
}

fn handler(input: ParseStream<'_>) -> Result<Path> {
    let not_a_path = "`handlers!` takes the names of functions with `#[idempotent]`, such as `handlers![pay, orders::ship]`; push a route made with `handler(..)` to the list that it gives";
    if !(input.peek(syn::Ident) || input.peek(Token![::]) || is_path_keyword(input)) {
        return Err(input.error(not_a_path));
    }
    let path = input.call(Path::parse_mod_style)?;
    if !(input.is_empty() || input.peek(Token![,])) {
        return Err(input.error(not_a_path));
    }
    Ok(path)
}

fn is_path_keyword(input: ParseStream<'_>) -> bool {
    input.peek(Token![crate]) || input.peek(Token![self]) || input.peek(Token![super])
}
