//! Whether the brokers let this group in.
//!
//! Name servers ask nobody who he is; brokers do. One that refuses a consumer tells the client with every request,
//! and the client goes on asking without a word. So each broker is asked once before the start: first something that
//! needs no right beside being known, then for the group, then for each topic. A refusal thus tells what is missing.

use futures_util::future::join_all;
use rocketmq_client_rust::AclClientRPCHook;
use serde_json::json;

use super::reach::Brokers;
use super::tls::LoadedTls;
use super::wire::{Answer, Connection, Server};
use super::{ClientError, ClientSettings, Credentials, Expression, Mode, begin, members};

pub(super) const QUERY_CONSUMER_OFFSET: i32 = 14;
const GET_CONSUMER_LIST_BY_GROUP: i32 = 38;
const CHECK_CLIENT_CONFIG: i32 = 46;

pub(super) const SUCCESS: i64 = 0;
/// `NO_PERMISSION`, for a key that the broker does not know and for a right that its user does not have.
const NO_PERMISSION: i64 = 16;

pub(super) async fn check(
    settings: &ClientSettings,
    tls: Option<&LoadedTls>,
    brokers: &Brokers,
) -> Result<(), ClientError> {
    let signer = settings.credentials.as_ref().map(Credentials::hook);
    let asked = brokers.iter().map(|(address, topics)| {
        let asking = Asking { settings, address, topics };
        asking.ask(tls, signer.as_ref())
    });
    for answer in join_all(asked).await {
        match answer {
            // It may be restarting; the client will find it, or another one.
            Err(error) if error.is_unreachable() => tracing::warn!(%error, "a broker does not answer"),
            answer => answer?,
        }
    }
    Ok(())
}

struct Asking<'a> {
    settings: &'a ClientSettings,
    address: &'a str,
    topics: &'a [(String, u64)],
}

impl Asking<'_> {
    async fn ask(
        self,
        tls: Option<&LoadedTls>,
        signer: Option<&AclClientRPCHook>,
    ) -> Result<(), ClientError> {
        let mut connection = Connection::open(Server::Broker, self.address, tls, signer).await?;
        let group = self.settings.full_group();
        for (topic, _) in self.topics {
            let expression = self.expression(topic);
            let answer =
                connection.ask(CHECK_CLIENT_CONFIG, &[], &subscription(&group, topic, expression)).await?;
            if is_refused(&answer) {
                return Err(self.unknown());
            }
            if let (Expression::Sql(filter), true) = (expression, answer.code != SUCCESS) {
                return Err(self.bad_filter(topic, filter, &answer.remark));
            }
        }
        let of_group = [("consumerGroup", &*group)];
        if is_refused(&connection.ask(GET_CONSUMER_LIST_BY_GROUP, &of_group, &[]).await?) {
            return Err(self.refused("consumer group", &group));
        }
        members::check(self.settings, &mut connection).await?;
        for (topic, _) in self.topics {
            let fields = [("consumerGroup", &*group), ("topic", topic), ("queueId", "0")];
            if is_refused(&connection.ask(QUERY_CONSUMER_OFFSET, &fields, &[]).await?) {
                return Err(self.refused("topic", topic));
            }
        }
        // In broadcasting each instance keeps its own offsets.
        let stores_offsets = self.settings.mode != Mode::Broadcast;
        for (topic, queues) in self.topics.iter().filter(|_| stores_offsets) {
            begin::at(self.settings.consume_from, &mut connection, &group, topic, *queues).await?;
        }
        Ok(())
    }

    /// What is wanted of a topic, which is named with its namespace.
    fn expression(&self, topic: &str) -> &Expression {
        const ALL: &Expression = &Expression::Tags(String::new());
        let mut all = self.settings.subscriptions.iter();
        let found = all.find(|(name, _)| self.settings.in_namespace(name) == topic);
        found.map_or(ALL, |(_, expression)| expression)
    }

    fn bad_filter(&self, topic: &str, filter: &str, remark: &str) -> ClientError {
        let cause = remark.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        // The name of the Java exception tells a reader nothing.
        let cause = match cause.split_once(": ") {
            Some((class, text)) if class.starts_with("org.apache.") => text,
            _ => cause,
        };
        ClientError::Filter {
            topic: topic.to_owned(),
            filter: filter.to_owned(),
            address: self.address.to_owned(),
            cause: cause.trim().to_owned(),
        }
    }

    fn unknown(&self) -> ClientError {
        let (group, address) = (self.settings.group.clone(), self.address.to_owned());
        if self.settings.credentials.is_some() {
            ClientError::WrongCredentials { group, address }
        } else {
            ClientError::NoCredentials { group, address }
        }
    }

    fn refused(&self, what: &'static str, name: &str) -> ClientError {
        let (group, address) = (self.settings.group.clone(), self.address.to_owned());
        ClientError::Forbidden { group, address, what, name: name.to_owned() }
    }
}

fn subscription(group: &str, topic: &str, expression: &Expression) -> Vec<u8> {
    let (kind, text) = match expression {
        Expression::Tags(tags) => ("TAG", tags),
        Expression::Sql(condition) => ("SQL92", condition),
    };
    let data = json!({ "topic": topic, "subString": text, "expressionType": kind, "subVersion": 0 });
    json!({ "clientId": "idem", "group": group, "subscriptionData": data }).to_string().into_bytes()
}

fn is_refused(answer: &Answer) -> bool {
    answer.code == NO_PERMISSION
}
