//! The function, the struct beside it, and its route.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned;
use syn::{Expr, Member, Type};

use crate::ast::{Function, marker, ours_at};
use crate::attr::Options;
use crate::attr::key::{FieldPath, Key, Source};
use crate::attr::text::Tags;
use crate::shape::{Names, Shape};
use crate::{check, fallback};

pub(crate) fn idempotent(options: TokenStream, item: &TokenStream) -> TokenStream {
    let function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #item);
        }
    };
    let (options, result) = Options::parse(options);
    match result.and_then(|()| check::check(&options, &function)) {
        Ok(()) => expand(&options, &function),
        Err(error) => fallback::expand(&function, &options.krate(), &error),
    }
}

fn expand(options: &Options, function: &Function) -> TokenStream {
    let quiet_function = function.with(&quote!(#[allow(clippy::unused_async)]));
    let marker = marker(function);
    let (cfgs, name, krate) = (function.cfgs(), &function.sig.ident, options.krate());
    let shape = Shape::of(options.batch, function.payload().expect("checked before"));
    let handler = handler_impl(function, &shape);
    let route = route(options, function, &shape);
    let rest = quote_spanned! {Span::mixed_site()=>
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            use #krate::__private as __idem;
            struct __Handler;
            #handler
            impl __idem::Routed for #name {
                fn route() -> __idem::Route {
                    #route
                }
            }
        };
    };
    quote!(#quiet_function #marker #rest)
}

/// The handler that takes the arguments out of the call. Both of its functions name an extractor in the same words, and no
/// future of the extractor's own is awaited, so that rustc tells of a wrong one once.
fn handler_impl(function: &Function, shape: &Shape<'_>) -> TokenStream {
    let name = &function.sig.ident;
    let Shape { payload, argument, first, names } = shape;
    let Names { handler, call, extract, result, returned, into_result, .. } = names;
    let extractors: Vec<_> = function.extractors().collect();
    let args: Vec<_> =
        (1..=extractors.len()).map(|n| format_ident!("arg{n}", span = Span::mixed_site())).collect();
    let unit = syn::parse_quote!(());
    let output = function.output().unwrap_or(&unit);
    let mutability = (!args.is_empty()).then(|| quote!(mut));
    let needs = Ident::new(if args.is_empty() { "_needs" } else { "needs" }, Span::mixed_site());
    let block = quote_spanned! {Span::mixed_site()=>
        #(let #args = <#extractors as __idem::#extract<'_>>::extracted(&mut call).await?;)*
        <#output as __idem::#returned>::#into_result(#name(#first, #(#args),*).await)
    };
    let running = at_async(function, &block);
    quote_spanned! {Span::mixed_site()=>
        impl __idem::#handler<#payload> for __Handler {
            fn needs(&self, #needs: &mut __idem::Needs) {
                #(<#extractors as __idem::#extract<'_>>::needs(#needs);)*
            }
            fn call<'__d>(
                &'__d self,
                #argument,
                #mutability call: __idem::#call<'__d>,
            ) -> __idem::BoxFuture<'__d, __idem::#result> {
                #running
            }
        }
    }
}

/// A future that is not `Send` is told of at the function's `async`.
fn at_async(function: &Function, block: &TokenStream) -> TokenStream {
    let span = function.sig.asyncness.map_or_else(Span::mixed_site, |token| token.span);
    quote_spanned!(ours_at(span)=> __idem::boxed(async move { #block }))
}

/// The public call that the attribute stands for.
fn route(options: &Options, function: &Function, shape: &Shape<'_>) -> TokenStream {
    let name = function.sig.ident.unraw().to_string();
    let topic = &options.topic;
    let (payload, handler_with) = (shape.payload, &shape.names.handler_with);
    let codec = codec(options, payload);
    let order = options.order_by.iter().map(|order| {
        let field = field(order);
        quote_spanned!(Span::mixed_site()=> .order_by(|payload: &#payload| __idem::IdempotencyKey::from_parts(&[#field])))
    });
    let check = options.check.iter().map(|check| quote_spanned!(Span::mixed_site()=> .check(#check)));
    let key = key(options.key.as_ref(), payload);
    let settings = settings(options);
    // A payload that borrows what only lives as long as its message is told of at its type.
    let mut args =
        Group::new(Delimiter::Parenthesis, quote_spanned!(Span::mixed_site()=> #topic, #codec, __Handler));
    args.set_span(ours_at(payload.span()));
    let unkeyed = quote_spanned!(ours_at(payload.span())=> __idem::#handler_with #args);
    quote_spanned! {Span::mixed_site()=>
        #unkeyed
            #(#order)*
            #(#check)*
            #key
            .named(::core::concat!(::core::module_path!(), "::", #name))
            #settings
    }
}

fn codec(options: &Options, payload: &Type) -> TokenStream {
    let pick = quote_spanned!(ours_at(payload.span())=> __idem::Pick::<#payload>::codec());
    match &options.codec {
        Some(codec) => quote!(#codec),
        None => block_at(
            payload.span(),
            quote_spanned! {Span::mixed_site()=>
                #[allow(unused_imports)]
                use __idem::PickJson as _;
                #pick
            },
        ),
    }
}

fn key(key: Option<&Key>, payload: &Type) -> TokenStream {
    let mixed = Span::mixed_site();
    match key {
        None => {
            quote_spanned!(mixed=> .key(|payload: &#payload| <#payload as __idem::Keyed>::idempotency_key(payload)))
        }
        Some(Key::Fields(fields)) => {
            let fields = fields.iter().map(field);
            quote_spanned!(mixed=> .key(|payload: &#payload| __idem::IdempotencyKey::from_parts(&[#(#fields),*])))
        }
        Some(Key::With(function)) => {
            let computed = computed(function);
            quote_spanned!(mixed=> .key(|payload: &#payload| __idem::IntoKey::into_key(#computed)))
        }
        Some(Key::From(source)) => {
            let source = self::source(source);
            quote_spanned!(mixed=> .key_from(__idem::KeySource::#source))
        }
    }
}

/// A value that a function or a closure makes of the payload.
pub(crate) fn computed(function: &Expr) -> TokenStream {
    let span = ours_at(function.span());
    match function {
        Expr::Closure(closure) => quote_spanned!(span=> __idem::computed(payload, #closure)),
        path => {
            let args = quote_spanned!(span=> (payload));
            quote!(#path #args)
        }
    }
}

/// A part of the key, which stands where the user named the field.
pub(crate) fn field(FieldPath(members): &FieldPath) -> TokenStream {
    let part = part("payload", members);
    if members.len() > 1 { quote_spanned!(Span::mixed_site()=> &#part) } else { part }
}

/// A field on the way may be an `Option`, through which only a call can lead.
fn part(value: &str, members: &[Member]) -> TokenStream {
    let here = ours_at(members.first().map_or_else(Span::mixed_site, Spanned::span));
    let value = Ident::new(value, here);
    let Some((member, rest)) = members.split_first() else { return quote!(&#value) };
    let field = quote_spanned!(here=> &#value.#member);
    if rest.is_empty() {
        return field;
    }
    let inner = part("field", rest);
    quote_spanned!(here=> __idem::Through::new(#field).then(|field| #inner))
}

fn source(source: &Source) -> TokenStream {
    match source {
        Source::MessageKeys => quote_spanned!(Span::mixed_site()=> MessageKeys),
        Source::UniqueKey => quote_spanned!(Span::mixed_site()=> UniqueKey),
        Source::ProducerKey => quote_spanned!(Span::mixed_site()=> ProducerKey),
        Source::Property(name) => quote_spanned!(Span::mixed_site()=> property(#name)),
    }
}

/// A block whose braces stand where an error about it belongs.
fn block_at(span: Span, block: TokenStream) -> TokenStream {
    let mut block = Group::new(Delimiter::Brace, block);
    block.set_span(ours_at(span));
    block.into_token_stream()
}

fn settings(options: &Options) -> TokenStream {
    let Options { tags, filter, scope, lease, timeout, retention, calls, .. } = options;
    let (scope, filter) = (scope.iter(), filter.iter());
    let shared = options.shared_scope.then(|| quote!(.shared_scope()));
    let orderly = options.orderly.then(|| quote!(.orderly()));
    let transactional = options.transactional.map(|_| quote!(.transactional()));
    let grouped = options.group_commit.map(|_| quote!(.group_commit()));
    let broadcast = options.broadcast.map(|_| quote!(.broadcast()));
    let times = [("lease", lease), ("timeout", timeout), ("retention", retention)];
    let times = times.into_iter().filter_map(|(name, time)| {
        let (method, time) = (format_ident!("{name}"), time.as_ref()?.expr());
        Some(quote_spanned!(Span::mixed_site()=> .#method(#time)))
    });
    let tags = tags.as_ref().map(|tags| match tags {
        Tags::Each(tags) => quote_spanned!(Span::mixed_site()=> #(.tag(#tags))*),
        Tags::All(tags) => quote_spanned!(Span::mixed_site()=> .tags(__idem::tags(#tags))),
    });
    let calls = calls.iter().map(|call| {
        let (method, arg) = (&call.method, &call.arg);
        quote_spanned!(Span::mixed_site()=> .#method(#arg))
    });
    quote_spanned!(Span::mixed_site()=> #tags #(.filter(#filter))* #(.scope(#scope))* #shared #orderly #broadcast #transactional #grouped #(#times)* #(#calls)*)
}
