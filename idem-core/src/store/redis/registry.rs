//! The registry of members, a hash; and the trail of decisions, a stream. Both have keys that no record has.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::{Cmd, Value, from_redis_value};

use super::list::time;
use super::script::{self, RecordTerms, ScriptBatch};
use super::{RedisStore, answer, store_error};
use crate::doubt::MemberId;
use crate::key::RecordKey;
use crate::netstring;
use crate::store::registry::{audited, enrolled};
use crate::store::remote::on_runtime;
use crate::store::{
    AuditEntry, AuditPlace, AuditedEntry, Enrolment, MemberEntry, PersonsDecision, Registry, StoreError,
};

/// Behind the prefix, where a record's key has a digit.
const MEMBERS: &[u8] = b"!members";
const TRAIL: &[u8] = b"!audit";
/// About how many entries the trail keeps.
const MOST_ENTRIES: u32 = 100_000;

impl RedisStore {
    fn book(&self, name: &[u8]) -> Vec<u8> {
        [&self.0.prefix[..], name].concat()
    }

    /// Sends commands about one book, each when the one before was answered.
    fn ask<'a, const N: usize>(
        &self,
        book: Vec<u8>,
        commands: [Cmd; N],
    ) -> BoxFuture<'a, Result<[Value; N], StoreError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let asked = async move {
                let (group, deadline) = (inner.route.group(&book), inner.route.deadline());
                let mut answers = [const { Value::Nil }; N];
                for (place, command) in answers.iter_mut().zip(&commands) {
                    let answer = inner.route.query(group, command, deadline).await;
                    *place = answer.map_err(|error| store_error(error, &inner.route.name))?;
                }
                Ok(answers)
            };
            on_runtime(asked).await?
        })
    }

    fn strange(&self) -> StoreError {
        StoreError::statement(format!(
            "Redis at {} answered in a form that idem does not know",
            self.0.route.name
        ))
    }
}

impl Registry for RedisStore {
    fn enrol<'a>(&'a self, member: &'a Enrolment) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut batch = ScriptBatch::with_capacity(1);
        let process = member.process.to_string();
        let own = |bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(&member.member.to_bytes());
            for part in [&member.host, &process, &member.version, &member.group] {
                netstring::push(bytes, part.as_bytes());
            }
        };
        let terms = RecordTerms::of_lease(member.life, Duration::ZERO);
        batch.push(terms, |bytes| bytes.extend(self.book(MEMBERS)), own);
        let enrolled = self.run(&script::ENROL, batch, answer::answer);
        Box::pin(async move {
            enrolled.await?.pop().unwrap_or_else(|| Err(self.strange()))?;
            Ok(())
        })
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<MemberEntry>, StoreError>> {
        let book = self.book(MEMBERS);
        let mut all = redis::cmd("HGETALL");
        all.arg(&book);
        let asked = self.ask(book, [all, redis::cmd("TIME")]);
        Box::pin(async move {
            let [members, now] = asked.await?;
            let members: Vec<(Vec<u8>, Vec<u8>)> = from_redis_value(members).map_err(|_| self.strange())?;
            let now = time(now).map_err(|_| self.strange())?;
            Ok(members.into_iter().filter_map(|(id, entry)| member(id, &entry, now)).collect())
        })
    }

    fn append<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), StoreError>> {
        let book = self.book(TRAIL);
        let mut add = redis::cmd("XADD");
        add.arg(&book).arg("MAXLEN").arg("~").arg(MOST_ENTRIES).arg("*").arg("entry").arg(encode(entry));
        let asked = self.ask(book, [add]);
        Box::pin(async move { asked.await.map(drop) })
    }

    fn trail<'a>(
        &'a self,
        before: Option<&'a AuditPlace>,
        rows: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditedEntry>, StoreError>> {
        let book = self.book(TRAIL);
        let newest = before.map_or_else(|| b"+".to_vec(), |place| [b"(", &place.0[..]].concat());
        let mut range = redis::cmd("XREVRANGE");
        range.arg(&book).arg(newest).arg("-").arg("COUNT").arg(rows);
        let asked = self.ask(book, [range]);
        Box::pin(async move {
            let [entries] = asked.await?;
            let entries: Vec<(Vec<u8>, Vec<Vec<u8>>)> =
                from_redis_value(entries).map_err(|_| self.strange())?;
            Ok(entries.into_iter().filter_map(|(id, fields)| audit_entry(id, &fields)).collect())
        })
    }
}

/// An entry as `lua/enrol.lua` writes it; `None` where its life is over, or where it is none.
fn member(id: Vec<u8>, entry: &[u8], now: Duration) -> Option<MemberEntry> {
    let (times, rest) = entry.split_at_checked(24)?;
    let mut times = times.as_chunks::<8>().0.iter().map(|time| u64::from_be_bytes(*time));
    let (started, seen, expires) = (times.next()?, times.next()?, times.next()?);
    let mut parts = netstring::parts(rest).map(|part| Some(String::from_utf8_lossy(part?).into_owned()));
    let mut next = || parts.next().flatten();
    let enrolment = Enrolment {
        member: MemberId::from_bytes(id.try_into().ok()?),
        host: next()?,
        process: next()?.parse().ok()?,
        version: next()?,
        group: next()?,
        life: Duration::ZERO,
    };
    (Duration::from_micros(expires) > now).then(|| enrolled(enrolment, started, seen))
}

fn encode(entry: &AuditEntry) -> Vec<u8> {
    let mut bytes = Vec::new();
    let number = entry.number.to_string();
    let flag = |flag: bool| if flag { "1" } else { "0" };
    for part in [&number, flag(entry.is_end), &entry.who, entry.decision.as_str(), flag(entry.forced)] {
        netstring::push(&mut bytes, part.as_bytes());
    }
    netstring::push(&mut bytes, &entry.key.to_bytes());
    netstring::push(&mut bytes, entry.text.as_bytes());
    bytes
}

/// `None` where it is none of idem's, or a newer version's.
fn audit_entry(id: Vec<u8>, fields: &[Vec<u8>]) -> Option<AuditedEntry> {
    let [_, bytes] = fields else { return None };
    let mut parts = netstring::parts(bytes);
    let mut next = || parts.next().flatten();
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let (number, is_end, who, decision, forced, key, said) =
        (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    let entry = AuditEntry {
        number: text(number).parse().ok()?,
        who: text(who),
        decision: PersonsDecision::from_name(&text(decision))?,
        forced: forced == b"1",
        key: RecordKey::from_bytes(key)?,
        text: text(said),
        is_end: is_end == b"1",
    };
    let millis: u64 = text(&id).split('-').next()?.parse().ok()?;
    Some(audited(AuditPlace(id), millis.saturating_mul(1_000), entry))
}
