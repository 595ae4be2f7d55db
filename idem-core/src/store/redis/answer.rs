//! The meaning of the scripts' answers; their form is in `lua/common.lua`.

use std::time::Duration;

use redis::{RedisResult, Value};

use super::errors::{full, store_error};
use crate::doubt::Doubt;
use crate::record::{Fence, Record, RecordError, RecordTail};
use crate::store::{Answer, Claim, StoreError};

/// The answer to a claim.
pub(super) fn claim(bytes: &[u8], at: &str) -> Result<Claim, StoreError> {
    let (&tag, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let claim = match tag {
        b'N' => claimed(rest),
        b'P' => in_progress(rest),
        b'C' => completed(rest),
        _ => return Err(refused(tag, rest, at)),
    };
    claim.ok_or_else(|| unexpected(at))
}

/// The answer to a renewal, completion, release or removal.
pub(super) fn answer(bytes: &[u8], at: &str) -> Result<Answer, StoreError> {
    let (&tag, rest) = bytes.split_first().unwrap_or((&0, &[]));
    match tag {
        b'D' => Ok(Answer::Done),
        b'L' => Ok(Answer::Lost),
        _ => Err(refused(tag, rest, at)),
    }
}

/// The answer to a plain GET.
pub(super) fn record(value: RedisResult<Value>, at: &str) -> Result<Option<Record>, StoreError> {
    match value {
        Ok(Value::Nil) => Ok(None),
        Ok(Value::BulkString(bytes)) => Record::decode(&bytes).map(Some).map_err(StoreError::record),
        Ok(_) => Err(unexpected(at)),
        Err(error) if error.code() == Some("WRONGTYPE") => Err(StoreError::record(RecordError::Foreign)),
        Err(error) => Err(store_error(error, at)),
    }
}

fn claimed(bytes: &[u8]) -> Option<Claim> {
    let (_lease_end, rest) = take::<8>(bytes)?;
    let (fence, rest) = take(rest)?;
    let (attempts, doubt) = take(rest)?;
    let attempt = u32::from_be_bytes(attempts).saturating_add(1);
    let after = if doubt.is_empty() { None } else { Some(Doubt::from_bytes(doubt)?) };
    Some(Claim::Claimed { fence: Fence(u64::from_be_bytes(fence)), attempt, after })
}

fn in_progress(bytes: &[u8]) -> Option<Claim> {
    let (remaining, rest) = take(bytes)?;
    let remaining = Duration::from_micros(u64::from_be_bytes(remaining));
    Some(Claim::InProgress { remaining, fingerprint: RecordTail::decode(rest)?.fingerprint })
}

fn completed(bytes: &[u8]) -> Option<Claim> {
    let RecordTail { fingerprint, reply, .. } = RecordTail::decode(bytes)?;
    Some(Claim::Completed { fingerprint, reply })
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((*first, rest))
}

fn refused(tag: u8, rest: &[u8], at: &str) -> StoreError {
    match tag {
        b'X' => StoreError::record(Record::decode(rest).err().unwrap_or(RecordError::Foreign)),
        b'O' => full(at),
        _ => unexpected(at),
    }
}

fn unexpected(at: &str) -> StoreError {
    StoreError::statement(format!("Redis at {at} answered in a form that idem does not know"))
}
