//! The registry of members and the trail of decisions, in tables of their own.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::SqlStoreCore;
use super::plain::{Blobs, Execute, IDS, Members, PlainDialect, StatementValue, Trail, statements, with_ids};
use crate::doubt::MemberId;
use crate::key::RecordKey;
use crate::store::registry::{audited, enrolled};
use crate::store::remote::on_runtime;
use crate::store::{
    AuditEntry, AuditPlace, AuditedEntry, Enrolment, MemberEntry, PersonsDecision, Registry, StoreError,
};

statements! { RegistryStatements in "sql": enrol gone forget members append trail }

/// The columns of `members.sql`.
pub(in crate::store) struct MemberRow(pub(in crate::store) (Vec<u8>, String, i64, String, String, i64, i64));

/// The columns of `trail.sql`.
pub(in crate::store) struct TrailRow(pub(in crate::store) TrailColumns);

type TrailColumns = (i64, i64, i64, i64, String, String, i64, Vec<u8>, String);

pub(in crate::store) struct SqlRegistry<D: PlainDialect>(pub(in crate::store) Arc<SqlStoreCore<D>>);

impl<D: PlainDialect> SqlRegistry<D> {
    fn run<T: Send + 'static, F>(
        &self,
        step: impl FnOnce(Arc<SqlStoreCore<D>>, RegistryStatements) -> F,
    ) -> BoxFuture<'_, Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let core = Arc::clone(&self.0);
        let step = step(Arc::clone(&core), RegistryStatements::new(&core.names, &D::SYNTAX));
        Box::pin(async move { on_runtime(async move { core.link.in_time(step).await }).await? })
    }
}

impl<D: PlainDialect> Registry for SqlRegistry<D> {
    fn enrol<'a>(&'a self, member: &'a Enrolment) -> BoxFuture<'a, Result<(), StoreError>> {
        let Enrolment { member, host, process, version, group, life } = member.clone();
        self.run(move |core, statements| async move {
            let life = StatementValue::time(life);
            let values = [
                StatementValue::bytes(member.to_bytes()),
                StatementValue::text(host),
                StatementValue::Number(i64::from(process)),
                StatementValue::text(version),
                StatementValue::text(group),
                life.clone(),
                life,
            ];
            core.link.call(&Execute { statement: &statements.enrol, values: &values }).await?;
            let most = [StatementValue::Number(i64::try_from(IDS).unwrap_or(i64::MAX))];
            let gone = core.link.call(&Blobs { statement: &statements.gone, values: &most }).await?;
            if gone.is_empty() {
                return Ok(());
            }
            let gone = with_ids(Vec::new(), gone.into_iter().map(StatementValue::Bytes));
            core.link.call(&Execute { statement: &statements.forget, values: &gone }).await.map(drop)
        })
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<MemberEntry>, StoreError>> {
        self.run(|core, statements| async move {
            let rows = core.link.call(&Members { statement: &statements.members, values: &[] }).await?;
            Ok(rows.into_iter().filter_map(MemberRow::entry).collect())
        })
    }

    fn append<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), StoreError>> {
        let entry = entry.clone();
        self.run(move |core, statements| async move {
            let values = [
                StatementValue::Number(i64::try_from(entry.number).unwrap_or(i64::MAX)),
                StatementValue::Number(i64::from(entry.is_end)),
                StatementValue::text(entry.who),
                StatementValue::text(entry.decision.as_str()),
                StatementValue::Number(i64::from(entry.forced)),
                StatementValue::bytes(entry.key.to_bytes()),
                StatementValue::text(entry.text),
            ];
            core.link.call(&Execute { statement: &statements.append, values: &values }).await.map(drop)
        })
    }

    fn trail<'a>(
        &'a self,
        before: Option<&'a AuditPlace>,
        rows: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditedEntry>, StoreError>> {
        let before = before.and_then(|place| Some(i64::from_be_bytes(place.0.as_slice().try_into().ok()?)));
        self.run(move |core, statements| async move {
            let values =
                [StatementValue::Number(before.unwrap_or(i64::MAX)), StatementValue::Number(i64::from(rows))];
            let rows = core.link.call(&Trail { statement: &statements.trail, values: &values }).await?;
            Ok(rows.into_iter().filter_map(TrailRow::entry).collect())
        })
    }
}

impl MemberRow {
    /// `None` where somebody else has written the row.
    fn entry(self) -> Option<MemberEntry> {
        let (id, host, process, version, group, started, seen) = self.0;
        let member = MemberId::from_bytes(id.try_into().ok()?);
        let process = u32::try_from(process).ok()?;
        let enrolment = Enrolment { member, host, process, version, group, life: std::time::Duration::ZERO };
        Some(enrolled(enrolment, u64::try_from(started).ok()?, u64::try_from(seen).ok()?))
    }
}

impl TrailRow {
    /// `None` where somebody else has written the row, or a newer version.
    fn entry(self) -> Option<AuditedEntry> {
        let (id, at, number, is_end, who, decision, forced, key, text) = self.0;
        let entry = AuditEntry {
            number: u64::try_from(number).ok()?,
            who,
            decision: PersonsDecision::from_name(&decision)?,
            forced: forced != 0,
            key: RecordKey::from_bytes(&key)?,
            text,
            is_end: is_end != 0,
        };
        Some(audited(AuditPlace(id.to_be_bytes().to_vec()), u64::try_from(at).ok()?, entry))
    }
}
