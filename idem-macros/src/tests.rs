//! Expansions of the macros, as a user would read them. `UPDATE_EXPECT=1` rewrites the expectations.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};
use proc_macro2::TokenStream;
use quote::quote;

fn check(expanded: TokenStream, expected: &Expect) {
    let file = syn::parse2(expanded).expect("an expansion is a list of items");
    expected.assert_eq(&prettyplease::unparse(&file));
}

/// The body of `fn route` alone.
fn route(options: TokenStream, expected: &Expect) {
    let expanded = crate::expand::idempotent(
        options,
        &quote!(
            async fn pay(_: Order) {}
        ),
    );
    let file: syn::File = syn::parse2(expanded).expect("an expansion is a list of items");
    let Some(syn::Item::Const(block)) = file.items.into_iter().last() else {
        panic!("the last item is the block")
    };
    let syn::Expr::Block(block) = *block.expr else { panic!("the block is a block") };
    let Some(syn::Stmt::Item(syn::Item::Impl(routed))) = block.block.stmts.into_iter().last() else {
        panic!("the last item of the block is `impl Routed`")
    };
    let routed = routed.items;
    check(quote!(impl Routed { #(#routed)* }), expected);
}

fn attribute(options: TokenStream, item: &TokenStream, expected: &Expect) {
    check(crate::expand::idempotent(options, item), expected);
}

#[test]
fn a_filter_becomes_a_call_of_its_own() {
    let expanded = crate::expand::idempotent(
        quote!(key = "order_id", topic = "orders", filter = "amount > 100 AND TAGS = 'PAID'"),
        &quote!(
            async fn pay(order: OrderPaid) {}
        ),
    );
    let call = quote!(.filter("amount > 100 AND TAGS = 'PAID'")).to_string();
    assert!(expanded.to_string().contains(&call), "{expanded}");
}

#[test]
fn a_group_commit_becomes_a_call_of_its_own() {
    let expanded = crate::expand::idempotent(
        quote!(key = "order_id", topic = "orders", transactional, group_commit),
        &quote!(
            async fn pay(order: OrderPaid, tx: &mut PgConnection) {}
        ),
    );
    let calls = quote!(.transactional().group_commit()).to_string();
    assert!(expanded.to_string().contains(&calls), "{expanded}");
}

#[test]
fn a_batch_takes_the_connection_of_its_transaction() {
    let expanded = crate::expand::idempotent(
        quote!(key = "order_id", topic = "orders", batch, transactional),
        &quote!(
            async fn pay(orders: Vec<OrderPaid>, tx: &mut PgConnection) {}
        ),
    );
    let takes =
        quote!(<&mut PgConnection as __idem::BatchExtract<'_>>::extracted(&mut call).await?).to_string();
    assert!(expanded.to_string().contains(&takes), "{expanded}");
    assert!(expanded.to_string().contains(&quote!(.transactional()).to_string()), "{expanded}");
}

#[test]
fn a_batch_handler_is_written_as_its_public_call() {
    attribute(
        quote!(key = "order_id", topic = "orders", batch = 10),
        &quote! {
            async fn index(orders: Vec<OrderPaid>, State(index): State<Index>) -> BatchResult {
                index.bulk(orders).await
            }
        },
        &expect![[r##"
            #[allow(clippy::unused_async)]
            async fn index(orders: Vec<OrderPaid>, State(index): State<Index>) -> BatchResult {
                index.bulk(orders).await
            }
            #[doc(hidden)]
            #[allow(
                non_camel_case_types,
                clippy::empty_structs_with_brackets,
                clippy::exhaustive_structs
            )]
            struct index {}
            #[allow(deprecated)]
            const _: () = {
                use ::idem_rocketmq::__private as __idem;
                struct __Handler;
                impl __idem::BatchHandler<OrderPaid> for __Handler {
                    fn needs(&self, needs: &mut __idem::Needs) {
                        <State<Index> as __idem::BatchExtract<'_>>::needs(needs);
                    }
                    fn call<'__d>(
                        &'__d self,
                        batch: __idem::Batch<OrderPaid>,
                        mut call: __idem::BatchCall<'__d>,
                    ) -> __idem::BoxFuture<'__d, __idem::BatchResult> {
                        __idem::boxed(async move {
                            let arg1 = <State<
                                Index,
                            > as __idem::BatchExtract<'_>>::extracted(&mut call)
                                .await?;
                            <BatchResult as __idem::BatchReturn>::into_batch_result(
                                index(<Vec<OrderPaid> as __idem::FromBatch>::from_batch(batch), arg1)
                                    .await,
                            )
                        })
                    }
                }
                impl __idem::Routed for index {
                    fn route() -> __idem::Route {
                        __idem::batch_handler_with(
                                "orders",
                                {
                                    #[allow(unused_imports)]
                                    use __idem::PickJson as _;
                                    __idem::Pick::<OrderPaid>::codec()
                                },
                                __Handler,
                            )
                            .key(|payload: &OrderPaid| __idem::IdempotencyKey::from_parts(
                                &[&payload.order_id],
                            ))
                            .named(::core::concat!(::core::module_path!(), "::", "index"))
                            .max_batch(10)
                    }
                }
            };
        "##]],
    );
}

#[test]
fn the_attribute_writes_the_public_call() {
    attribute(
        quote!(key = "order_id", topic = "orders", tag = "PAID"),
        &quote! {
            /// Adds.
            #[cfg(unix)]
            pub async fn add_gmv(order: OrderPaid, State(gmv): State<Gmv>, delivery: &Delivery) -> HandlerResult {
                gmv.add(order.amount).await
            }
        },
        &expect![[r##"
            #[allow(clippy::unused_async)]
            /// Adds.
            #[cfg(unix)]
            pub async fn add_gmv(
                order: OrderPaid,
                State(gmv): State<Gmv>,
                delivery: &Delivery,
            ) -> HandlerResult {
                gmv.add(order.amount).await
            }
            #[cfg(unix)]
            #[doc(hidden)]
            #[allow(
                non_camel_case_types,
                clippy::empty_structs_with_brackets,
                clippy::exhaustive_structs
            )]
            pub struct add_gmv {}
            #[cfg(unix)]
            #[allow(deprecated)]
            const _: () = {
                use ::idem_rocketmq::__private as __idem;
                struct __Handler;
                impl __idem::Handler<OrderPaid> for __Handler {
                    fn needs(&self, needs: &mut __idem::Needs) {
                        <State<Gmv> as __idem::Extract<'_>>::needs(needs);
                        <&Delivery as __idem::Extract<'_>>::needs(needs);
                    }
                    fn call<'__d>(
                        &'__d self,
                        payload: OrderPaid,
                        mut call: __idem::Call<'__d>,
                    ) -> __idem::BoxFuture<'__d, __idem::HandlerResult> {
                        __idem::boxed(async move {
                            let arg1 = <State<Gmv> as __idem::Extract<'_>>::extracted(&mut call)
                                .await?;
                            let arg2 = <&Delivery as __idem::Extract<'_>>::extracted(&mut call)
                                .await?;
                            <HandlerResult as __idem::HandlerReturn>::into_result(
                                add_gmv(payload, arg1, arg2).await,
                            )
                        })
                    }
                }
                impl __idem::Routed for add_gmv {
                    fn route() -> __idem::Route {
                        __idem::handler_with(
                                "orders",
                                {
                                    #[allow(unused_imports)]
                                    use __idem::PickJson as _;
                                    __idem::Pick::<OrderPaid>::codec()
                                },
                                __Handler,
                            )
                            .key(|payload: &OrderPaid| __idem::IdempotencyKey::from_parts(
                                &[&payload.order_id],
                            ))
                            .named(::core::concat!(::core::module_path!(), "::", "add_gmv"))
                            .tag("PAID")
                    }
                }
            };
        "##]],
    );
}

#[test]
fn every_option_becomes_a_call_on_the_route() {
    route(
        quote! {
            key = ("tenant", buyer.id, 0),
            topic = TOPIC,
            tags = ["A", "B"],
            scope = "gmv",
            shared_scope,
            order_by = "buyer.id",
            orderly,
            retention = "4d",
            lease = "1m30s",
            timeout = "10m",
            concurrency = 8,
            max_attempts = 3,
            backoff = exponential("1s", "5m"),
            in_progress = wait("2s"),
            store_failure = open,
            undecodable = retry,
            missing_key = run,
            fingerprint,
            codec = Avro,
            crate = ::my::idem,
        },
        &expect![[r#"
            impl Routed {
                fn route() -> __idem::Route {
                    __idem::handler_with(TOPIC, Avro, __Handler)
                        .order_by(|payload: &Order| __idem::IdempotencyKey::from_parts(
                            &[&__idem::Through::new(&payload.buyer).then(|field| &field.id)],
                        ))
                        .key(|payload: &Order| __idem::IdempotencyKey::from_parts(
                            &[
                                &payload.tenant,
                                &__idem::Through::new(&payload.buyer).then(|field| &field.id),
                                &payload.0,
                            ],
                        ))
                        .named(::core::concat!(::core::module_path!(), "::", "pay"))
                        .tag("A")
                        .tag("B")
                        .scope("gmv")
                        .shared_scope()
                        .orderly()
                        .lease(__idem::Duration::from_millis(90000u64))
                        .timeout(__idem::Duration::from_millis(600000u64))
                        .retention(__idem::Duration::from_millis(345600000u64))
                        .concurrency(8)
                        .max_attempts(3)
                        .backoff(
                            __idem::Backoff::exponential(
                                __idem::Duration::from_millis(1000u64),
                                __idem::Duration::from_millis(300000u64),
                            ),
                        )
                        .in_progress(
                            __idem::InProgress::Wait(__idem::Duration::from_millis(2000u64)),
                        )
                        .store_failure(__idem::StoreFailure::Open)
                        .undecodable(__idem::Undecodable::Retry)
                        .missing_key(__idem::MissingKey::RunWithoutDedup)
                        .fingerprint(__idem::FingerprintMismatch::DeadLetter)
                }
            }
        "#]],
    );
}

#[test]
fn a_key_comes_from_a_function() {
    route(
        quote!(key_with = keys::of_order, topic = "orders", backoff = ["1s", "5s"]),
        &expect![[r#"
        impl Routed {
            fn route() -> __idem::Route {
                __idem::handler_with(
                        "orders",
                        {
                            #[allow(unused_imports)]
                            use __idem::PickJson as _;
                            __idem::Pick::<Order>::codec()
                        },
                        __Handler,
                    )
                    .key(|payload: &Order| __idem::IntoKey::into_key(keys::of_order(payload)))
                    .named(::core::concat!(::core::module_path!(), "::", "pay"))
                    .backoff(
                        __idem::Backoff::steps([
                            __idem::Duration::from_millis(1000u64),
                            __idem::Duration::from_millis(5000u64),
                        ]),
                    )
            }
        }
    "#]],
    );
}

#[test]
fn a_key_comes_from_the_message() {
    route(
        quote!(key_from = property("tenant"), topic = "orders", backoff = "10s"),
        &expect![[r#"
        impl Routed {
            fn route() -> __idem::Route {
                __idem::handler_with(
                        "orders",
                        {
                            #[allow(unused_imports)]
                            use __idem::PickJson as _;
                            __idem::Pick::<Order>::codec()
                        },
                        __Handler,
                    )
                    .key_from(__idem::KeySource::property("tenant"))
                    .named(::core::concat!(::core::module_path!(), "::", "pay"))
                    .backoff(__idem::Backoff::fixed(__idem::Duration::from_millis(10000u64)))
            }
        }
    "#]],
    );
}

#[test]
fn without_an_option_the_payload_has_its_own_key() {
    route(
        quote!(topic = "orders"),
        &expect![[r#"
        impl Routed {
            fn route() -> __idem::Route {
                __idem::handler_with(
                        "orders",
                        {
                            #[allow(unused_imports)]
                            use __idem::PickJson as _;
                            __idem::Pick::<Order>::codec()
                        },
                        __Handler,
                    )
                    .key(|payload: &Order| <Order as __idem::Keyed>::idempotency_key(payload))
                    .named(::core::concat!(::core::module_path!(), "::", "pay"))
            }
        }
    "#]],
    );
}

#[test]
fn a_keyword_is_a_field_too() {
    route(
        quote!(key = "type", topic = "orders", codec = Json),
        &expect![[r#"
        impl Routed {
            fn route() -> __idem::Route {
                __idem::handler_with("orders", Json, __Handler)
                    .key(|payload: &Order| __idem::IdempotencyKey::from_parts(
                        &[&payload.r#type],
                    ))
                    .named(::core::concat!(::core::module_path!(), "::", "pay"))
            }
        }
    "#]],
    );
}

#[test]
fn a_mistake_keeps_the_function_and_a_route() {
    attribute(
        quote!(crate = ::my::idem, key = ""),
        &quote!(
            pub(crate) async fn pay(_: Order) {}
        ),
        &expect![[r#"
        ::core::compile_error! {
            "the key is empty: expected the name of a field: `key = \"order_id\"`, `key = \"buyer.id\"` or `key = (\"tenant\", \"order_id\")`"
        }
        #[allow(dead_code, unused_variables, clippy::unused_async)]
        pub(crate) async fn pay(_: Order) {}
        #[doc(hidden)]
        #[allow(
            non_camel_case_types,
            clippy::empty_structs_with_brackets,
            clippy::exhaustive_structs
        )]
        pub(crate) struct pay {}
        const _: () = {
            use ::my::idem::__private as __idem;
            impl __idem::Routed for pay {
                fn route() -> __idem::Route {
                    ::core::unreachable!()
                }
            }
        };
    "#]],
    );
}

#[test]
fn the_derive_takes_the_marked_fields_in_their_order() {
    let item = quote! {
        struct Order<T: Clone> where T: Send {
            #[idempotency_key]
            tenant: T,
            amount: i64,
            #[idempotency_key]
            id: u64,
        }
    };
    check(
        crate::derive::derive(item),
        &expect![[r#"
            const _: () = {
                use ::idem_rocketmq::__private as __idem;
                #[automatically_derived]
                impl<T: Clone> __idem::Keyed for Order<T>
                where
                    T: Send,
                    T: __idem::KeyPart,
                    u64: __idem::KeyPart,
                {
                    fn idempotency_key(
                        &self,
                    ) -> ::core::result::Result<__idem::IdempotencyKey, __idem::KeyError> {
                        __idem::IdempotencyKey::from_parts(&[&self.tenant, &self.id])
                    }
                }
            };
        "#]],
    );
    let tuple = quote! {
        #[idempotency_key(crate = ::my::idem)]
        struct Order(i64, #[idempotency_key] String);
    };
    check(
        crate::derive::derive(tuple),
        &expect![[r#"
            const _: () = {
                use ::my::idem::__private as __idem;
                #[automatically_derived]
                impl __idem::Keyed for Order {
                    fn idempotency_key(
                        &self,
                    ) -> ::core::result::Result<__idem::IdempotencyKey, __idem::KeyError> {
                        __idem::IdempotencyKey::from_parts(&[&self.1])
                    }
                }
            };
        "#]],
    );
}

#[test]
fn a_part_is_its_only_field() {
    let item = quote! {
        #[key_part(crate = "::my::idem")]
        struct Id<T>(T) where T: Send;
    };
    check(
        crate::part::derive(item),
        &expect![[r#"
        const _: () = {
            use ::my::idem::__private as __idem;
            #[automatically_derived]
            impl<T> __idem::KeyPart for Id<T>
            where
                T: Send,
                T: __idem::KeyPart,
            {
                fn key_part(&self) -> ::core::option::Option<__idem::Cow<'_, [u8]>> {
                    <T as __idem::KeyPart>::key_part(&self.0)
                }
            }
        };
    "#]],
    );
}

#[test]
fn handlers_names_the_struct_beside_each_function() {
    let list = crate::handlers::expand(quote!((::idem) pay, orders::ship,)).unwrap();
    check(
        quote!(fn routes() -> Vec<Route> { #list }),
        &expect![[r#"
            fn routes() -> Vec<Route> {
                {
                    let routes: ::idem::__private::Vec<::idem::__private::Route> = ::idem::__private::Vec::from([
                        {
                            #[allow(unused_imports)]
                            use ::idem::__private::WithoutIdempotent;
                            {
                                #[allow(deprecated, unused_imports)]
                                use pay as WithoutIdempotent;
                                <WithoutIdempotent as ::idem::__private::Routed>::route()
                            }
                        },
                        {
                            #[allow(unused_imports)]
                            use ::idem::__private::WithoutIdempotent;
                            {
                                #[allow(deprecated, unused_imports)]
                                use orders::ship as WithoutIdempotent;
                                <WithoutIdempotent as ::idem::__private::Routed>::route()
                            }
                        },
                    ]);
                    routes
                }
            }
        "#]],
    );
}

#[test]
fn a_message_says_where_it_goes_and_under_which_key() {
    let item = quote! {
        #[message(topic = "orders", tag = "PAID", key = ("tenant", "order_id"), order_by = "buyer.id")]
        struct OrderPaid { tenant: String, order_id: u64, buyer: Buyer }
    };
    check(
        crate::message::derive(item),
        &expect![[r#"
            const _: () = {
                use ::idem_rocketmq::__private as __idem;
                #[automatically_derived]
                impl __idem::Message for OrderPaid {
                    fn to_outgoing(&self) -> __idem::OutgoingMessage {
                        let payload = self;
                        __idem::OutgoingMessage::encoded(
                                "orders",
                                __idem::IdempotencyKey::from_parts(
                                    &[&payload.tenant, &payload.order_id],
                                ),
                                &{
                                    #[allow(unused_imports)]
                                    use __idem::PickJson as _;
                                    __idem::Pick::<Self>::codec()
                                },
                                payload,
                            )
                            .tag("PAID")
                            .order_by(&__idem::Through::new(&payload.buyer).then(|field| &field.id))
                    }
                }
            };
        "#]],
    );
    let item = quote! {
        #[message(crate = ::my::idem, topic = TOPIC, key_with = keys::of, codec = Proto)]
        enum Event<T> { Paid(T) }
    };
    check(
        crate::message::derive(item),
        &expect![[r#"
        const _: () = {
            use ::my::idem::__private as __idem;
            #[automatically_derived]
            impl<T> __idem::Message for Event<T> {
                fn to_outgoing(&self) -> __idem::OutgoingMessage {
                    let payload = self;
                    __idem::OutgoingMessage::encoded(TOPIC, keys::of(payload), &Proto, payload)
                }
            }
        };
    "#]],
    );
}

#[test]
fn options_are_expressions_too() {
    route(
        quote! {
            key_from = property(TENANT),
            topic = topic("paid"),
            tags = TAGS,
            retention = 4 * DAY,
            lease = LEASE,
            concurrency = WORKERS,
            max_attempts = limits::ATTEMPTS,
            backoff = DELAY,
            in_progress = wait(DELAY),
            codec = Json,
        },
        &expect![[r#"
            impl Routed {
                fn route() -> __idem::Route {
                    __idem::handler_with(topic("paid"), Json, __Handler)
                        .key_from(__idem::KeySource::property(TENANT))
                        .named(::core::concat!(::core::module_path!(), "::", "pay"))
                        .tags(__idem::tags(TAGS))
                        .lease(LEASE)
                        .retention(4 * DAY)
                        .concurrency(WORKERS)
                        .max_attempts(limits::ATTEMPTS)
                        .backoff(__idem::IntoBackoff::into_backoff(DELAY))
                        .in_progress(__idem::InProgress::Wait(DELAY))
                }
            }
        "#]],
    );
}

/// Or the user's own mistake would come with an error about a crate that is not there.
#[test]
fn a_mistake_before_the_crates_path_keeps_the_path() {
    let item = quote!(
        async fn pay(_: Order) {}
    );
    for options in [
        quote!(key = "id", topc = "orders", crate = ::my::idem),
        quote!(key = "id", topic = "a b", crate = "::my::idem"),
        quote!(crate = "::my::idem", lease = "soon"),
    ] {
        names_my_idem(&crate::expand::idempotent(options, &item));
    }
    names_my_idem(&crate::message::derive(quote! {
        #[message(topc = "orders", crate = "::my::idem")]
        struct Order { id: u64 }
    }));
    names_my_idem(&crate::part::derive(quote! {
        #[key_part(crate = ::my::idem)]
        struct Order { id: u64 }
    }));
    names_my_idem(&crate::derive::derive(quote! {
        #[idempotency_key(crat = ::idem, crate = ::my::idem)]
        struct Order { #[idempotency_key] id: u64 }
    }));
}

fn names_my_idem(expanded: &TokenStream) {
    let text = expanded.to_string();
    assert!(text.contains("compile_error"), "{text}");
    assert!(text.contains(&quote!(use ::my::idem::__private as __idem).to_string()), "{text}");
    assert!(!text.contains("idem_rocketmq"), "{text}");
}
