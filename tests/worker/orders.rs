//! `idem-worker orders NAME_SERVER TOPIC DATABASE GROUP INSTANCE STEP SECONDS`: orders that are stored and announced, as fast as
//! it goes, until the process is killed. The database is a URL, or the path of a file for SQLite. The step is one of
//! `deadly.rs`, at which the process kills itself, or `any`: at any moment of its local work, some of which fails. For so many
//! seconds the broker is not to ask for an order; with 0, as it is set up.

use std::time::Duration;

use idem_rocketmq::outbox::{MySqlOutbox, PostgresOutbox, SqliteOutbox, TypedOutbox};
use idem_rocketmq::prelude::*;
use sqlx::{MySqlConnection, PgConnection, SqliteConnection};

use crate::deadly::Deadly;

/// How many customers order at one time.
const CUSTOMERS: usize = 6;
/// Short, so that a storm has second copies, too.
const RESEND_AFTER: Duration = Duration::from_secs(3);
const SWEEP_EVERY: Duration = Duration::from_millis(500);
const ANY_STEP: &str = "any";
/// Apache's brokers ask for a message no sooner than it says (`PROPERTY_CHECK_IMMUNITY_TIME_IN_SECONDS`).
const ASK_AFTER: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";

/// The same on each database; the placeholder is all that differs.
macro_rules! shops {
    ($($name:ident on $connection:ty: $insert:literal;)*) => {$(
        async fn $name(tx: &mut $connection, id: String, step: &str) -> HandlerResult {
            sqlx::query($insert).bind(id).execute(&mut *tx).await?;
            if step == ANY_STEP { go_wrong() } else { Ok(()) }
        }
    )*};
}

/// Some runs fail halfway, and some kill the process.
fn go_wrong() -> HandlerResult {
    match rand::random_range(0..60) {
        0..5 => Err("some orders fail".into()),
        5 => panic!("some orders panic"),
        6 => std::process::abort(),
        _ => Ok(()),
    }
}

shops! {
    on_postgres on PgConnection: "INSERT INTO orders (id) VALUES ($1)";
    on_mysql on MySqlConnection: "INSERT INTO orders (id) VALUES (?)";
    on_sqlite on SqliteConnection: "INSERT INTO orders (id) VALUES (?)";
}

/// One customer orders, again and again.
macro_rules! sell {
    ($outbox:expr, $work:ident: $connection:ty, $arguments:expr) => {{
        let [name_server, topic, _, group, instance, step, seconds] = $arguments;
        let outbox = Deadly { outbox: $outbox, step: step.as_str().into() };
        let producer = start(name_server, group, instance, outbox).await?;
        let customers = (0..CUSTOMERS).map(|customer| {
            let (producer, topic, step, seconds) =
                (producer.clone(), topic.clone(), step.clone(), seconds.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let id = format!("{}-{customer}-{number}", std::process::id());
                    let order = order(&topic, &id, &seconds);
                    let work = async |tx: &mut $connection| $work(tx, id, &step).await;
                    // Whatever came of it: message and database must agree.
                    if let Err(error) = producer.transaction_on(&order, work).await {
                        eprintln!("{error}");
                    }
                }
            })
        });
        for customer in customers.collect::<Vec<_>>() {
            customer.await?;
        }
    }};
}

fn order(topic: &str, id: &str, ask_after: &str) -> OutgoingMessage {
    let order = OutgoingMessage::new(topic, id, id.to_owned());
    if ask_after == "0" { order } else { order.property(ASK_AFTER, ask_after) }
}

async fn start<O: TypedOutbox>(
    name_server: &str,
    group: &str,
    instance: &str,
    outbox: O,
) -> Result<Producer<O>, idem_rocketmq::Error> {
    let producer = Producer::builder(group).name_server(name_server).instance_name(instance);
    producer.outbox(outbox).start().await
}

#[tokio::main]
pub(super) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let Ok(arguments) = <&[String; 7]>::try_from(&arguments[..]) else {
        return Err("idem-worker orders NAME_SERVER TOPIC DATABASE GROUP INSTANCE STEP SECONDS".into());
    };
    super::log();
    let database = &arguments[2];
    match database.split(':').next() {
        Some("postgres") => {
            let outbox =
                PostgresOutbox::builder(database).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
            sell!(outbox.connect().await?, on_postgres: PgConnection, arguments);
        }
        Some("mysql") => {
            let outbox = MySqlOutbox::builder(database).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
            sell!(outbox.connect().await?, on_mysql: MySqlConnection, arguments);
        }
        _ => {
            let outbox = SqliteOutbox::builder(database).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
            sell!(outbox.open().await?, on_sqlite: SqliteConnection, arguments);
        }
    }
    Ok(())
}
