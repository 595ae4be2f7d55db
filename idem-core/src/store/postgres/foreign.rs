//! Transactions over another library's connections.

use std::any::Any;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::dialect::{CLAIM_FOUND, FINISH, FRESHEN, PROMPT, Postgres, of_one_key};
use super::driver::{DriverResult, PostgresDriver};
use crate::doubt::MessageId;
use crate::record::Token;
use crate::runtime;
use crate::store::remote::on_runtime;
use crate::store::sql::{BatchEntry, BatchRequest as _, Names, RecordRow, RowAnswer, SqlStoreCore, micros};
use crate::store::{
    Answer, Claim, ClaimRequest, CompleteRequest, ConnectionType, SavepointEnd, StoreError, Transaction,
    Transactions, probe as probes,
};

/// How often a key is asked again that somebody else changes in between, and how often what is left open is ended.
const MOST_ROUNDS: usize = 20;

/// Before anything that reads or writes.
const READ_WRITE: &str = "SET TRANSACTION READ WRITE";
/// Keeps the handler's own lock time-out beside; the claim itself sets it again. Returns whether the session
/// writes nothing outside of the transaction.
const BOUND_WAIT: &str = "SELECT convert_to(current_setting('default_transaction_read_only') || left(
        set_config('idem.lock_timeout', current_setting('lock_timeout'), true)
        || set_config('lock_timeout', convert_from($1::bytea, 'UTF8'), true), 0), 'UTF8') AS value";
/// A row while the transaction that idem has written in is open. Beside it the session is put back to what it is by itself:
/// whoever has the connection next may write.
const IS_OPEN: &str = "SELECT ''::bytea AS value FROM (
        SELECT txid_current_if_assigned() AS open, set_config('default_transaction_read_only', NULL, false) AS reset OFFSET 0
    ) AS session WHERE open IS NOT NULL AND reset IS NOT NULL";
/// One name is enough: a savepoint hides an older one of its name until it is released.
const SAVEPOINT: &str = "SAVEPOINT idem_savepoint";
const RELEASE: &str = "RELEASE SAVEPOINT idem_savepoint";
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT idem_savepoint";
/// As a statement that writes does, so that [`IS_OPEN`] finds it.
const WRITE: &str = "SELECT int8send(txid_current()) AS value";

/// The transactions of a [`PostgresDriver`].
struct DriverTransactions<D>(Arc<DriverSetting<D>>);

struct DriverSetting<D> {
    driver: Arc<D>,
    statements: DriverStatements,
    /// For errors: where the store is.
    at: String,
    response_timeout: Duration,
}

/// The statements of one key, with the tables' names in them. All parameters are `bytea`: what is a number otherwise is
/// its digits.
struct DriverStatements {
    claim: String,
    freshen: String,
    finish: String,
}

impl DriverStatements {
    fn new(names: &Names) -> Self {
        let claim = format!("{CLAIM_FOUND}{}", include_str!("sql/claim_packed.sql"));
        let finish = format!("{FINISH} RETURNING key AS value");
        Self {
            claim: names.text(&of_one_key(&claim, number)),
            freshen: names.text(&of_one_key(FRESHEN, number)),
            finish: names.text(&of_one_key(&finish, number)),
        }
    }
}

fn number(place: usize) -> String {
    format!("convert_from(${place}::bytea, 'UTF8')::bigint")
}

impl<D: PostgresDriver> Transactions for DriverTransactions<D> {
    fn connection(&self) -> ConnectionType {
        ConnectionType::of::<D::Connection>()
    }

    fn max_open(&self) -> usize {
        self.0.driver.max_open()
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>> {
        let setting = self.0.clone();
        Box::pin(
            async move { Ok(Box::new(DriverTransaction::begin(setting).await?) as Box<dyn Transaction>) },
        )
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
        let statements = DriverStatements::new(names);
        Arc::new(DriverTransactions(Arc::new(DriverSetting {
            driver: self,
            statements,
            at,
            response_timeout,
        })))
    }
}

/// Transactions that are tried before they are used.
pub(super) trait ForeignTransactions: Transactions {
    /// Whether a transaction can be begun and rolled back, and a claim in it meets the lease that the store has given.
    fn probe(&self, leased: ClaimRequest) -> BoxFuture<'_, Result<(), StoreError>>;
}

impl<D: PostgresDriver> ForeignTransactions for DriverTransactions<D> {
    fn probe(&self, leased: ClaimRequest) -> BoxFuture<'_, Result<(), StoreError>> {
        let setting = self.0.clone();
        Box::pin(async move {
            on_runtime(async move { DriverTransaction::begin(setting).await?.probe(&leased).await }).await?
        })
    }
}

/// Refuses a driver whose transactions are not of this store.
pub(super) async fn probe(
    driver: &dyn ForeignTransactions,
    store: &Arc<SqlStoreCore<Postgres>>,
) -> Result<(), StoreError> {
    let leased = ClaimRequest {
        key: probes::key()?,
        token: Token::random(),
        lease: Duration::from_mins(1),
        retention: Duration::from_mins(1),
        fingerprint: None,
        member: probes::MEMBER,
        message: None,
    };
    for claimed in store.batch(std::slice::from_ref(&leased)).await? {
        claimed?;
    }
    let probed = driver.probe(ClaimRequest { token: Token::random(), ..leased.clone() }).await;
    store.remove(&leased.key, None).await?;
    probed
}

/// An open transaction. Where it is dropped, the driver sees to its end.
struct DriverTransaction<D: PostgresDriver> {
    setting: Arc<DriverSetting<D>>,
    transaction: Option<D::Transaction>,
    /// Whether it has ended, or the server has not answered in time.
    is_over: bool,
}

impl<D: PostgresDriver> Drop for DriverTransaction<D> {
    fn drop(&mut self) {
        // A driver may close connections in tasks, and there may be no runtime here.
        let _entered = runtime::handle().enter();
        drop(self.transaction.take());
    }
}

impl<D: PostgresDriver> DriverTransaction<D> {
    async fn begin(setting: Arc<DriverSetting<D>>) -> Result<Self, StoreError> {
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
        let probed = timeout(setting.longest(), probed).await;
        let wrong = match probed {
            Err(_) => return Err(setting.timed_out()),
            // One of idem's own says what it is.
            Ok(Err(error)) if error.is::<StoreError>() => return Err(setting.unfit(UNGUARDED)),
            Ok(Err(_)) if self.has_ended().await => "begins no transaction in `begin`",
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
            Err(error) => Err(error.downcast::<StoreError>().map_or_else(
                |error| self.setting.meaning("refused idem's statement", error),
                |unguarded| *unguarded,
            )),
        }
    }

    /// Returns `None` if others change the key all the time.
    async fn ask_to_claim(
        &mut self,
        request: &ClaimRequest,
        wait: Duration,
    ) -> DriverResult<RowAnswer<Claim>> {
        let setting = self.setting.clone();
        let entry = BatchEntry::new(request.clone(), 0);
        self.query(READ_WRITE, &[]).await?;
        let is_guarded = self.query(BOUND_WAIT, &[Some(wait.as_millis().to_string().as_bytes())]).await?;
        if is_guarded.as_deref() != Some(b"on") {
            return Err(Box::new(setting.unfit(UNGUARDED)));
        }
        let token = request.token.to_bytes();
        let [lease, retention] = [request.lease, request.retention].map(|time| micros(time).to_string());
        let fingerprint = request.fingerprint.map(crate::Fingerprint::to_bytes);
        let (member, message) = (request.member.to_bytes(), request.message.map(MessageId::to_vec));
        let parameters = [
            Some(entry.key.as_slice()),
            Some(&token[..]),
            Some(lease.as_bytes()),
            Some(retention.as_bytes()),
            fingerprint.as_ref().map(|bytes| &bytes[..]),
            Some(&member[..]),
            message.as_deref(),
        ];
        for _ in 0..MOST_ROUNDS {
            let packed = self.query(&setting.statements.claim, &parameters).await?;
            let found = packed.map(|packed| RecordRow::unpack(entry.key.clone(), &packed)).transpose()?;
            if found.as_ref().is_some_and(|found| found.is_stale(request, PROMPT)) {
                self.query(&setting.statements.freshen, &parameters[..2]).await?;
                continue;
            }
            if let Some(answer) = request.answer(found) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    async fn try_complete(&mut self, request: &CompleteRequest) -> Result<Answer, StoreError> {
        let setting = self.setting.clone();
        let entry = BatchEntry::new(request.clone(), 0);
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
            // Outside of a transaction there is nothing else that a server that answers could refuse.
            Err(_) if self.has_ended().await => Ok(Answer::Lost),
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

    /// Whether nobody has a transaction open on the connection.
    async fn has_ended(&mut self) -> bool {
        matches!(self.query(IS_OPEN, &[]).await, Ok(None))
    }

    /// The meaning of an error: a connection that still answers has passed on the server's error.
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

const UNGUARDED: &str =
    "does not run `PostgresDriver::READ_ONLY_OUTSIDE` before it begins a transaction in `begin`";

/// Somebody else has the key, for nobody knows how long.
const TAKEN: Claim = Claim::InProgress { remaining: Duration::ZERO, fingerprint: None };

impl<D: PostgresDriver> DriverSetting<D> {
    /// The longest time of a claim: a wait for another one and an answer.
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

impl<D: PostgresDriver> Transaction for DriverTransaction<D> {
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
