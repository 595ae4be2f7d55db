//! Transactions over another library's connections.

use std::any::Any;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::dialect::{CLAIM_FOUND, FINISH, Postgres, of_one_key};
use super::driver::{DriverResult, PostgresDriver};
use crate::key::{IdempotencyKey, Namespace, RecordKey};
use crate::record::Token;
use crate::runtime;
use crate::store::remote::on_runtime;
use crate::store::sql::{Core, Entry, Found, Names, Request as _, micros};
use crate::store::{
    Answer, Claim, ClaimRequest, CompleteRequest, ConnectionType, SavepointEnd, StoreError, Transaction,
    Transactions,
};

/// How often a key is asked again that somebody else changes in between, and how often what is left open is ended.
const MOST_ROUNDS: usize = 20;

/// What the handler's statements wait for is kept beside, and is set again by the claim itself.
const BOUND_WAIT: &str =
    "SELECT convert_to(set_config('idem.lock_timeout', current_setting('lock_timeout'), true)
    || set_config('lock_timeout', convert_from($1::bytea, 'UTF8'), true), 'UTF8') AS value";
/// A row while the transaction that idem has written in is open.
const IS_OPEN: &str = "SELECT ''::bytea AS value WHERE txid_current_if_assigned() IS NOT NULL";
/// One name is enough: a savepoint hides an older one of its name until it is released.
const SAVEPOINT: &str = "SAVEPOINT idem_savepoint";
const RELEASE: &str = "RELEASE SAVEPOINT idem_savepoint";
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT idem_savepoint";
/// As a statement that writes does, so that [`IS_OPEN`] finds it.
const WRITE: &str = "SELECT int8send(txid_current()) AS value";

/// The transactions of a [`PostgresDriver`].
struct Foreign<D>(Arc<Setting<D>>);

struct Setting<D> {
    driver: Arc<D>,
    statements: Statements,
    /// For errors: where the store is.
    at: String,
    response_timeout: Duration,
}

/// The statements of one key, with the tables' names in them. All parameters are `bytea`: what is a number otherwise is
/// its digits.
struct Statements {
    claim: String,
    finish: String,
}

impl Statements {
    fn new(names: &Names) -> Self {
        let claim = format!("{CLAIM_FOUND}{}", include_str!("sql/claim_packed.sql"));
        let finish = format!("{FINISH} RETURNING key AS value");
        Self {
            claim: names.text(&of_one_key(&claim, number)),
            finish: names.text(&of_one_key(&finish, number)),
        }
    }
}

fn number(place: usize) -> String {
    format!("convert_from(${place}::bytea, 'UTF8')::bigint")
}

impl<D: PostgresDriver> Transactions for Foreign<D> {
    fn connection(&self) -> ConnectionType {
        ConnectionType::of::<D::Connection>()
    }

    fn max_open(&self) -> usize {
        self.0.driver.max_open()
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>> {
        let setting = self.0.clone();
        Box::pin(async move { Ok(Box::new(Open::begin(setting).await?) as Box<dyn Transaction>) })
    }

    fn is_conflict(&self, error: &(dyn StdError + 'static)) -> bool {
        D::is_conflict(error)
    }
}

/// A driver whose type is forgotten.
pub(super) trait AnyDriver: Send + Sync {
    fn transactions(
        self: Arc<Self>,
        names: &Names,
        at: String,
        response_timeout: Duration,
    ) -> Arc<dyn ForeignTransactions>;
}

impl<D: PostgresDriver> AnyDriver for D {
    fn transactions(
        self: Arc<Self>,
        names: &Names,
        at: String,
        response_timeout: Duration,
    ) -> Arc<dyn ForeignTransactions> {
        let statements = Statements::new(names);
        Arc::new(Foreign(Arc::new(Setting { driver: self, statements, at, response_timeout })))
    }
}

/// Transactions that are tried before they are used.
pub(super) trait ForeignTransactions: Transactions {
    /// Whether a transaction can be begun and rolled back, and a claim in it meets the lease that the store has given.
    fn probe(&self, leased: ClaimRequest) -> BoxFuture<'_, Result<(), StoreError>>;
}

impl<D: PostgresDriver> ForeignTransactions for Foreign<D> {
    fn probe(&self, leased: ClaimRequest) -> BoxFuture<'_, Result<(), StoreError>> {
        let setting = self.0.clone();
        Box::pin(
            async move { on_runtime(async move { Open::begin(setting).await?.probe(&leased).await }).await? },
        )
    }
}

/// Refuses a driver whose transactions are not of this store.
pub(super) async fn probe(
    driver: &dyn ForeignTransactions,
    store: &Arc<Core<Postgres>>,
) -> Result<(), StoreError> {
    let key = IdempotencyKey::new(format!("{:032x}", rand::random::<u128>()));
    let key = key.map_err(|_| StoreError::config("a random key is none"))?;
    let leased = ClaimRequest {
        key: RecordKey::new(Namespace::new(["idem", "probe"]), key),
        token: Token::random(),
        lease: Duration::from_mins(1),
        retention: Duration::from_mins(1),
        fingerprint: None,
    };
    for claimed in store.batch(std::slice::from_ref(&leased)).await? {
        claimed?;
    }
    let probed = driver.probe(ClaimRequest { token: Token::random(), ..leased.clone() }).await;
    store.remove(&leased.key).await?;
    probed
}

/// An open transaction. Where it is dropped, the driver sees to its end.
struct Open<D: PostgresDriver> {
    setting: Arc<Setting<D>>,
    transaction: Option<D::Transaction>,
    /// Whether it has ended, or the server has not answered in time.
    is_over: bool,
}

impl<D: PostgresDriver> Drop for Open<D> {
    fn drop(&mut self) {
        // A driver may close connections in tasks, and there may be no runtime here.
        let _entered = runtime::handle().enter();
        drop(self.transaction.take());
    }
}

impl<D: PostgresDriver> Open<D> {
    async fn begin(setting: Arc<Setting<D>>) -> Result<Self, StoreError> {
        let begun = timeout(setting.response_timeout, setting.driver.begin()).await;
        let failed = |error| setting.error("gave no transaction over the connections of its driver", error);
        let transaction = begun.map_err(|_| setting.timed_out())?.map_err(failed)?;
        Ok(Self { setting, transaction: Some(transaction), is_over: false })
    }

    fn session(&mut self) -> &mut D::Connection {
        let transaction = self.transaction.as_mut();
        D::connection(transaction.expect("it is there until the value is dropped"))
    }

    async fn query(
        &mut self,
        statement: &str,
        parameters: &[Option<&[u8]>],
    ) -> DriverResult<Option<Vec<u8>>> {
        D::query(self.session(), statement, parameters).await
    }

    async fn probe(mut self, leased: &ClaimRequest) -> Result<(), StoreError> {
        let setting = self.setting.clone();
        let probed = async {
            let claim = self.ask_to_claim(leased, setting.response_timeout).await?;
            self.query(WRITE, &[]).await?;
            let is_open = self.query(IS_OPEN, &[]).await?.is_some();
            DriverResult::Ok((claim, is_open, self.roll_back_all().await))
        };
        let wrong = match timeout(setting.longest(), probed).await {
            Err(_) => return Err(setting.timed_out()),
            Ok(Err(error)) => {
                let text = "cannot claim in idem's tables: it has to lead to the store's database and schema, as a user that \
                            may change the tables";
                return Err(setting.unfit(text).with_source(error));
            }
            Ok(Ok((_, false, _))) => "begins no transaction in `begin`",
            Ok(Ok((_, _, false))) => "does not end a transaction in `rollback`",
            Ok(Ok((Some(Ok(Claim::InProgress { .. })), ..))) => return Ok(()),
            Ok(Ok(_)) => "leads to other tables than the store's: give both the same database and schema",
        };
        Err(setting.unfit(wrong))
    }

    async fn try_claim(&mut self, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let wait = self.setting.response_timeout;
        let begun = Instant::now();
        match self.ask_to_claim(request, wait).await {
            Ok(Some(claim)) => claim,
            // Not every library tells why a statement has failed. Whatever it was, nothing runs, and the message comes again.
            Err(_) if begun.elapsed() >= wait => Ok(TAKEN),
            Ok(None) => Ok(TAKEN),
            Err(error) => Err(self.setting.meaning("refused idem's statement", error)),
        }
    }

    async fn ask_to_claim(&mut self, request: &ClaimRequest, wait: Duration) -> DriverResult<Claimed> {
        let setting = self.setting.clone();
        let entry = Entry::new(request.clone(), 0);
        self.query(BOUND_WAIT, &[Some(wait.as_millis().to_string().as_bytes())]).await?;
        let token = request.token.to_bytes();
        let [lease, retention] = [request.lease, request.retention].map(|time| micros(time).to_string());
        let fingerprint = request.fingerprint.map(crate::Fingerprint::to_bytes);
        let parameters = [
            Some(entry.key.as_slice()),
            Some(&token[..]),
            Some(lease.as_bytes()),
            Some(retention.as_bytes()),
            fingerprint.as_ref().map(|bytes| &bytes[..]),
        ];
        for _ in 0..MOST_ROUNDS {
            let packed = self.query(&setting.statements.claim, &parameters).await?;
            let found = packed.map(|packed| Found::unpack(entry.key.clone(), &packed)).transpose()?;
            if let Some(answer) = request.answer(found) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    async fn try_complete(&mut self, request: &CompleteRequest) -> Result<Answer, StoreError> {
        let setting = self.setting.clone();
        let entry = Entry::new(request.clone(), 0);
        let (token, retention) = (request.token.to_bytes(), micros(request.retention).to_string());
        let parameters = [
            Some(entry.key.as_slice()),
            Some(&token[..]),
            request.reply.as_deref(),
            Some(retention.as_bytes()),
        ];
        match self.query(&setting.statements.finish, &parameters).await {
            Ok(Some(_)) => Ok(Answer::Done),
            Ok(None) => Ok(Answer::Lost),
            Err(error) => Err(self.blame(error).await),
        }
    }

    async fn tell(&mut self, statements: &[&str]) -> Result<(), StoreError> {
        let bound = self.setting.response_timeout;
        let telling = async {
            for statement in statements {
                if let Err(error) = self.query(statement, &[]).await {
                    return Err(self.blame(error).await);
                }
            }
            Ok(())
        };
        let told = timeout(bound, telling).await;
        self.heard(told)
    }

    /// Invariant 6: a commit that the driver reports is no commit of the effect while the server has the transaction open
    /// (`what_a_driver_leaves_open_is_committed_too`).
    async fn commit_all(&mut self) -> Result<(), StoreError> {
        for _ in 0..MOST_ROUNDS {
            let committed = match D::commit(self.session()).await {
                Ok(()) => self.query(IS_OPEN, &[]).await,
                Err(error) => Err(error),
            };
            match committed {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {}
                Err(error) => return Err(self.blame(error).await),
            }
        }
        Err(StoreError::statement("the driver's `commit` does not end the transaction"))
    }

    /// Whether nothing is open any more, and the connection is in order.
    async fn roll_back_all(&mut self) -> bool {
        for _ in 0..MOST_ROUNDS {
            let rolled_back = D::rollback(self.session()).await.is_ok();
            match self.query(IS_OPEN, &[]).await {
                Ok(None) => return true,
                _ if !rolled_back => return false,
                _ => {}
            }
        }
        false
    }

    /// What an error means: a connection that answers after it has passed on the server's word.
    async fn blame(&mut self, error: Box<dyn StdError + Send + Sync>) -> StoreError {
        self.is_over = true;
        let answers = self.roll_back_all().await;
        if answers || D::is_conflict(&*error) {
            return self.setting.meaning("refused to complete the handler's transaction", error);
        }
        self.setting.error("is out of reach", error)
    }

    /// A server that has not answered in time is not asked again over this connection.
    fn heard<T>(&mut self, answer: Result<Result<T, StoreError>, Elapsed>) -> Result<T, StoreError> {
        answer.unwrap_or_else(|_| {
            self.is_over = true;
            Err(self.setting.timed_out())
        })
    }
}

/// The answer; none where others change the key all the time.
type Claimed = Option<Result<Claim, StoreError>>;

/// Somebody else has the key, for nobody knows how long.
const TAKEN: Claim = Claim::InProgress { remaining: Duration::ZERO, fingerprint: None };

impl<D: PostgresDriver> Setting<D> {
    /// What a claim may take: a wait for another one and an answer.
    fn longest(&self) -> Duration {
        self.response_timeout.saturating_mul(2)
    }

    fn timed_out(&self) -> StoreError {
        StoreError::unavailable(format!("PostgreSQL at {} did not answer its driver in time", self.at))
    }

    fn unfit(&self, what: &str) -> StoreError {
        StoreError::config(format!("the driver for PostgreSQL at {} {what}", self.at))
    }

    fn error(&self, what: &str, error: Box<dyn StdError + Send + Sync>) -> StoreError {
        StoreError::unavailable(format!("PostgreSQL at {} {what}", self.at)).with_source(error)
    }

    fn meaning(&self, what: &str, error: Box<dyn StdError + Send + Sync>) -> StoreError {
        let of: fn(String) -> StoreError =
            if D::is_conflict(&*error) { StoreError::conflict } else { StoreError::statement };
        of(format!("PostgreSQL at {} {what}", self.at)).with_source(error)
    }
}

impl<D: PostgresDriver> Transaction for Open<D> {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.session()
    }

    fn claim<'a>(&'a mut self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claim, StoreError>> {
        Box::pin(async move {
            let answer = timeout(self.setting.longest(), self.try_claim(request)).await;
            self.heard(answer)
        })
    }

    fn complete<'a>(&'a mut self, request: &'a CompleteRequest) -> BoxFuture<'a, Result<Answer, StoreError>> {
        Box::pin(async move {
            let answer = timeout(self.setting.response_timeout, self.try_complete(request)).await;
            self.heard(answer)
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.tell(&[SAVEPOINT]))
    }

    fn end_savepoint(&mut self, end: SavepointEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.tell(match end {
            SavepointEnd::Release => &[RELEASE],
            SavepointEnd::Rollback => &[ROLL_BACK, RELEASE],
        }))
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let answer = timeout(self.setting.response_timeout, self.commit_all()).await;
            self.heard(answer)
        })
    }

    fn rollback(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if !self.is_over {
                let _ = timeout(self.setting.response_timeout, self.roll_back_all()).await;
            }
        })
    }
}
