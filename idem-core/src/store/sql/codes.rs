//! Tables of what a server's error codes mean: one for each database, beside its statements.

use super::meaning::SqlErrorMeaning;

/// A code of a server's, its name, and what it means to idem.
pub(in crate::store) type Code<C> = (C, &'static str, SqlErrorMeaning);

/// The knowledge of one error of a server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct KnownCode {
    pub(in crate::store) meaning: SqlErrorMeaning,
    /// The code's name in the server's manual, where the table has it.
    pub(in crate::store) name: Option<&'static str>,
    /// Whether the server's words go into logs. Not those that may quote a value, and so a key: what a code says that no
    /// table has, nobody knows.
    pub(in crate::store) is_text_shown: bool,
}

impl KnownCode {
    /// A code that is in no table.
    pub(in crate::store) fn unknown(meaning: SqlErrorMeaning) -> Self {
        Self { meaning, name: None, is_text_shown: false }
    }
}

/// Looks a code up. The words of a code that means the statement itself may quote what the statement was about.
pub(in crate::store) fn look_up<C: PartialEq>(table: &[Code<C>], code: &C) -> Option<KnownCode> {
    let (_, name, meaning) = table.iter().find(|(known, ..)| known == code)?;
    Some(KnownCode {
        meaning: *meaning,
        name: Some(name),
        is_text_shown: *meaning != SqlErrorMeaning::Statement,
    })
}
