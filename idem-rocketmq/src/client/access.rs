//! Whether the brokers let this group in.
//!
//! Name servers ask nobody who he is; brokers do. One that refuses a consumer tells the client with every request,
//! and the client goes on asking without a word. So each broker is asked once before the start: first something that
//! needs no right beside being known, then for the group, then for each topic. A refusal thus tells what is missing.

use futures_util::future::join_all;
use rocketmq_client_rust::AclClientRPCHook;
use serde_json::json;

use super::reach::{Broker, Brokers};
use super::tls::LoadedTls;
use super::wire::{Answer, Connection, Server};
use super::{ClientError, ClientSettings, Expression, members};

pub(super) const QUERY_CONSUMER_OFFSET: i32 = 14;
const GET_CONSUMER_LIST_BY_GROUP: i32 = 38;
const CHECK_CLIENT_CONFIG: i32 = 46;

pub(super) const SUCCESS: i64 = 0;
/// `NO_PERMISSION`, for a key that the broker does not know and for a right that its user does not have.
const NO_PERMISSION: i64 = 16;

/// The brokers that were asked.
pub(super) struct Asked<'a> {
    /// Those that let the group in.
    pub(super) there: Vec<(&'a Broker, Connection<'a>)>,
    /// Those that did not answer.
    pub(super) away: Vec<(&'a Broker, ClientError)>,
}

pub(super) async fn check<'a>(
    settings: &ClientSettings,
    tls: Option<&'a LoadedTls>,
    signer: Option<&'a AclClientRPCHook>,
    brokers: &'a Brokers,
) -> Result<Asked<'a>, ClientError> {
    let asked = brokers.iter().map(|(address, broker)| {
        let asking = Asking { settings, address, topics: &broker.topics };
        asking.ask(tls, signer)
    });
    let (mut there, mut away) = (Vec::new(), Vec::new());
    for (broker, answer) in brokers.values().zip(join_all(asked).await) {
        match answer {
            Ok(connection) => there.push((broker, connection)),
            // It may be restarting; the client will find it, or another one.
            Err(error) if error.is_unreachable() => {
                tracing::warn!(%error, "a broker does not answer");
                away.push((broker, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Asked { there, away })
}

struct Asking<'a> {
    settings: &'a ClientSettings,
    address: &'a str,
    topics: &'a [(String, u64)],
}

impl Asking<'_> {
    async fn ask<'a>(
        self,
        tls: Option<&'a LoadedTls>,
        signer: Option<&'a AclClientRPCHook>,
    ) -> Result<Connection<'a>, ClientError> {
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
                return Err(self.bad_filter(topic, filter, &answer));
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
        Ok(connection)
    }

    /// What is wanted of a topic, which is named with its namespace.
    fn expression(&self, topic: &str) -> &Expression {
        const ALL: &Expression = &Expression::Tags(String::new());
        let mut all = self.settings.subscriptions.iter();
        let found = all.find(|(name, _)| self.settings.in_namespace(name) == topic);
        found.map_or(ALL, |(_, expression)| expression)
    }

    fn bad_filter(&self, topic: &str, filter: &str, answer: &Answer) -> ClientError {
        ClientError::Filter {
            topic: topic.to_owned(),
            filter: filter.to_owned(),
            address: self.address.to_owned(),
            cause: answer.reason().to_owned(),
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
