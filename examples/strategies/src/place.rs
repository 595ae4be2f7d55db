//! Where the example works: a broker, a database, and perhaps a Redis.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use idem_rocketmq::TieredStore;
use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;
use tempfile::TempDir;

use crate::Error;
use crate::strategy::Strategy;

/// The members of groups with two. In broadcasting an instance's name must stay the same when it is started again.
pub(crate) const INSTANCES: [&str; 2] = ["example-one", "example-two"];

pub(crate) struct Place {
    /// Keeps the groups of one run apart from those of another.
    run: u128,
    /// None where a broker of the user's own is named.
    broker: Option<EmbeddedBroker>,
    name_server: String,
    database_url: String,
    /// Where SQLite's file is, when no other database is named.
    dir: TempDir,
    redis_url: Option<String>,
}

#[derive(Clone, Copy)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
    MySql,
}

impl Place {
    pub(crate) async fn open() -> Result<Self, Error> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let broker = if set("NAMESRV_ADDR").is_none() {
            println!("Starting a RocketMQ name server and broker in this process ..");
            let second = std::time::Duration::from_secs(1);
            Some(EmbeddedBroker::builder().transaction_check_interval(second).start().await?)
        } else {
            None
        };
        let own = broker.as_ref().map(|broker| broker.name_server().to_owned());
        let dir = tempfile::tempdir()?;
        let file = format!("sqlite://{}?mode=rwc", dir.path().join("shop.db").display());
        Ok(Self {
            run: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis(),
            name_server: set("NAMESRV_ADDR").or(own).unwrap_or_default(),
            broker,
            database_url: set("DATABASE_URL").unwrap_or(file),
            dir,
            redis_url: set("REDIS_URL"),
        })
    }

    pub(crate) fn name_server(&self) -> &str {
        &self.name_server
    }

    pub(crate) fn database(&self) -> Database {
        match self.database_url.split(':').next() {
            Some("postgres" | "postgresql") => Database::Postgres,
            Some("mysql" | "mariadb") => Database::MySql,
            _ => Database::Sqlite,
        }
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// SQLite's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("shop.db")
    }

    /// `Redis`, or what stands in for it.
    pub(crate) fn redis_name(&self) -> &'static str {
        if self.redis_url.is_some() { "Redis" } else { "memory, for Redis" }
    }

    pub(crate) async fn redis(&self) -> Result<Arc<dyn Store>, Error> {
        Ok(match &self.redis_url {
            Some(url) => Arc::new(RedisStore::builder(url).key_prefix("example:").connect().await?),
            None => Arc::new(MemoryStore::new()),
        })
    }

    /// The database behind a cache.
    pub(crate) async fn tiered(&self, database: impl Store) -> Result<Arc<dyn Store>, Error> {
        Ok(match &self.redis_url {
            Some(url) => {
                let cache = RedisStore::builder(url).key_prefix("example-cache:").connect().await?;
                Arc::new(TieredStore::new(cache, database).await?)
            }
            None => Arc::new(TieredStore::new(MemoryStore::new(), database).await?),
        })
    }

    /// The consumer group of a topic in this run.
    pub(crate) fn group(&self, topic: &str) -> String {
        format!("{topic}-{}", self.run)
    }

    /// With four queues in the process; a broker of your own creates a topic with its first message.
    pub(crate) async fn create_topics(&self, strategies: &[Strategy]) -> Result<(), Error> {
        let topics = strategies.iter().map(|strategy| strategy.topic);
        if let Some(broker) = &self.broker {
            for topic in topics {
                broker.create_topic(topic, 4).await?;
            }
            return Ok(());
        }
        let producer = Producer::builder("example-topics").name_server(&self.name_server).start().await?;
        for topic in topics {
            producer.send(&OutgoingMessage::new(topic, "first", "creates the topic").tag("FIRST")).await?;
        }
        producer.shutdown().await;
        Ok(())
    }

    /// Leaves nothing in the home directory, where the client keeps how far an instance is that broadcasts.
    pub(crate) async fn close(self) {
        let offsets = std::env::home_dir().unwrap_or_default().join(".rocketmq_offsets");
        for instance in INSTANCES {
            let _ = std::fs::remove_dir_all(offsets.join(format!("broadcast@{instance}")));
        }
        if let Some(broker) = self.broker {
            broker.shutdown().await;
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = match self.database() {
            Database::Sqlite => "a file of SQLite",
            Database::Postgres => "PostgreSQL",
            Database::MySql => "MySQL or MariaDB",
        };
        let redis = if self.redis_url.is_some() { "Redis" } else { "memory in place of Redis" };
        let broker = if self.broker.is_some() { "a broker in this process" } else { "your broker" };
        write!(f, "{broker}, {database} and {redis}")
    }
}
