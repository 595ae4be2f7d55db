//! `#[derive(KeyPart)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Fields, Result, Type};

use crate::ast::ours_at;
use crate::attr::krate;
use crate::implementation;

const MARK: &str = "key_part";

const ONLY_CRATE: &str = "there is only `#[key_part(crate = ::path)]`";

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let (krate, result) = krate::of_attrs(&input.attrs, MARK, ONLY_CRATE);
    match result.and_then(|()| inner(&input)) {
        Ok(inner) => expand(&input, &krate, inner),
        Err(error) => fallback(&input, &krate, &error),
    }
}

/// The type of the only field.
fn inner(input: &DeriveInput) -> Result<&Type> {
    let what = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => return Ok(&fields.unnamed[0].ty),
            Fields::Unnamed(fields) => format!("this one has {} fields", fields.unnamed.len()),
            Fields::Named(_) => "this one has fields with names".to_owned(),
            Fields::Unit => "this one has no field".to_owned(),
        },
        Data::Enum(_) => "this is an enum".to_owned(),
        Data::Union(_) => "this is a union".to_owned(),
    };
    let message = format!(
        "`KeyPart` is derived for a tuple struct with one field, such as `struct OrderId(u64);`, and {what}: implement it by hand; several parts are a key of its payload, `key = (\"tenant\", \"order_id\")`"
    );
    Err(Error::new(input.ident.span(), message))
}

fn expand(input: &DeriveInput, krate: &TokenStream, inner: &Type) -> TokenStream {
    let bound = input
        .generics
        .type_params()
        .next()
        .map(|_| quote_spanned!(Span::mixed_site()=> #inner: __idem::KeyPart));
    let part = quote_spanned!(ours_at(inner.span())=> <#inner as __idem::KeyPart>::key_part);
    let body = quote_spanned!(Span::mixed_site()=> #part(&self.0));
    implementation(input, krate, bound.as_slice(), &body)
}

/// The error and an implementation that is never called, so that a key of the type stays quiet.
fn fallback(input: &DeriveInput, krate: &TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let rest = implementation(input, krate, &[], &quote!(::core::unreachable!()));
    quote!(#error #rest)
}

fn implementation(
    input: &DeriveInput,
    krate: &TokenStream,
    bounds: &[TokenStream],
    body: &TokenStream,
) -> TokenStream {
    let method = quote_spanned! {Span::mixed_site()=>
        fn key_part(&self) -> ::core::option::Option<__idem::Cow<'_, [u8]>> {
            #body
        }
    };
    implementation::of(input, krate, &quote!(KeyPart), bounds, &method)
}
