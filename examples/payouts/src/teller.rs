//! The teller: a consumer in a process that may be killed or stopped at any time.

use std::sync::Arc;
use std::time::Duration;

use idem_rocketmq::extract::{Doubt, Lease};
use idem_rocketmq::handler::Happened;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::Failure;
use crate::provider::ProviderClient;

/// The three policies. Each has payouts, a topic and a handler of its own.
pub(crate) const POLICIES: [&str; 3] = ["run", "check", "hold"];

/// A payout, as it is sent.
#[derive(Serialize, Deserialize)]
pub(crate) struct Payout {
    pub(crate) id: String,
}

/// The place where a teller works, which its process finds in the environment.
pub(crate) struct Setting {
    pub(crate) name_server: String,
    pub(crate) store: String,
    pub(crate) provider: String,
    pub(crate) run: String,
}

const NAMES: [&str; 4] = ["TELLER_NAME_SERVER", "TELLER_STORE", "TELLER_PROVIDER", "TELLER_RUN"];

impl Setting {
    pub(crate) fn of_environment() -> Option<Self> {
        let [name_server, store, provider, run] = NAMES.map(|name| std::env::var(name).ok());
        Some(Self { name_server: name_server?, store: store?, provider: provider?, run: run? })
    }

    pub(crate) fn environment(&self) -> [(&'static str, &str); 4] {
        let values = [&self.name_server, &self.store, &self.provider, &self.run];
        std::array::from_fn(|place| (NAMES[place], values[place].as_str()))
    }

    pub(crate) fn topic(&self, policy: &str) -> String {
        format!("payouts-{policy}-{}", self.run)
    }

    pub(crate) fn group(&self) -> String {
        format!("treasury-{}", self.run)
    }
}

/// Whatever comes instead of an answer, nobody knows what became of the payout.
async fn pay(payout: &Payout, provider: &ProviderClient, lease: &Lease) -> HandlerResult {
    let fence = lease.fence().map_or(0, |fence| fence.0);
    match provider.ask("PAY", &payout.id, fence).await.or_uncertain()?.as_str() {
        "PAID" => Ok(()),
        // A clear answer: this request was refused, because another teller has the payout.
        answer => Err(answer.into()),
    }
}

#[idempotent(key = "id", topic = "payouts-run-${run}", uncertain = run)]
async fn pay_again(payout: Payout, State(provider): State<ProviderClient>, lease: Lease) -> HandlerResult {
    pay(&payout, &provider, &lease).await
}

#[idempotent(key = "id", topic = "payouts-check-${run}", uncertain = check(was_paid))]
async fn pay_checked(payout: Payout, State(provider): State<ProviderClient>, lease: Lease) -> HandlerResult {
    pay(&payout, &provider, &lease).await
}

#[idempotent(key = "id", topic = "payouts-hold-${run}", uncertain = hold)]
async fn pay_once(payout: Payout, State(provider): State<ProviderClient>, lease: Lease) -> HandlerResult {
    pay(&payout, &provider, &lease).await
}

/// The fence makes a `NOTHING` final: the provider refuses what an overtaken teller sends later.
async fn was_paid(
    payout: &Payout,
    _: &Doubt,
    State(provider): State<ProviderClient>,
    lease: Lease,
) -> std::io::Result<Happened> {
    let fence = lease.fence().map_or(0, |fence| fence.0);
    Ok(match provider.ask("STATUS", &payout.id, fence).await?.as_str() {
        "PAID" => Happened::Yes,
        "NOTHING" => Happened::No,
        _ => Happened::Unknown,
    })
}

/// Pays until it is killed.
pub(crate) async fn work(setting: &Setting) -> Result<(), Failure> {
    let settings = Settings::new()
        .lease(Duration::from_secs(2))
        .timeout(Duration::from_secs(1))
        .backoff(idem_rocketmq::Backoff::fixed(Duration::from_millis(500)))
        .max_attempts(50);
    Consumer::builder(setting.group())
        .name_server(&setting.name_server)
        .instance_name(std::process::id().to_string())
        .shared_store(store(&setting.store).await?)
        .state(ProviderClient(setting.provider.clone()))
        .defaults(settings)
        .value("run", &setting.run)
        .handlers(handlers![pay_again, pay_checked, pay_once])
        .run()
        .await?;
    Ok(())
}

/// A file of SQLite, or a server by its URL.
pub(crate) async fn store(url: &str) -> Result<Arc<dyn Store>, Failure> {
    Ok(match url.split(':').next() {
        Some("postgres" | "postgresql") => {
            PostgresStore::builder(url).migrate().await?;
            Arc::new(PostgresStore::connect(url).await?)
        }
        Some("mysql") => {
            MySqlStore::builder(url).migrate().await?;
            Arc::new(MySqlStore::connect(url).await?)
        }
        Some("redis" | "rediss") => Arc::new(RedisStore::connect(url).await?),
        _ => Arc::new(SqliteStore::open(url).await?),
    })
}
