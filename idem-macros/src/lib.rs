//! The attribute and derives of idem.
//!
//! Do not depend on this crate: `idem-rocketmq` re-exports it. What is written on a function goes through five
//! rooms: `attr` reads the options and `ast` the function, `check` looks at both together, `expand` writes the
//! public call that a user could have written, and `fallback` keeps one mistake from becoming many errors.

mod ast;
mod attr;
mod check;
mod derive;
mod expand;
mod fallback;
mod handlers;
mod implementation;
mod message;
mod part;
mod shape;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

#[doc = include_str!("idempotent.md")]
#[proc_macro_attribute]
pub fn idempotent(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::idempotent(options.into(), &item.into()).into()
}

/// Gives a payload its own idempotency key: the fields marked `#[idempotency_key]`, in the order in which they
/// are declared.
///
/// Where the program knows idem by another name, the type says it: `#[idempotency_key(crate = ::mq)]`.
#[proc_macro_derive(IdempotencyKey, attributes(idempotency_key))]
pub fn idempotency_key(item: TokenStream) -> TokenStream {
    derive::derive(item.into()).into()
}

/// Makes a type of one field a part of idempotency keys: the field's own part.
///
/// ```text
/// #[derive(KeyPart)]
/// struct OrderId(u64);
/// ```
///
/// Where the program knows idem by another name, the type says it: `#[key_part(crate = ::mq)]`.
#[proc_macro_derive(KeyPart, attributes(key_part))]
pub fn key_part(item: TokenStream) -> TokenStream {
    part::derive(item.into()).into()
}

/// Makes a type a message that a producer can send: where it goes, and under which idempotency key.
///
/// The options are in `#[message(topic = "orders", tag = "PAID", key = "order_id", order_by = "buyer_id")]`, and the
/// module `producer` says what each is.
#[proc_macro_derive(Message, attributes(message))]
pub fn message(item: TokenStream) -> TokenStream {
    message::derive(item.into()).into()
}

/// The macro behind `idem_rocketmq::handlers!`, which passes its crate's path.
#[doc(hidden)]
#[proc_macro]
pub fn handlers(input: TokenStream) -> TokenStream {
    handlers::expand(input.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
