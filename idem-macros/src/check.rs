//! Mistakes that show only when options and function are seen together.

use proc_macro2::Span;
use quote::quote;
use syn::visit::{self, Visit};
use syn::{Error, Lifetime, PatType, Result, Safety, Type, TypeImplTrait, TypeParamBound, TypeTraitObject};

use crate::ast::Function;
use crate::attr::Options;
use crate::attr::time::{Literal, Time};
use crate::shape::payload_of;

const BORROWED: &str =
    "a handler owns its payload: give the type no lifetime, such as `String` in place of `&str`";

/// Extractors that are sometimes written in the payload's place.
const EXTRACTORS: [&str; 5] = ["State", "Delivery", "Attempt", "Lease", "IdempotencyKey"];

/// The first mistake, if any.
pub(crate) fn check(options: &Options, function: &Function) -> Result<()> {
    signature(function)?;
    payload(function)?;
    batch(options, function)?;
    mutable(function)?;
    transaction(options, function)?;
    group_commit(options)?;
    if options.topic.is_none() {
        return Err(Error::new(
            Span::call_site(),
            "the topic is missing: say which messages to handle, such as `topic = \"orders\"`",
        ));
    }
    if let (Some(filter), false) = (&options.filter, options.tags.is_none()) {
        let message = "a handler has tags or a filter, not both: put the tag into the filter, such as `TAGS = 'PAID' AND amount > 100`";
        return Err(Error::new_spanned(filter, message));
    }
    if let (Some(broadcast), true) = (options.broadcast, options.orderly || options.order_by.is_some()) {
        let message = "a handler is orderly or broadcast, not both: keep one of them";
        return Err(Error::new(broadcast, message));
    }
    let Options { lease, timeout, retention, .. } = options;
    no_longer_than("lease", lease.as_ref(), "retention", retention.as_ref())?;
    no_longer_than("timeout", timeout.as_ref(), "retention", retention.as_ref())
}

fn signature(function: &Function) -> Result<()> {
    let sig = &function.sig;
    if let Some(receiver) = sig.receiver() {
        let message = "a handler is a free function: take what `self` would give as `State<T>`, and move the function out of the `impl`";
        return Err(Error::new_spanned(receiver, message));
    }
    if let Some(constness) = &sig.constness {
        return Err(Error::new(constness.span, "a handler is not `const`: remove it"));
    }
    if let Safety::Unsafe(token) = &sig.safety {
        return Err(Error::new(token.span, "a handler is not `unsafe`: idem calls it for any message"));
    }
    if let Some(abi) = &sig.abi {
        return Err(Error::new_spanned(abi, "a handler is not `extern`: remove it"));
    }
    if sig.asyncness.is_none() {
        return Err(Error::new(sig.fn_token.span, "a handler is async: write `async fn`"));
    }
    if !sig.generics.params.is_empty() {
        let message = "a handler is not generic: name the types, and leave lifetimes out";
        return Err(Error::new_spanned(&sig.generics, message));
    }
    impl_trait(function)?;
    error(function)
}

/// By another name for the type, the trait of results says the same.
fn error(function: &Function) -> Result<()> {
    match function.output().and_then(LocalError::find) {
        Some(error) => Err(Error::new_spanned(
            error,
            "a handler's error goes to other threads: write `Box<dyn Error + Send + Sync>`, or return `HandlerResult`",
        )),
        None => Ok(()),
    }
}

fn impl_trait(function: &Function) -> Result<()> {
    let mut types = function.args().map(|arg| &*arg.ty).chain(function.output());
    match types.find_map(ImplTrait::find) {
        Some(ty) => {
            Err(Error::new_spanned(ty, "a handler names its types: write the type in place of `impl Trait`"))
        }
        None => Ok(()),
    }
}

fn payload(function: &Function) -> Result<()> {
    let Some(PatType { ty, .. }) = function.args().next() else {
        let message =
            "a handler takes the message's payload: add it as the first argument, such as `order: OrderPaid`";
        return Err(Error::new(function.sig.paren_token.span.join(), message));
    };
    if let Some(name) = extractor_name(ty) {
        let message = format!("the first argument is the payload: put `{name}` behind it");
        return Err(Error::new_spanned(ty, message));
    }
    match &**ty {
        Type::Reference(_) => Err(Error::new_spanned(ty, "a handler owns its payload: take it without `&`")),
        Type::Infer(_) => Err(Error::new_spanned(ty, "name the payload's type")),
        _ => match Borrow::find(ty) {
            Some(lifetime) => Err(Error::new_spanned(lifetime, BORROWED)),
            None => Ok(()),
        },
    }
}

/// A batch is said with `batch`, and not only seen: a name for a list of orders may be one message's payload.
fn batch(options: &Options, function: &Function) -> Result<()> {
    let Some(ty) = function.payload() else { return Ok(()) };
    match (options.batch, payload_of(ty).is_some()) {
        (true, true) => function.extractors().try_for_each(about_the_whole_call),
        (true, false) => {
            let ty = quote!(#ty);
            let message = format!(
                "a batch is many messages: take `Vec<{ty}>`, or `Batch<{ty}>` for each one's delivery and attempt too; or remove `batch`"
            );
            Err(Error::new_spanned(ty, message))
        }
        (false, true) if options.codec.is_none() => Err(Error::new_spanned(
            ty,
            "this is many messages or one: add `batch` to the attribute to handle many at once, or say how one message is decoded, such as `codec = Json` for an array",
        )),
        (false, _) => Ok(()),
    }
}

/// Only a connection is taken as `&mut`.
fn mutable(function: &Function) -> Result<()> {
    let wrong = function.extractors().find_map(|ty| match ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            extractor_name(&reference.elem).map(|name| (ty, name))
        }
        _ => None,
    });
    let Some((ty, name)) = wrong else { return Ok(()) };
    let right = if name == "Delivery" { "&Delivery" } else { name };
    let message = format!("a handler changes nothing of its message: take `{right}`, without `&mut`");
    Err(Error::new_spanned(ty, message))
}

/// A transaction is said with `transactional`, and its connection is taken as `&mut`.
fn transaction(options: &Options, function: &Function) -> Result<()> {
    let is_connection = |ty: &&Type| matches!(ty, Type::Reference(ty) if ty.mutability.is_some());
    let mut connections = function.extractors().filter(is_connection);
    match (options.transactional, connections.next(), connections.next()) {
        (None, Some(ty), _) => {
            let message = format!(
                "`{}` is the connection of a transaction: add `transactional` to the attribute, and the message's record commits with it",
                quote!(#ty).to_string().replace("& mut", "&mut")
            );
            Err(Error::new_spanned(ty, message))
        }
        (Some(span), None, _) => Err(Error::new(
            span,
            "a transactional handler takes its transaction's connection: add it behind the payload, such as `tx: &mut PgConnection`",
        )),
        (Some(_), Some(_), Some(second)) => {
            Err(Error::new_spanned(second, "a handler has one transaction: take its connection once"))
        }
        (None, None, _) | (Some(_), Some(_), None) => Ok(()),
    }
}

/// Messages that commit together are those of a transactional handler that takes them one by one.
fn group_commit(options: &Options) -> Result<()> {
    let Some(span) = options.group_commit else { return Ok(()) };
    if options.batch {
        let message = "the messages of a transactional batch commit together anyway: remove `group_commit`, or remove `batch` for a call and a savepoint each";
        return Err(Error::new(span, message));
    }
    if options.transactional.is_none() {
        let message = "without a transaction there is nothing to commit: add `transactional`, and take its connection, such as `tx: &mut PgConnection`";
        return Err(Error::new(span, message));
    }
    Ok(())
}

fn about_the_whole_call(ty: &Type) -> Result<()> {
    match extractor_name(ty) {
        None | Some("State") => Ok(()),
        Some(name) => {
            let message = format!(
                "a batch has many messages, and `{name}` is about one: remove it, and take a `Batch` as the first argument, whose items give it for each"
            );
            Err(Error::new_spanned(ty, message))
        }
    }
}

/// The extractor that a type is by its name: `State<T>`, `&Delivery`, `Arc<Delivery>`.
fn extractor_name(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Reference(reference) => extractor_name(&reference.elem),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let inner = match &last.arguments {
                syn::PathArguments::AngleBracketed(args) if last.ident == "Arc" || last.ident == "Option" => {
                    args.args.first()
                }
                _ => None,
            };
            match inner {
                Some(syn::GenericArgument::Type(inner)) => extractor_name(inner),
                _ => EXTRACTORS.into_iter().find(|name| last.ident == name),
            }
        }
        _ => None,
    }
}

fn no_longer_than(name: &str, time: Option<&Time>, bound_name: &str, bound: Option<&Time>) -> Result<()> {
    let literals = (time.and_then(Time::literal), bound.and_then(Time::literal));
    let (Some(Literal { millis, text }), Some(bound)) = literals else { return Ok(()) };
    if *millis <= bound.millis {
        return Ok(());
    }
    let (written, bound) = (text.value(), bound.text.value());
    let message = format!(
        "{name} ({written}) is longer than {bound_name} ({bound}): make {bound_name} longer, or {name} shorter"
    );
    Err(Error::new(text.span(), message))
}

/// Finds an `impl Trait` in a type.
#[derive(Default)]
struct ImplTrait<'ast>(Option<&'ast TypeImplTrait>);

impl<'ast> ImplTrait<'ast> {
    fn find(ty: &'ast Type) -> Option<&'ast TypeImplTrait> {
        let mut found = Self::default();
        found.visit_type(ty);
        found.0
    }
}

impl<'ast> Visit<'ast> for ImplTrait<'ast> {
    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.0.get_or_insert(ty);
        visit::visit_type_impl_trait(self, ty);
    }
}

/// Finds a `dyn Error` that must stay in its thread.
#[derive(Default)]
struct LocalError<'ast>(Option<&'ast TypeTraitObject>);

impl<'ast> LocalError<'ast> {
    fn find(ty: &'ast Type) -> Option<&'ast TypeTraitObject> {
        let mut found = Self::default();
        found.visit_type(ty);
        found.0
    }
}

impl<'ast> Visit<'ast> for LocalError<'ast> {
    fn visit_type_trait_object(&mut self, object: &'ast TypeTraitObject) {
        let names = |name: &str| {
            object.bounds.iter().any(|bound| match bound {
                TypeParamBound::Trait(bound) => {
                    bound.path.segments.last().is_some_and(|last| last.ident == name)
                }
                _ => false,
            })
        };
        if names("Error") && !(names("Send") && names("Sync")) {
            self.0.get_or_insert(object);
        }
        visit::visit_type_trait_object(self, object);
    }
}

/// Finds a lifetime in a type that is not `'static`.
#[derive(Default)]
struct Borrow<'ast>(Option<&'ast Lifetime>);

impl<'ast> Borrow<'ast> {
    fn find(ty: &'ast Type) -> Option<&'ast Lifetime> {
        let mut found = Self::default();
        found.visit_type(ty);
        found.0
    }
}

impl<'ast> Visit<'ast> for Borrow<'ast> {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.0.get_or_insert(lifetime);
        }
    }
}
