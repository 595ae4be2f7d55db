//! A shop: a bank whose payments are announced through an outbox.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use idem_core::outbox::{BeginOutcome, LocalTransaction, Outbox, OutboxMessage, TransactionId};
use idem_core::{IdempotencyKey, StoreError};

use crate::support::bank::{Bank, SECOND};

/// A bank that announces its payments.
pub(crate) trait Shop: Bank {
    /// As another process would have it.
    fn outbox(&self, options: Options) -> impl Future<Output = Result<Arc<dyn Outbox>, StoreError>> + Send;
    /// Creates the tables of this name.
    fn migrate(&self, table: &'static str) -> impl Future<Output = Result<(), StoreError>> + Send;
    fn run(&self, sql: &str) -> impl Future<Output = ()> + Send;
    fn count(&self, sql: &str) -> impl Future<Output = i64> + Send;
}

#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) table: &'static str,
    pub(crate) wait: Duration,
    pub(crate) resend_after: Duration,
    pub(crate) retention: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { table: "idem_outbox", wait: 20 * SECOND, resend_after: 60 * SECOND, retention: 600 * SECOND }
    }
}

/// The settings, on any of the builders.
macro_rules! with_options {
    ($builder:expr, $options:expr) => {
        $builder
            .table($options.table)
            .response_timeout($options.wait)
            .resend_after($options.resend_after)
            .retention($options.retention)
    };
}

pub(crate) use with_options;

/// A shop with tables, and its outbox.
pub(crate) async fn open<S: Shop>(options: Options) -> (S, Arc<dyn Outbox>) {
    let shop = <S as Bank>::open().await;
    shop.migrate(options.table).await.unwrap();
    let outbox = shop.outbox(options).await.unwrap();
    (shop, outbox)
}

pub(crate) fn message() -> OutboxMessage {
    OutboxMessage {
        id: TransactionId::random(),
        topic: "orders".to_owned(),
        tag: Some("PAID".to_owned()),
        lookup_keys: Some("订单 7".to_owned()),
        order_by: Some("buyer-1".to_owned()),
        properties: vec![("source".to_owned(), "web; é".to_owned()), ("IDEM".to_owned(), "%00".to_owned())],
        body: Bytes::from_static(&[0, 1, 2, 255, b'"', b'\'', b'\\']),
    }
}

pub(crate) fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

/// A transaction that must begin.
pub(crate) async fn begin(
    outbox: &Arc<dyn Outbox>,
    message: &OutboxMessage,
    name: &str,
) -> Box<dyn LocalTransaction> {
    match outbox.begin(message, &key(name)).await.unwrap() {
        BeginOutcome::Open(open) => open,
        BeginOutcome::KeyCommitted => panic!("the key is committed"),
        BeginOutcome::RolledBack => panic!("it is rolled back"),
    }
}

pub(crate) fn connection<S: Shop>(open: &mut dyn LocalTransaction) -> &mut S::Connection {
    open.connection().downcast_mut().expect("the database's connection")
}

/// A payment with its message.
pub(crate) async fn pay<S: Shop>(outbox: &Arc<dyn Outbox>, name: &str) -> OutboxMessage {
    let message = message();
    let mut open = begin(outbox, &message, name).await;
    S::pay(connection::<S>(&mut *open), name).await.unwrap();
    open.commit().await.unwrap();
    message
}
