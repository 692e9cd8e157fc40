//! What can go wrong with rows and files.

use std::io;

/// Why an operation of the store did not happen.
///
/// The texts are for the operator's log: they may name tables, paths and hosts, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or file store cannot be used now: down, no free connection in time, disk full. Another try
    /// later may work, so a request is answered with 503.
    #[error("{what} is unavailable: {cause}")]
    Unavailable {
        /// Which part.
        what: &'static str,
        /// What it said.
        cause: String,
    },
    /// A row holds what this version never wrote.
    #[error("{row} is corrupt: {reason}")]
    Corrupt {
        /// Its table and id.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The secrets in the database were sealed with another master key.
    #[error(
        "the master key is not the one that the secrets in this database were sealed with; \
         give every node the master key of the first start"
    )]
    WrongMasterKey,
    /// The database was written by a newer version.
    #[error("the database has schema {found}, this version knows {known}; run a newer version")]
    SchemaTooNew {
        /// The schema found.
        found: i64,
        /// The newest that this version knows.
        known: i64,
    },
    /// There is no such file.
    #[error("no file at {location}")]
    NoSuchFile {
        /// Where it was looked for.
        location: String,
    },
    /// What was asked of the store cannot be done, or the store broke its own rules: a defect or a wrong setting.
    #[error("{0}")]
    Defect(String),
}

impl StoreError {
    pub(crate) fn corrupt(table: &str, id: &str, reason: impl Into<String>) -> Self {
        Self::Corrupt { row: format!("{table} {id}"), reason: reason.into() }
    }

    pub(crate) fn database_unavailable(cause: impl ToString) -> Self {
        Self::Unavailable { what: "the database", cause: cause.to_string() }
    }

    pub(crate) fn files_unavailable(cause: impl ToString) -> Self {
        Self::Unavailable { what: "the file store", cause: cause.to_string() }
    }

    /// Whether another try later may work.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Io(_)
            | E::Tls(_)
            | E::Protocol(_)
            | E::PoolTimedOut
            | E::PoolClosed
            | E::WorkerCrashed
            | E::BeginFailed => Self::database_unavailable(error),
            E::Database(cause) if cause.code().is_some_and(|code| passes(&code)) => {
                Self::database_unavailable(cause)
            }
            error => Self::Defect(format!("the database refused a statement: {error}")),
        }
    }
}

/// Whether a database's error code says that the trouble is not with the statement. SQLite's codes are decimal
/// numbers (extended ones keep the primary code in the low byte), PostgreSQL's are five characters.
fn passes(code: &str) -> bool {
    /// BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
    const SQLITE: [u32; 8] = [5, 6, 7, 8, 10, 13, 14, 15];
    /// Connection exception, transaction rollback (deadlock, serialisation), insufficient resources, operator
    /// intervention (shutdown, crash recovery), lock not available, read-only (a replica), system error.
    const POSTGRES: [&str; 7] = ["08", "40", "53", "57", "55P03", "25006", "58"];
    if code.len() == 5 {
        return POSTGRES.iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| SQLITE.contains(&(code & 0xff)))
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as E;
        match error {
            E::NotFound { path, .. } => Self::NoSuchFile { location: path },
            E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::UnknownConfigurationKey { .. } => Self::Defect(format!("the file store refused: {error}")),
            // Permissions and credentials too: the setting may be mended while requests wait.
            error => Self::files_unavailable(error),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::files_unavailable(error)
    }
}

#[cfg(test)]
mod tests {
    use super::passes;

    #[test]
    fn codes_that_pass_are_told_from_defects() {
        for (code, expected) in [
            ("5", true),
            ("517", true),
            ("13", true),
            ("3850", true),
            ("1", false),
            ("2067", false),
            ("57P01", true),
            ("40P01", true),
            ("53300", true),
            ("08006", true),
            ("23505", false),
            ("42601", false),
            ("", false),
        ] {
            assert_eq!(passes(code), expected, "{code}");
        }
    }
}
