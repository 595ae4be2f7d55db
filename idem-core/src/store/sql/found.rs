//! A statement's rows for a key, and their meaning: the contract of [`Store`](crate::Store).
//!
//! The statements decide in one step; here their result is put into words. A row is either what the statement made
//! or left, or comes from the database's snapshot of the moment before: then what looks as if the statement could have
//! changed it was changed by somebody else meanwhile, and the key is asked again.

use std::time::Duration;

use bytes::Bytes;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::key;
use crate::doubt::{Doubt, MemberId, MessageId};
use crate::key::Fingerprint;
use crate::record::{Fence, LastRun, RECORD_VERSION, Record, RecordError, State, Token};
use crate::store::{
    Answer, Claim, ClaimRequest, CompleteRequest, ListedRecord, ReleaseRequest, RenewRequest, StoreError,
};

/// How a state is stored; the SQL files have the same numbers.
pub(in crate::store) const IN_PROGRESS: i64 = 1;
pub(in crate::store) const COMPLETED: i64 = 2;
pub(in crate::store) const RELEASED: i64 = 3;

/// Where a key stands: the columns `key, done, version, state, token`.
#[derive(Debug)]
pub(in crate::store) struct KeyRow {
    pub(in crate::store) key: Vec<u8>,
    /// Whether this is what the statement made or left, and not what was there before.
    done: bool,
    version: i64,
    state: i64,
    token: Vec<u8>,
}

/// All of a record: the columns of [`KeyRow`], and behind them `fence, attempts, lease_end, now, fingerprint, reply, member,
/// doubt, last, message`.
#[derive(Debug)]
pub(in crate::store) struct RecordRow {
    pub(in crate::store) standing: KeyRow,
    fence: i64,
    attempts: i64,
    lease_end: i64,
    now: i64,
    fingerprint: Option<Vec<u8>>,
    reply: Option<Vec<u8>>,
    member: Vec<u8>,
    doubt: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
    message: Option<Vec<u8>>,
}

impl<'r, R: Row> FromRow<'r, R> for KeyRow
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            key: row.try_get(0)?,
            done: row.try_get::<i64, _>(1)? != 0,
            version: row.try_get(2)?,
            state: row.try_get(3)?,
            token: row.try_get(4)?,
        })
    }
}

impl<'r, R: Row> FromRow<'r, R> for RecordRow
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            standing: KeyRow::from_row(row)?,
            fence: row.try_get(5)?,
            attempts: row.try_get(6)?,
            lease_end: row.try_get(7)?,
            now: row.try_get(8)?,
            fingerprint: row.try_get(9)?,
            reply: row.try_get(10)?,
            member: row.try_get(11)?,
            doubt: row.try_get(12)?,
            last: row.try_get(13)?,
            message: row.try_get(14)?,
        })
    }
}

impl KeyRow {
    /// A record that is known to stand so without being read.
    pub(in crate::store) fn done(key: Vec<u8>, state: i64, token: Token) -> Self {
        let token = token.to_bytes().to_vec();
        Self { key, done: true, version: i64::from(RECORD_VERSION), state, token }
    }

    /// Says that the statement has made or left it so.
    #[cfg_attr(
        not(feature = "mysql"),
        allow(dead_code, reason = "the others return the rows that they write")
    )]
    pub(in crate::store) fn is_made(&mut self) {
        self.done = true;
    }

    fn state(&self) -> Result<State, RecordError> {
        match (self.version, self.state) {
            (version, _) if version > i64::from(RECORD_VERSION) => {
                Err(RecordError::NewerVersion(u8::try_from(version).unwrap_or(u8::MAX)))
            }
            (version, IN_PROGRESS) if version == i64::from(RECORD_VERSION) => Ok(State::InProgress),
            (version, COMPLETED) if version == i64::from(RECORD_VERSION) => Ok(State::Completed),
            (version, RELEASED) if version == i64::from(RECORD_VERSION) => Ok(State::Released),
            _ => Err(RecordError::Foreign),
        }
    }

    fn is_of(&self, token: Token) -> bool {
        self.token == token.to_bytes()
    }
}

impl RecordRow {
    /// Whether the fence may be smaller than that of somebody who had the key meanwhile: a row's clock is taken before it is
    /// written, and writing it waits for a transaction that has claimed the key. Where that one is rolled back, nothing but
    /// the time is left of it. A row that was there before is locked first, and its fence is of then.
    ///
    /// Invariant 7 (`invariant_7_fences_grow_from_transaction_to_transaction`).
    pub(in crate::store) fn is_stale(&self, request: &ClaimRequest, prompt: Duration) -> bool {
        let was_inserted = self.lease_end == self.fence.saturating_add(super::micros(request.lease));
        let is_claimed =
            self.standing.done && self.standing.state == IN_PROGRESS && self.standing.is_of(request.token);
        is_claimed && was_inserted && self.now.saturating_sub(self.fence) > super::micros(prompt)
    }

    /// The whole record.
    pub(in crate::store) fn record(self) -> Result<Record, RecordError> {
        Ok(Record {
            state: self.standing.state()?,
            token: Token::from_bytes(
                self.standing.token.as_slice().try_into().map_err(|_| RecordError::Foreign)?,
            ),
            fence: self.fence()?,
            attempts: u32::try_from(self.attempts).map_err(|_| RecordError::Foreign)?,
            lease_end: micros(self.lease_end),
            member: MemberId::from_bytes(
                self.member.as_slice().try_into().map_err(|_| RecordError::Foreign)?,
            ),
            doubt: self.doubt()?,
            last: part(self.last.as_deref(), LastRun::decode)?,
            fingerprint: self.fingerprint()?,
            message: part(self.message.as_deref(), MessageId::decode)?,
            reply: self.reply.map(Bytes::from),
        })
    }

    /// The record of a key as one value: seven numbers of eight bytes; then token, fingerprint, reply, member, doubt, last run and
    /// message, each behind its length in four bytes, or -1 where it is absent.
    pub(in crate::store) fn unpack(key: Vec<u8>, packed: &[u8]) -> Result<Self, RecordError> {
        let mut rest = packed;
        let mut number = || rest.split_off(..8)?.try_into().ok().map(i64::from_be_bytes);
        let mut numbers = [0; 7];
        for place in &mut numbers {
            *place = number().ok_or(RecordError::Foreign)?;
        }
        let mut bytes = || {
            let length = i32::from_be_bytes(rest.split_off(..4)?.try_into().ok()?);
            let present = usize::try_from(length).ok();
            present.map_or(Some(None), |length| Some(Some(rest.split_off(..length)?.to_vec())))
        };
        let mut next = || bytes().ok_or(RecordError::Foreign);
        let (token, fingerprint, reply) = (next()?.unwrap_or_default(), next()?, next()?);
        let (member, doubt, last, message) = (next()?.unwrap_or_default(), next()?, next()?, next()?);
        let [done, version, state, fence, attempts, lease_end, now] = numbers;
        let standing = KeyRow { key, done: done != 0, version, state, token };
        Ok(Self {
            standing,
            fence,
            attempts,
            lease_end,
            now,
            fingerprint,
            reply,
            member,
            doubt,
            last,
            message,
        })
    }

    /// Whether it has not expired, in a listing that has others, too.
    pub(in crate::store) fn is_live(&self) -> bool {
        self.standing.done
    }

    /// The record as a listing shows it.
    pub(in crate::store) fn listed(self) -> ListedRecord {
        let now = micros(self.now);
        let remaining = if self.standing.state == IN_PROGRESS {
            micros(self.lease_end.saturating_sub(self.now))
        } else {
            Duration::ZERO
        };
        ListedRecord { key: key::listed(self.standing.key.clone()), record: self.record(), remaining, now }
    }

    fn fence(&self) -> Result<Fence, RecordError> {
        u64::try_from(self.fence).map(Fence).map_err(|_| RecordError::Foreign)
    }

    fn doubt(&self) -> Result<Option<Doubt>, RecordError> {
        let doubt = self.doubt.as_deref().map(|bytes| Doubt::from_bytes(bytes).ok_or(RecordError::Foreign));
        doubt.transpose()
    }

    fn fingerprint(&self) -> Result<Option<Fingerprint>, RecordError> {
        let bytes = self.fingerprint.as_deref().map(<[u8; 16]>::try_from).transpose();
        bytes.map(|bytes| bytes.map(Fingerprint::from_bytes)).map_err(|_| RecordError::Foreign)
    }
}

/// A part of a record that may be absent.
fn part<T>(bytes: Option<&[u8]>, decode: impl Fn(&mut &[u8]) -> Option<T>) -> Result<Option<T>, RecordError> {
    bytes.map(|mut bytes| decode(&mut bytes).ok_or(RecordError::Foreign)).transpose()
}

/// A release's doubt as the statements have it: `None` keeps the record's.
pub(in crate::store) fn doubt(request: &ReleaseRequest) -> Option<Vec<u8>> {
    request.doubt.map(|doubt| doubt.to_bytes().to_vec())
}

/// The fence of the doubt that a renewal ends, as a doubt's own bytes have it: `None` keeps the record's.
pub(in crate::store) fn ended(request: &RenewRequest) -> Option<Vec<u8>> {
    request.ends_doubt.map(|fence| fence.0.to_be_bytes().to_vec())
}

/// A release's last run as the statements have it: `None` keeps the record's.
pub(in crate::store) fn last(request: &ReleaseRequest) -> Option<Vec<u8>> {
    request.last.as_ref().map(|last| {
        let mut bytes = Vec::new();
        last.encode_to(&mut bytes);
        bytes
    })
}

fn micros(time: i64) -> Duration {
    Duration::from_micros(u64::try_from(time).unwrap_or(0))
}

/// The answer that a row gives: `None` if the key must be asked again.
pub(in crate::store) type RowAnswer<T> = Option<Result<T, StoreError>>;

fn row_answer<T>(answer: Result<Option<T>, RecordError>) -> RowAnswer<T> {
    answer.map_err(StoreError::record).transpose()
}

/// The answer to a claim.
pub(in crate::store) fn claim(request: &ClaimRequest, found: Option<RecordRow>) -> RowAnswer<Claim> {
    row_answer(try_claim(request, found?))
}

fn try_claim(request: &ClaimRequest, found: RecordRow) -> Result<Option<Claim>, RecordError> {
    let own = found.standing.is_of(request.token);
    let remaining = micros(found.lease_end.saturating_sub(found.now));
    let claim = match found.standing.state()? {
        State::Completed => {
            Claim::Completed { fingerprint: found.fingerprint()?, reply: found.reply.map(Bytes::from) }
        }
        State::InProgress if own && found.standing.done => {
            let attempts = u32::try_from(found.attempts).map_err(|_| RecordError::Foreign)?;
            let attempt = attempts.saturating_add(1);
            Claim::Claimed { fence: found.fence()?, attempt, after: found.doubt()? }
        }
        State::InProgress if !own && !remaining.is_zero() => {
            Claim::InProgress { remaining, fingerprint: found.fingerprint()? }
        }
        State::Released if own => {
            Claim::InProgress { remaining: Duration::ZERO, fingerprint: found.fingerprint()? }
        }
        State::InProgress | State::Released => return Ok(None),
    };
    Ok(Some(claim))
}

/// The answer to a renewal.
pub(in crate::store) fn renew(request: &RenewRequest, found: Option<KeyRow>) -> RowAnswer<Answer> {
    let Some(found) = found else { return Some(Ok(Answer::Lost)) };
    row_answer(found.state().map(|state| match state {
        State::InProgress if found.is_of(request.token) && found.done => Some(Answer::Done),
        // In doubt about another run, or changed by others meanwhile; a renewal alone is asked again.
        State::InProgress if found.is_of(request.token) => request.ends_doubt.map(|_| Answer::Lost),
        _ => Some(Answer::Lost),
    }))
}

/// The answer to a completion. Where no record was found, somebody else's was there for a moment.
pub(in crate::store) fn complete(request: &CompleteRequest, found: Option<KeyRow>) -> RowAnswer<Answer> {
    let found = found?;
    row_answer(found.state().map(|state| match (state, found.is_of(request.token)) {
        (State::Completed, true) => Some(Answer::Done),
        (State::InProgress, true) => None,
        _ => Some(Answer::Lost),
    }))
}

/// The answer to a release.
pub(in crate::store) fn release(request: &ReleaseRequest, found: Option<KeyRow>) -> RowAnswer<Answer> {
    let Some(found) = found else { return Some(Ok(Answer::Lost)) };
    row_answer(found.state().map(|state| match (state, found.is_of(request.token)) {
        (State::Released, true) => Some(Answer::Done),
        (State::InProgress, true) => None,
        _ => Some(Answer::Lost),
    }))
}
