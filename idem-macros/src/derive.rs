//! `#[derive(IdempotencyKey)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Field, Member, Meta, Result};

use crate::ast::ours_at;
use crate::attr::krate;
use crate::implementation;

const MARK: &str = "idempotency_key";

const ON_THE_TYPE: &str = "on the type there is only `#[idempotency_key(crate = ::path)]`; mark the fields";

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let (krate, result) = krate::of_attrs(&input.attrs, MARK, ON_THE_TYPE);
    match result.and_then(|()| marked(&input)) {
        Ok(marked) => expand(&input, &krate, &marked),
        Err(error) => fallback(&input, &krate, &error),
    }
}

fn expand(input: &DeriveInput, krate: &TokenStream, marked: &[(Member, &Field)]) -> TokenStream {
    let parts = marked.iter().map(|(member, _)| quote_spanned!(ours_at(member.span())=> &self.#member));
    let key = quote_spanned!(Span::mixed_site()=> __idem::IdempotencyKey::from_parts(&[#(#parts),*]));
    implementation(input, krate, &bounds(input, marked), &key)
}

/// The error and an implementation that is never called, so that a handler of the type stays quiet.
fn fallback(input: &DeriveInput, krate: &TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let rest = implementation(input, krate, &[], &quote!(::core::unreachable!()));
    quote!(#error #rest)
}

fn implementation(
    input: &DeriveInput,
    krate: &TokenStream,
    bounds: &[TokenStream],
    key: &TokenStream,
) -> TokenStream {
    let method = quote_spanned! {Span::mixed_site()=>
        fn idempotency_key(&self) -> ::core::result::Result<__idem::IdempotencyKey, __idem::KeyError> {
            #key
        }
    };
    implementation::of(input, krate, &quote!(Keyed), bounds, &method)
}

/// The marked fields with what they are called by.
fn marked(input: &DeriveInput) -> Result<Vec<(Member, &Field)>> {
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(data) => return Err(no_struct(data.enum_token.span, "an enum")),
        Data::Union(data) => return Err(no_struct(data.union_token.span, "a union")),
    };
    let mut marked = Vec::new();
    for (member, field) in fields.members().zip(fields) {
        if is_marked(field)? {
            marked.push((at_type(member, field), field));
        }
    }
    if marked.is_empty() {
        let message = "no field is the key: put `#[idempotency_key]` on the fields that it is made of";
        return Err(Error::new(input.ident.span(), message));
    }
    Ok(marked)
}

/// A tuple's field has no name of its own: an error about it belongs to its type.
fn at_type(member: Member, field: &Field) -> Member {
    match member {
        Member::Unnamed(mut index) => {
            index.span = field.ty.span();
            Member::Unnamed(index)
        }
        named @ Member::Named(_) => named,
    }
}

fn no_struct(span: Span, what: &str) -> Error {
    let message = format!(
        "{what} has no fields of its own to make a key of: implement `Keyed` by hand, or say `key_with = path` on the handler"
    );
    Error::new(span, message)
}

fn is_marked(field: &Field) -> Result<bool> {
    let mut marks = field.attrs.iter().filter(|attr| attr.path().is_ident(MARK));
    let Some(mark) = marks.next() else { return Ok(false) };
    if let Some(second) = marks.next() {
        return Err(Error::new(second.span(), "the field is marked twice: keep one"));
    }
    match &mark.meta {
        Meta::Path(_) => Ok(true),
        other => Err(Error::new(other.span(), "the mark takes nothing: write `#[idempotency_key]`")),
    }
}

/// Only a generic type needs bounds; elsewhere they would double rustc's error.
fn bounds(input: &DeriveInput, marked: &[(Member, &Field)]) -> Vec<TokenStream> {
    if input.generics.type_params().next().is_none() {
        return Vec::new();
    }
    let types = marked.iter().map(|(_, field)| &field.ty);
    types.map(|ty| quote_spanned!(Span::mixed_site()=> #ty: __idem::KeyPart)).collect()
}
