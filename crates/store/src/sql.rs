//! The thin layer that lets each statement stand once.
//!
//! A statement's text is SQL that both databases take, with `$n` for values. Where they differ there is a marker,
//! replaced when it is run:
//!
//! | marker | SQLite | PostgreSQL |
//! |---|---|---|
//! | `{clock}` | the database's clock, ms | the same |
//! | `{skip_locked}` | nothing (one writer at a time) | `FOR UPDATE SKIP LOCKED` |
//! | `{for_update}` | nothing (one writer at a time) | `FOR UPDATE` |
//! | `{bytes}` | `BLOB` | `BYTEA` |
//! | `{without_rowid}` | `WITHOUT ROWID`: the rows are in their key's index | nothing |
//! | `LIMIT $n` | `LIMIT 0 + $n`: a bare value is part of its plan, so that it would be compiled each time | the same |
//! | `{only_postgres}` | the rest of the line is a comment | nothing |
//! | `{rows}` | a table `r` of [`Rows`] | the same |
//!
//! What concerns many rows is one statement over `{rows}` rather than one statement a row. It has no other values: what
//! is the same for every row is a column too.

use std::borrow::Cow;

use domain::Timestamp;
use sqlx::encode::Encode;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{
    Arguments, AssertSqlSafe, Database, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection, Type,
};

use crate::error::StoreError;
use crate::rows::Rows;

/// A value on its way into a statement. Each knows its type even when there is none, as PostgreSQL wants.
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $into:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })*
    };
}

value_from! {
    i64 => |value| Self::Int(Some(value));
    u32 => |value| Self::Int(Some(i64::from(value)));
    u64 => |value| Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)));
    Option<i64> => |value| Self::Int(value);
    &str => |value| Self::Text(Some(value.to_owned()));
    String => |value| Self::Text(Some(value));
    Option<&str> => |value| Self::Text(value.map(str::to_owned));
    Option<String> => |value| Self::Text(value);
    &[u8] => |value| Self::Bytes(Some(value.to_vec()));
    Vec<u8> => |value| Self::Bytes(Some(value));
}

/// A statement and its values.
pub(crate) struct Statement<'v> {
    text: Cow<'static, str>,
    values: Vec<Value>,
    rows: Option<Rows<'v>>,
}

/// Begins a statement.
pub(crate) fn sql(text: impl Into<Cow<'static, str>>) -> Statement<'static> {
    Statement { text: text.into(), values: Vec::new(), rows: None }
}

/// A statement over `{rows}`.
pub(crate) fn sql_over<'v>(rows: Rows<'v>, text: &'static str) -> Statement<'v> {
    Statement { text: text.into(), values: Vec::new(), rows: Some(rows) }
}

impl Statement<'_> {
    /// The next value: the first call gives `$1`.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    fn text_for(&self, dialect: &Dialect) -> String {
        let markers = [
            ("{clock}", dialect.clock),
            ("{skip_locked}", dialect.skip_locked),
            ("{for_update}", dialect.for_update),
            ("{bytes}", dialect.bytes),
            ("{without_rowid}", dialect.without_rowid),
            ("{only_postgres}", dialect.only_postgres),
            ("LIMIT $", dialect.limit),
        ];
        let replace = |text: String, (marker, with): (&str, &str)| match text.contains(marker) {
            true => text.replace(marker, with),
            false => text,
        };
        markers.into_iter().fold(self.text.to_string(), replace)
    }

    /// As SQLite runs it: more than once where it is over many rows, not at all where it is over none.
    fn for_sqlite(self) -> Result<Vec<(String, SqliteArguments)>, sqlx::Error> {
        let text = self.text_for(&SQLITE);
        let Some(rows) = self.rows else {
            return Ok(vec![(text, arguments::<Sqlite>(self.values).map_err(sqlx::Error::Encode)?)]);
        };
        let parts = rows.sqlite_parts().map_err(sqlx::Error::Encode)?;
        Ok(parts.into_iter().map(|(table, values)| (text.replace(ROWS, &table), values)).collect())
    }

    fn for_postgres(self) -> Result<(String, PgArguments), sqlx::Error> {
        let text = self.text_for(&POSTGRES);
        let (text, values) = match self.rows {
            None => (text, arguments::<Postgres>(self.values)),
            Some(rows) => (text.replace(ROWS, &rows.postgres_text()), rows.postgres_arguments()),
        };
        Ok((text, values.map_err(sqlx::Error::Encode)?))
    }
}

/// What the markers stand for.
struct Dialect {
    clock: &'static str,
    skip_locked: &'static str,
    for_update: &'static str,
    bytes: &'static str,
    without_rowid: &'static str,
    limit: &'static str,
    only_postgres: &'static str,
}

const ROWS: &str = "{rows}";

const SQLITE: Dialect = Dialect {
    clock: "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
    skip_locked: "",
    for_update: "",
    bytes: "BLOB",
    without_rowid: "WITHOUT ROWID",
    limit: "LIMIT 0 + $",
    only_postgres: "--",
};

/// The clock is the statement's and not `clock_timestamp()`: that one is volatile, so that no index could be used.
const POSTGRES: Dialect = Dialect {
    clock: "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)",
    skip_locked: "FOR UPDATE SKIP LOCKED",
    for_update: "FOR UPDATE",
    bytes: "BYTEA",
    without_rowid: "",
    limit: "LIMIT $",
    only_postgres: "",
};

fn arguments<DB>(values: Vec<Value>) -> Result<DB::Arguments, BoxDynError>
where
    DB: Database,
    Option<i64>: for<'t> Encode<'t, DB> + Type<DB>,
    Option<String>: for<'t> Encode<'t, DB> + Type<DB>,
    Option<Vec<u8>>: for<'t> Encode<'t, DB> + Type<DB>,
{
    let mut arguments = DB::Arguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value)?,
            Value::Text(value) => arguments.add(value)?,
            Value::Bytes(value) => arguments.add(value)?,
        }
    }
    Ok(arguments)
}

/// A connection of either database, on which a statement runs.
pub(crate) enum On<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl On<'_> {
    /// Runs a statement; how many rows it changed.
    pub(crate) async fn execute(self, statement: Statement<'_>) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(on) => {
                let mut changed = 0;
                for (text, values) in statement.for_sqlite()? {
                    let query = sqlx::query_with(AssertSqlSafe(text), values);
                    changed += query.execute(&mut *on).await?.rows_affected();
                }
                Ok(changed)
            }
            Self::Postgres(on) => {
                let (text, values) = statement.for_postgres()?;
                Ok(sqlx::query_with(AssertSqlSafe(text), values).execute(on).await?.rows_affected())
            }
        }
    }

    /// Runs a statement; the rows it gives.
    pub(crate) async fn fetch(self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(on) => {
                let mut rows = Vec::new();
                for (text, values) in statement.for_sqlite()? {
                    let query = sqlx::query_with(AssertSqlSafe(text), values);
                    rows.extend(query.fetch_all(&mut *on).await?.into_iter().map(Row::Sqlite));
                }
                Ok(rows)
            }
            Self::Postgres(on) => {
                let (text, values) = statement.for_postgres()?;
                let rows = sqlx::query_with(AssertSqlSafe(text), values).fetch_all(on).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs several statements that have no values.
    pub(crate) async fn script(self, script: Statement<'_>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(on) => {
                sqlx::raw_sql(AssertSqlSafe(script.text_for(&SQLITE))).execute(on).await?;
            }
            Self::Postgres(on) => {
                sqlx::raw_sql(AssertSqlSafe(script.text_for(&POSTGRES))).execute(on).await?;
            }
        }
        Ok(())
    }
}

/// A row of either database.
pub(crate) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

/// Why a column could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

impl From<Unreadable> for StoreError {
    /// For rows that have no name: counts and the like.
    fn from(Unreadable(reason): Unreadable) -> Self {
        Self::Defect(format!("a statement's answer cannot be read: {reason}"))
    }
}

impl Row {
    /// Reads a column.
    pub(crate) fn get<T>(&self, column: &str) -> Result<T, Unreadable>
    where
        T: for<'r> sqlx::Decode<'r, Sqlite> + Type<Sqlite>,
        T: for<'r> sqlx::Decode<'r, Postgres> + Type<Postgres>,
    {
        let value = match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        };
        value.map_err(|error| Unreadable(format!("column `{column}`: {error}")))
    }

    /// Reads a number that is never negative and has this type in domain.
    pub(crate) fn number<N: TryFrom<i64>>(&self, column: &str) -> Result<N, Unreadable> {
        let value: i64 = self.get(column)?;
        N::try_from(value).map_err(|_| Unreadable(format!("column `{column}`: {value} is out of range")))
    }

    /// Reads a time that may not be there.
    pub(crate) fn time(&self, column: &str) -> Result<Option<Timestamp>, Unreadable> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    /// Reads an id or another word through its own parser.
    pub(crate) fn parse<T, E>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Unreadable> {
        let text: String = self.get(column)?;
        parse(&text).map_err(|_| Unreadable(format!("column `{column}`: not what belongs there")))
    }
}
