//! The kinds of a database's errors, and the reaction to each.

/// The meaning of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum SqlErrorMeaning {
    /// The connection is of no use; another one may be.
    Broken,
    /// The database rolled the statement back for another one's sake.
    Conflict,
    /// The transaction that it was meant for has ended, and outside of it the session writes nothing.
    Ended,
    /// Another transaction has locked a row for longer than is waited.
    Locked,
    /// The server cannot answer just now.
    Passing,
    /// The server cannot be written: a standby, or set so.
    ReadOnly,
    /// User or password are wrong.
    Login,
    /// The database does not exist.
    Database,
    /// The user lacks a right.
    Rights,
    /// Tables are missing, or have other columns.
    Schema,
    /// There is no room on the server's disk.
    Full,
    /// The file cannot be opened, or is no database.
    File,
    /// The file may not be written.
    ReadOnlyFile,
    /// The bytes on the disk are no table any more.
    Damaged,
    /// A certificate is not trusted, or the server speaks no TLS.
    Tls,
    /// URL or settings are not valid.
    Settings,
    /// The server, or the session of a given pool, is set to refuse what idem does.
    Forbidden,
    /// The server refused the statement.
    Statement,
}

/// The reaction to an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum ErrorSort {
    /// Ask again: over another connection, or later.
    AskAgain,
    /// Ask again at once: nobody is to blame, and it costs no attempt.
    Conflict,
    /// One entry of a batch is the reason, maybe.
    Entry,
    /// Only a person ends it.
    Configuration,
}

impl SqlErrorMeaning {
    pub(in crate::store) fn sort(self) -> ErrorSort {
        match self {
            Self::Broken | Self::Ended | Self::Locked | Self::Passing | Self::ReadOnly | Self::Full => {
                ErrorSort::AskAgain
            }
            Self::Conflict => ErrorSort::Conflict,
            Self::Statement => ErrorSort::Entry,
            Self::Login
            | Self::Database
            | Self::Rights
            | Self::Schema
            | Self::File
            | Self::ReadOnlyFile
            | Self::Damaged
            | Self::Tls
            | Self::Settings
            | Self::Forbidden => ErrorSort::Configuration,
        }
    }
}
