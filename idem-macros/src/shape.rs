//! Differences between a handler that takes messages one by one and one that takes many at once.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{GenericArgument, PathArguments, Type};

pub(crate) struct Shape<'f> {
    /// The type to which a message's body is decoded.
    pub(crate) payload: &'f Type,
    /// The argument of `call`.
    pub(crate) argument: TokenStream,
    /// The function's first argument.
    pub(crate) first: TokenStream,
    pub(crate) names: Names<Ident>,
}

/// The names in `__idem` of what both have.
pub(crate) struct Names<T> {
    pub(crate) handler: T,
    pub(crate) handler_with: T,
    pub(crate) call: T,
    pub(crate) extract: T,
    pub(crate) result: T,
    pub(crate) returned: T,
    pub(crate) into_result: T,
}

const ONE: Names<&str> = Names {
    handler: "Handler",
    handler_with: "handler_with",
    call: "Call",
    extract: "Extract",
    result: "HandlerResult",
    returned: "HandlerReturn",
    into_result: "into_result",
};

const MANY: Names<&str> = Names {
    handler: "BatchHandler",
    handler_with: "batch_handler_with",
    call: "BatchCall",
    extract: "BatchExtract",
    result: "BatchResult",
    returned: "BatchReturn",
    into_result: "into_batch_result",
};

impl<'f> Shape<'f> {
    pub(crate) fn of(is_batch: bool, ty: &'f Type) -> Self {
        let mixed = Span::mixed_site();
        match payload_of(ty).filter(|_| is_batch) {
            Some(payload) => Self {
                payload,
                argument: quote_spanned!(mixed=> batch: __idem::Batch<#payload>),
                first: quote_spanned!(mixed=> <#ty as __idem::FromBatch>::from_batch(batch)),
                names: MANY.idents(),
            },
            None => Self {
                payload: ty,
                argument: quote_spanned!(mixed=> payload: #ty),
                first: quote_spanned!(mixed=> payload),
                names: ONE.idents(),
            },
        }
    }
}

impl Names<&str> {
    fn idents(&self) -> Names<Ident> {
        let ident = |name| Ident::new(name, Span::mixed_site());
        Names {
            handler: ident(self.handler),
            handler_with: ident(self.handler_with),
            call: ident(self.call),
            extract: ident(self.extract),
            result: ident(self.result),
            returned: ident(self.returned),
            into_result: ident(self.into_result),
        }
    }
}

/// The type of a `Vec`'s or a `Batch`'s items, by its name.
pub(crate) fn payload_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Vec" || last.ident == "Batch")?;
    let PathArguments::AngleBracketed(args) = &last.arguments else { return None };
    match args.args.first()? {
        GenericArgument::Type(payload) => Some(payload),
        _ => None,
    }
}
