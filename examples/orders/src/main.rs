//! A consumer as a service: it counts the GMV of paid orders and gives each buyer a coupon, once.
//!
//! Start it twice: the two processes share the consumer group, the store and the work.

use std::env;

use idem_rocketmq::prelude::*;
use idem_rocketmq::store::RedisStore;
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;

/// The shop's message when an order is paid.
#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    buyer: Buyer,
    amount_cents: i64,
}

#[derive(Deserialize)]
struct Buyer {
    id: String,
}

/// Where this service keeps its own data. Cloning shares the connection.
#[derive(Clone)]
struct Shop(ConnectionManager);

/// Adds a paid order to the GMV.
#[idempotent(key = "order_id", topic = "orders", tag = "PAID", scope = "gmv")]
async fn add_gmv(order: OrderPaid, State(Shop(mut redis)): State<Shop>) -> HandlerResult {
    let gmv: i64 = redis.incr("shop:gmv_cents", order.amount_cents).await?;
    println!("order {} of {}: GMV is now {gmv}", order.order_id, order.amount_cents);
    Ok(())
}

/// Gives the buyer of a first order a coupon, whatever the number of orders: the buyer is the key.
#[idempotent(key = "buyer.id", topic = "orders", tag = "FIRST", timeout = "30s", max_attempts = 8)]
async fn send_coupon(
    order: OrderPaid,
    State(Shop(mut redis)): State<Shop>,
    attempt: Attempt,
) -> HandlerResult {
    let coupons: i64 = redis.incr("shop:coupons", 1).await?;
    println!("coupon {coupons} for {} at attempt {}", order.buyer.id, attempt.number());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(filter()).init();
    let name_server = env::var("NAMESRV_ADDR").unwrap_or_else(|_| "127.0.0.1:9876".to_owned());
    let redis_url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());

    let shop = Shop(redis::Client::open(redis_url.as_str())?.get_connection_manager().await?);
    Consumer::builder("orders-service")
        .name_server(name_server)
        .store(RedisStore::connect(&redis_url).await?)
        .state(shop)
        .handlers(handlers![add_gmv, send_coupon])
        .run()
        .await?;
    Ok(())
}

/// `RUST_LOG` where it is set; else what idem says, and of the RocketMQ client, which talks much, only errors.
fn filter() -> tracing_subscriber::EnvFilter {
    let usual = "info,rocketmq_client_rust=error,rocketmq_transport=error,rocketmq_runtime=error";
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| usual.into())
}
