//! The two databases: how they are reached, and how a transaction begins.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use domain::Secret;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Postgres, Sqlite, Transaction};

use crate::error::StoreError;
use crate::sql::{On, Row, Statement};

/// Which database.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// The embedded one, in this file.
    Sqlite(PathBuf),
    /// A PostgreSQL server; the URL may hold a password.
    Postgres(Secret),
}

/// A text that names no database that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a database is named `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/NAME`")]
pub struct MalformedDatabaseUrl;

impl DatabaseUrl {
    /// Reads `sqlite:FILE` (or `sqlite://FILE`) and `postgres://…`. The error does not repeat the input.
    pub fn parse(text: &str) -> Result<Self, MalformedDatabaseUrl> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            return if file.is_empty() { Err(MalformedDatabaseUrl) } else { Ok(Self::Sqlite(file.into())) };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return match PgConnectOptions::from_str(text) {
                Ok(_) => Ok(Self::Postgres(Secret::new(text))),
                Err(_) => Err(MalformedDatabaseUrl),
            };
        }
        Err(MalformedDatabaseUrl)
    }
}

/// How much of the database one process uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseLimits {
    /// Connections that read, on SQLite (one more writes), or connections in all, on PostgreSQL.
    pub connections: u32,
    /// How long an operation waits for a free connection, and a writer of SQLite for a writer in another process.
    pub wait: Duration,
}

impl Default for DatabaseLimits {
    /// 8 connections: the loops need about one each and requests hold one for milliseconds. 10 s: longer than any
    /// write takes on a busy machine, shorter than a client's patience.
    fn default() -> Self {
        Self { connections: 8, wait: Duration::from_secs(10) }
    }
}

/// Each statement of a transaction finds its rows through an index that was made for it. PostgreSQL must not think
/// better: a table that filled since the last ANALYZE looks small, and it would read, hash or sort all of it (0.3 s for
/// a claim out of 100,000 jobs) where walking the index finds the first rows at once. Where it has no other way, the
/// forbidden one looks so dear that it would be compiled first, hence `jit`. All in one message: no round trip more.
const BEGIN_POSTGRES: &str = "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off";

/// Compiled statements that a connection of SQLite remembers: all that there are, each in the sizes that `rows` gives it.
const STATEMENTS: usize = 256;

#[derive(Clone)]
pub(crate) enum Database {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

impl Database {
    pub(crate) async fn connect(url: &DatabaseUrl, limits: &DatabaseLimits) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Sqlite(file) => {
                let options = SqliteConnectOptions::new()
                    .filename(file)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .statement_cache_capacity(STATEMENTS)
                    .busy_timeout(limits.wait);
                // The writer first: it makes the file. One writer, because SQLite has no more than one at a time
                // anyway, and waiting in the pool is fair where waiting in SQLite is a matter of luck.
                // Nor are connections tested before they are used: nothing but this process can break one, and a test
                // wakes its thread as often as a query.
                let pool = |connections| {
                    SqlitePoolOptions::new()
                        .max_connections(connections)
                        .acquire_timeout(limits.wait)
                        .test_before_acquire(false)
                };
                // SQLite undoes a transaction by itself when the disk is full. sqlx then fails to undo it and takes
                // the connection to be inside one for good: such a connection is not used again.
                let writer = pool(1)
                    .before_acquire(|connection, _| {
                        let is_sound = !connection.is_in_transaction();
                        Box::pin(async move { Ok(is_sound) })
                    })
                    .connect_with(
                        options
                            .clone()
                            // KiB. What a group of attempts touches stays in memory until it is committed.
                            .pragma("cache_size", "-8000")
                            // What a statement may have to undo: never more than that.
                            .pragma("temp_store", "memory")
                            // Pages. What is written again and again is carried to the file once.
                            .pragma("wal_autocheckpoint", "4000"),
                    )
                    .await?;
                let readers = pool(limits.connections.max(1));
                let readers = readers.connect_with(options.pragma("query_only", "on")).await?;
                Ok(Self::Sqlite { writer, readers })
            }
            DatabaseUrl::Postgres(url) => {
                let options = PgConnectOptions::from_str(url.expose())
                    .map_err(|_| StoreError::Defect(MalformedDatabaseUrl.to_string()))?
                    .application_name("audio-extract");
                // The floor: a listener holds one for good, and a transaction must find another.
                let pool = PgPoolOptions::new()
                    .max_connections(limits.connections.max(3))
                    .acquire_timeout(limits.wait);
                Ok(Self::Postgres(pool.connect_with(options).await?))
            }
        }
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once: a deferred one that turns
    /// writer later is refused with SQLITE_BUSY whatever the busy timeout.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin_with(BEGIN_POSTGRES).await?),
        })
    }

    /// Runs a single statement that writes, as a transaction of its own.
    pub(crate) async fn execute(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite { writer, .. } => On::Sqlite(&mut *writer.acquire().await?).execute(statement).await,
            Self::Postgres(pool) => On::Postgres(&mut *pool.acquire().await?).execute(statement).await,
        }
    }

    /// Runs a single statement that only reads.
    pub(crate) async fn fetch(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite { readers, .. } => On::Sqlite(&mut *readers.acquire().await?).fetch(statement).await,
            Self::Postgres(pool) => On::Postgres(&mut *pool.acquire().await?).fetch(statement).await,
        }
    }

    /// Runs a single statement that only reads and finds at most one row.
    pub(crate) async fn fetch_optional(&self, statement: Statement<'_>) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(statement).await?.into_iter().next())
    }

    /// Runs a single statement that only reads, and finds its rows as those of a transaction do ([`BEGIN_POSTGRES`]):
    /// for what is looked for among very many.
    pub(crate) async fn fetch_by_index(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        if let Self::Sqlite { .. } = self {
            return self.fetch(statement).await;
        }
        let mut tx = self.begin().await?;
        let rows = tx.fetch(statement).await?;
        tx.undo().await?;
        Ok(rows)
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A transaction; dropping it without [`Tx::commit`] undoes it.
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    fn on(&mut self) -> On<'_> {
        match self {
            Self::Sqlite(tx) => On::Sqlite(&mut *tx),
            Self::Postgres(tx) => On::Postgres(&mut *tx),
        }
    }

    pub(crate) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        self.on().execute(statement).await
    }

    pub(crate) async fn fetch(&mut self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        self.on().fetch(statement).await
    }

    pub(crate) async fn fetch_optional(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(statement).await?.into_iter().next())
    }

    pub(crate) async fn script(&mut self, script: Statement<'_>) -> Result<(), StoreError> {
        self.on().script(script).await
    }

    /// Undoes it, and lets go of its locks before anything else happens: one that is dropped does so a little later.
    pub(crate) async fn undo(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await?,
            Self::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_apart_and_passwords_not_printed() {
        for (text, file) in [("sqlite:a.db", "a.db"), ("sqlite:///x/a.db", "/x/a.db"), ("sqlite:/x", "/x")] {
            let url = DatabaseUrl::parse(text).expect(text);
            assert!(matches!(url, DatabaseUrl::Sqlite(path) if path.as_os_str() == file), "{text}");
        }
        let url = DatabaseUrl::parse("postgres://u:pa55@h/d").expect("postgres");
        assert!(!format!("{url:?}").contains("pa55"));
        for text in ["", "sqlite:", "sqlite://", "mysql://h/d", "a.db", "postgres://h:notaport/d"] {
            assert!(DatabaseUrl::parse(text).is_err(), "{text} was taken");
        }
    }
}
