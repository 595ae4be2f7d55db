//! Statements in one database's words.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::store::sql::names::Names;

/// How many ids a statement over many has places for. It has as many each time, so that it is prepared once.
pub(in crate::store) const IDS: usize = 32;

/// The differences between the databases. In the SQL files names are in double quotes, and values are question marks.
pub(in crate::store) struct SqlSyntax {
    /// The clock, in µs since 1970.
    pub(in crate::store) now: &'static str,
    /// The words between a row and the action for an id that is there already.
    pub(in crate::store) upsert: &'static str,
    /// Behind a number's column: it is to be read as one of eight bytes.
    pub(in crate::store) long: &'static str,
    /// Whether an index can have some of the rows alone: then there is one of the records in doubt.
    pub(in crate::store) has_partial_indexes: bool,
    /// Around names.
    pub(in crate::store) quote: char,
    /// Whether values are `$1, $2, ..`.
    pub(in crate::store) is_numbered: bool,
}

/// Statements of the files of one folder, each under its file's name.
macro_rules! statements {
    ($statements:ident in $folder:literal: $($name:ident)*) => {
        pub(super) struct $statements {
            $(pub(super) $name: ::sqlx::SqlStr,)*
        }

        impl $statements {
            pub(super) fn new(
                names: &$crate::store::sql::Names,
                syntax: &$crate::store::sql::plain::SqlSyntax,
            ) -> Self {
                Self { $($name: syntax.statement(names, include_str!(concat!($folder, "/", stringify!($name), ".sql"))),)* }
            }
        }
    };
}

pub(in crate::store) use statements;

impl SqlSyntax {
    /// A statement of the SQL files, to be prepared.
    pub(in crate::store) fn statement(&self, names: &Names, template: &str) -> SqlStr {
        AssertSqlSafe(self.text(names, template)).into_sql_str()
    }

    fn text(&self, names: &Names, template: &str) -> String {
        let template = template.replace("/*now*/", self.now).replace("/*upsert*/", self.upsert);
        let template = template.replace("/*long*/", self.long).replace("/*ids*/", &["?"; IDS].join(", "));
        // Names that a user has set come in last, so that nothing in them is taken for a part of this.
        names.text(&self.numbered(&template.replace('"', &self.quote.to_string())))
    }

    fn numbered(&self, template: &str) -> String {
        if !self.is_numbered {
            return template.to_owned();
        }
        let (mut text, mut number) = (String::with_capacity(template.len() + 64), 0);
        for part in template.split('?') {
            if number > 0 {
                write!(text, "${number}").expect("writing to a String cannot fail");
            }
            text.push_str(part);
            number += 1;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_a_databases_own_words() {
        let template = r#"UPDATE "idem_outbox" SET due_at = /*now*/ + ? WHERE id = ?"#;
        let syntax = |quote, is_numbered| SqlSyntax {
            now: "now()",
            upsert: "",
            long: "",
            has_partial_indexes: false,
            quote,
            is_numbered,
        };
        let mut names = Names::new('"').of_outbox();
        names.set_schema("app".to_owned());
        assert_eq!(
            syntax('"', true).text(&names, template),
            r#"UPDATE "app"."idem_outbox" SET due_at = now() + $1 WHERE id = $2"#
        );
        assert_eq!(
            syntax('`', false).text(&Names::new('`').of_outbox(), template),
            "UPDATE `idem_outbox` SET due_at = now() + ? WHERE id = ?"
        );
    }
}
