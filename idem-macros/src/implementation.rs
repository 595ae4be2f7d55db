//! An implementation of one of idem's traits, as each derive writes it.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::DeriveInput;

/// Implements `of` for the type, in a scope where `__idem` is what expansions name.
pub(crate) fn of(
    input: &DeriveInput,
    krate: &TokenStream,
    of: &TokenStream,
    bounds: &[TokenStream],
    method: &TokenStream,
) -> TokenStream {
    let name = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let predicates = where_clause.iter().flat_map(|clause| &clause.predicates);
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            use #krate::__private as __idem;
            #[automatically_derived]
            impl #impl_generics __idem::#of for #name #ty_generics where #(#predicates,)* #(#bounds,)* {
                #method
            }
        };
    }
}
