//! The expansion of a mistake: as much as keeps other errors away.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Error;

use crate::ast::{Function, marker};

/// The function, the struct beside it, and a route that is never made, so that `handlers![..]` stays quiet.
pub(crate) fn expand(function: &Function, krate: &TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let function_alone = function.with(&quote!(#[allow(dead_code, unused_variables, clippy::unused_async)]));
    if function.sig.receiver().is_some() {
        // In an `impl`, where no struct may be.
        return quote!(#error #function_alone);
    }
    let (cfgs, name) = (function.cfgs(), &function.sig.ident);
    let marker = marker(function);
    let route = quote_spanned! {Span::mixed_site()=>
        #(#cfgs)*
        const _: () = {
            use #krate::__private as __idem;
            impl __idem::Routed for #name {
                fn route() -> __idem::Route {
                    ::core::unreachable!()
                }
            }
        };
    };
    quote!(#error #function_alone #marker #route)
}
