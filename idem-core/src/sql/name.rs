//! Names of tables and columns: checked, then quoted, because a name cannot be bound as values are.

use thiserror::Error;

/// PostgreSQL cuts longer names off without a word, so that two of them could be one.
const LONGEST: usize = 63;

/// Why a name is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum NameError {
    #[error("a name is empty: name the table or column")]
    Empty,
    #[error("the name {0:?} is longer than {LONGEST} bytes, which no database keeps whole")]
    Long(String),
    #[error(
        "the name {0:?} has the character {1:?}: a name is made of letters, digits, `_` and `$`, and a table's may have \
         its schema before it, as in `shop.orders`"
    )]
    Character(String, char),
}

/// `orders`, or `shop.orders` with its schema.
pub(super) fn table(name: &str, quote: char) -> Result<String, NameError> {
    match name.split_once('.') {
        Some((schema, table)) => Ok(format!("{}.{}", column(schema, quote)?, column(table, quote)?)),
        None => column(name, quote),
    }
}

/// One name without a schema. It is quoted as it is stored: unlike an unquoted one, it keeps its case.
pub(super) fn column(name: &str, quote: char) -> Result<String, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(other) = name.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '$'))) {
        return Err(NameError::Character(shown(name), other));
    }
    if name.len() > LONGEST {
        return Err(NameError::Long(shown(name)));
    }
    Ok(format!("{quote}{name}{quote}"))
}

fn shown(name: &str) -> String {
    name.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_they_are() {
        assert_eq!(table("orders", '"').unwrap(), r#""orders""#);
        assert_eq!(table("shop.Order", '`').unwrap(), "`shop`.`Order`");
        assert_eq!(column("größe_$1", '"').unwrap(), r#""größe_$1""#);
    }

    #[test]
    fn whatever_could_end_a_name_is_refused() {
        for bad in
            [r#"x"; drop table y; --"#, "x`y", "x y", "x'y", "x\\", "x\0", "x;", "x-y", "x\n", "x\u{2019}"]
        {
            assert!(matches!(table(bad, '"'), Err(NameError::Character(..))), "{bad:?}");
            assert!(matches!(column(bad, '`'), Err(NameError::Character(..))), "{bad:?}");
        }
        for bad in ["a.b.c", "a.b.", ".a.b"] {
            assert!(table(bad, '"').is_err(), "{bad:?}");
        }
        assert_eq!(table(".orders", '"'), Err(NameError::Empty));
        assert_eq!(column("", '"'), Err(NameError::Empty));
        assert!(column("a.b", '"').is_err(), "a column has no schema");
        assert!(matches!(column(&"x".repeat(64), '"'), Err(NameError::Long(_))));
    }
}
