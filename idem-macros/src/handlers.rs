//! `handlers![a, m::b]`: the struct beside each function gives its route.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Path, Result, Token, parenthesized};

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let List { krate, handlers } = List::parse.parse2(input)?;
    let handlers = handlers.iter();
    Ok(quote! {{
        let routes: #krate::__private::Vec<#krate::__private::Route> =
            #krate::__private::Vec::from([#(<#handlers as #krate::__private::Routed>::route()),*]);
        routes
    }})
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
