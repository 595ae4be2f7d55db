//! Whether the brokers let this group in.
//!
//! Name servers ask nobody who he is; brokers do. One that refuses a consumer tells the client with every request,
//! and the client goes on asking without a word. So each broker is asked once before the start: first something that
//! needs no right but to be known, then for the group, then for each topic. A refusal thus tells what is missing. At last
//! it is asked for messages, as the client will do: that alone shows a group that does not exist and one that may not read.

use futures_util::future::join_all;
use rocketmq_client_rust::AclClientRPCHook;
use serde_json::{Value, json};

use super::reach::{AskedBrokers, Broker, Brokers};
use super::wire::{Connection, GET_CONSUMER_LIST_BY_GROUP, QUERY_CONSUMER_OFFSET, Response, SUCCESS};
use super::{begin, members, order};
use crate::error::{ClientError, ServerKind};
use crate::settings::{ClientSettings, Expression, Mode};
use crate::tls::LoadedTls;

const PULL_MESSAGE: i32 = 11;
const CHECK_CLIENT_CONFIG: i32 = 46;
/// Brokers before 5.0 do not know it.
const GET_SUBSCRIPTIONGROUP_CONFIG: i32 = 352;

/// `NO_PERMISSION`, for a key that the broker does not know and for a right that its user does not have.
const NO_PERMISSION: i64 = 16;
/// The code of brokers up to 5.2, whose access control is ACL 1.0, with the exception's name in the remark.
const SYSTEM_ERROR: i64 = 1;
const SUBSCRIPTION_GROUP_NOT_EXIST: i64 = 26;
/// `PULL_NOT_FOUND`, `PULL_RETRY_IMMEDIATELY`, `PULL_OFFSET_MOVED`: there is no message, and no fault.
const NO_MESSAGE: [i64; 3] = [19, 20, 21];

pub(super) async fn check<'a>(
    settings: &ClientSettings,
    tls: Option<&'a LoadedTls>,
    signer: Option<&'a AclClientRPCHook>,
    brokers: &'a Brokers,
) -> Result<AskedBrokers<'a>, ClientError> {
    let asked = brokers.iter().map(|(address, broker)| {
        let asking = AccessCheck { settings, address, broker };
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
    Ok(AskedBrokers { there, away })
}

struct AccessCheck<'a> {
    settings: &'a ClientSettings,
    address: &'a str,
    broker: &'a Broker,
}

impl AccessCheck<'_> {
    async fn ask<'a>(
        self,
        tls: Option<&'a LoadedTls>,
        signer: Option<&'a AclClientRPCHook>,
    ) -> Result<Connection<'a>, ClientError> {
        let mut connection = Connection::open(ServerKind::Broker, self.address, tls, signer).await?;
        let group = self.settings.full_group();
        for (topic, _) in &self.broker.topics {
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
        let listed = connection.ask(GET_CONSUMER_LIST_BY_GROUP, &of_group, &[]).await?;
        if is_refused(&listed) {
            return Err(self.refused("consumer group", &group));
        }
        let live = order::ids(&listed);
        members::check(self.settings, &mut connection).await?;
        if !live.is_empty() {
            let another = Connection::open(ServerKind::Broker, self.address, tls, signer).await;
            order::check(self.settings, another, &live).await?;
        }
        for (topic, _) in &self.broker.topics {
            let fields = [("consumerGroup", &*group), ("topic", topic), ("queueId", "0")];
            if is_refused(&connection.ask(QUERY_CONSUMER_OFFSET, &fields, &[]).await?) {
                return Err(self.refused("topic", topic));
            }
        }
        for (topic, _) in self.broker.topics.iter().filter(|(_, queues)| *queues > 0) {
            self.pull(&mut connection, &group, topic).await?;
        }
        if self.settings.mode == Mode::Broadcast {
            self.may_broadcast(&mut connection, &group).await?;
        }
        if live.is_empty() {
            order::until_unlocked(self.settings, self.broker, &mut connection).await?;
        }
        Ok(connection)
    }

    /// Asks for messages at a queue's end, where there are none. The request brings its subscription, so that the broker need
    /// not know of a member, stores no offset and is not to wait for a message. A broker that makes groups by itself makes this
    /// one now.
    async fn pull(
        &self,
        connection: &mut Connection<'_>,
        group: &str,
        topic: &str,
    ) -> Result<(), ClientError> {
        const HAS_SUBSCRIPTION: &str = "4";
        let end = begin::last(connection, topic, "0").await?;
        let end = begin::number(&end).unwrap_or(0).max(0).to_string();
        let (kind, subscription) = written(self.expression(topic));
        let fields = [
            ("consumerGroup", group),
            ("topic", topic),
            ("queueId", "0"),
            ("queueOffset", &*end),
            ("maxMsgNums", "1"),
            ("sysFlag", HAS_SUBSCRIPTION),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", if subscription.is_empty() { "*" } else { subscription }),
            ("subVersion", "0"),
            ("expressionType", kind),
        ];
        let answer = connection.ask(PULL_MESSAGE, &fields, &[]).await?;
        let address = self.address.to_owned();
        match answer.code {
            SUCCESS => Ok(()),
            code if NO_MESSAGE.contains(&code) => Ok(()),
            SUBSCRIPTION_GROUP_NOT_EXIST => Err(ClientError::NoGroup { group: group.to_owned(), address }),
            NO_PERMISSION => Err(ClientError::Unreadable {
                group: group.to_owned(),
                address,
                topic: topic.to_owned(),
                cause: answer.reason().to_owned(),
            }),
            _ if is_refused(&answer) => Err(self.refused("topic", topic)),
            code => {
                let cause = answer.reason();
                tracing::warn!(
                    group,
                    topic,
                    address,
                    code,
                    cause,
                    "the broker does not answer a request for messages; while it does not, the group gets none from there"
                );
                Ok(())
            }
        }
    }

    /// Only a member that has joined would be told by a request for messages.
    async fn may_broadcast(&self, connection: &mut Connection<'_>, group: &str) -> Result<(), ClientError> {
        let answer = connection.ask(GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", group)], &[]).await?;
        let config: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.code == SUCCESS && config["consumeBroadcastEnable"] == false {
            return Err(ClientError::NoBroadcast {
                group: group.to_owned(),
                address: self.address.to_owned(),
            });
        }
        Ok(())
    }

    /// The expression for a topic, which is named with its namespace.
    fn expression(&self, topic: &str) -> &Expression {
        const ALL: &Expression = &Expression::Tags(String::new());
        let mut all = self.settings.subscriptions.iter();
        let found = all.find(|(name, _)| self.settings.in_namespace(name) == topic);
        found.map_or(ALL, |(_, expression)| expression)
    }

    fn bad_filter(&self, topic: &str, filter: &str, answer: &Response) -> ClientError {
        ClientError::Filter {
            topic: topic.to_owned(),
            filter: filter.to_owned(),
            address: self.address.to_owned(),
            cause: answer.reason().to_owned(),
        }
    }

    fn unknown(&self) -> ClientError {
        let (group, address) = (self.settings.group.clone(), self.address.to_owned());
        if self.settings.cluster.credentials.is_some() {
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

/// The kind of an expression, and its text.
fn written(expression: &Expression) -> (&'static str, &str) {
    match expression {
        Expression::Tags(tags) => ("TAG", tags),
        Expression::Sql(condition) => ("SQL92", condition),
    }
}

fn subscription(group: &str, topic: &str, expression: &Expression) -> Vec<u8> {
    let (kind, text) = written(expression);
    let data = json!({ "topic": topic, "subString": text, "expressionType": kind, "subVersion": 0 });
    json!({ "clientId": "idem", "group": group, "subscriptionData": data }).to_string().into_bytes()
}

fn is_refused(answer: &Response) -> bool {
    answer.code == NO_PERMISSION
        || (answer.code == SYSTEM_ERROR && answer.remark.contains("acl.common.AclException"))
}
