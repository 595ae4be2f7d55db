//! The names of idem's tables, checked and quoted.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::store::StoreError;

/// PostgreSQL's names have at most 63 bytes, and those of the tables beside have a suffix.
const LONGEST: usize = 48;
const SUFFIX: &str = "_meta";
const MEMBERS: &str = "_members";
const AUDIT: &str = "_audit";
/// Of indexes that need a name.
const DUE: &str = "_due";
const DOUBT: &str = "_doubt";
/// The name of a store's tables unless said otherwise, and in the SQL files.
pub(in crate::store) const DEFAULT_TABLE: &str = "idem_records";
/// The name of an outbox's tables.
pub(in crate::store) const DEFAULT_OUTBOX: &str = "idem_outbox";

/// The tables of a store, as its statements name them.
#[derive(Debug, Clone)]
pub(in crate::store) struct Names {
    quote: char,
    schema: Option<String>,
    table: String,
}

impl Names {
    /// Names in the default schema, quoted as the database does it.
    pub(in crate::store) fn new(quote: char) -> Self {
        Self { quote, schema: None, table: DEFAULT_TABLE.to_owned() }
    }

    /// The default names of an outbox.
    pub(in crate::store) fn of_outbox(self) -> Self {
        Self { table: DEFAULT_OUTBOX.to_owned(), ..self }
    }

    pub(in crate::store) fn set_table(&mut self, table: String) {
        self.table = table;
    }

    pub(in crate::store) fn set_schema(&mut self, schema: String) {
        self.schema = Some(schema);
    }

    /// Refuses what is no plain name. Names are quoted besides, so this protects against mistakes first of all.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        check("table", &self.table)?;
        self.schema.as_deref().map_or(Ok(()), |schema| check("schema", schema))
    }

    /// The table of records, for people.
    pub(in crate::store) fn shown(&self) -> String {
        self.schema.iter().chain([&self.table]).map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// A statement of the SQL files with these names in it: there, the default ones are quoted.
    pub(in crate::store) fn text(&self, template: &str) -> String {
        let quote = self.quote;
        // The files name the tables of either kind. First, because a user's name may be like a default one.
        let template =
            template.replace(&format!("{quote}{DEFAULT_OUTBOX}"), &format!("{quote}{DEFAULT_TABLE}"));
        let name = |template: String, suffix: &str| {
            template.replace(&format!("{quote}{DEFAULT_TABLE}{suffix}{quote}"), &self.qualified(suffix))
        };
        [SUFFIX, MEMBERS, AUDIT, DUE, DOUBT, ""].into_iter().fold(template, name)
    }

    /// As [`text`](Self::text), to be prepared.
    pub(in crate::store) fn statement(&self, template: &str) -> SqlStr {
        AssertSqlSafe(self.text(template)).into_sql_str()
    }

    /// The second table, without quotes and schema.
    pub(in crate::store) fn bare_meta(&self) -> String {
        format!("{}{SUFFIX}", self.table)
    }

    fn qualified(&self, suffix: &str) -> String {
        let quote = self.quote;
        let schema =
            self.schema.as_ref().map(|schema| format!("{quote}{schema}{quote}.")).unwrap_or_default();
        format!("{schema}{quote}{}{suffix}{quote}", self.table)
    }
}

fn check(what: &str, name: &str) -> Result<(), StoreError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= LONGEST && name.bytes().all(plain) {
        return Ok(());
    }
    Err(StoreError::config(format!(
        "the {what} name {name:?} is refused: a name has 1 to {LONGEST} characters, which are ASCII letters, digits, \
         `_` or `-`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(schema: Option<&str>, table: &str) -> Names {
        Names { quote: '"', schema: schema.map(str::to_owned), table: table.to_owned() }
    }

    #[test]
    fn statements_have_the_names_that_were_set() {
        let template = r#"SELECT 1 FROM "idem_records", "idem_records_meta" AS idem_records"#;
        assert_eq!(names(None, "idem_records").text(template), template);
        assert_eq!(
            names(Some("app"), "dedup").text(template),
            r#"SELECT 1 FROM "app"."dedup", "app"."dedup_meta" AS idem_records"#
        );
    }

    #[test]
    fn what_is_no_plain_name_is_refused() {
        let long = "x".repeat(LONGEST + 1);
        for bad in [r#"x"; drop table y; --"#, "`x`", "", "a.b", "a b", "a\0", "tablé", long.as_str()] {
            assert!(names(None, bad).check().unwrap_err().is_config(), "{bad}");
            assert!(names(Some(bad), "idem_records").check().unwrap_err().to_string().contains("schema"));
        }
        for good in ["idem_records", "A-1", "2026"] {
            names(Some(good), good).check().unwrap();
        }
    }
}
