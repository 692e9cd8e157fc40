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
//! | `{each}` | `json_each($1) j`: a row for each element of the first value, in `j.value` | the same |
//! | `{answer}` | the bytes that `j.value` has as hex under `answer` | the same |
//!
//! What concerns many rows is one statement over `{each}` rather than one statement a row.

use std::borrow::Cow;

use domain::Timestamp;
use sqlx::encode::Encode;
use sqlx::error::BoxDynError;
use sqlx::{
    Arguments, AssertSqlSafe, Database, PgConnection, Postgres, Row as _, Sqlite, SqliteConnection, Type,
};

use crate::error::StoreError;

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
pub(crate) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// The elements of a statement that goes over `{each}`: its first value.
pub(crate) fn each<T: serde::Serialize>(elements: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(elements)
        .map_err(|error| StoreError::Defect(format!("a statement's values cannot be written: {error}")))
}

/// Begins a statement.
pub(crate) fn sql(text: impl Into<Cow<'static, str>>) -> Statement {
    Statement { text: text.into(), values: Vec::new() }
}

impl Statement {
    /// The next value: the first call gives `$1`.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    fn text_for(&self, dialect: &Dialect) -> String {
        if !self.text.contains('{') {
            return self.text.to_string();
        }
        let text = self.text.replace("{clock}", dialect.clock).replace("{bytes}", dialect.bytes);
        let text =
            text.replace("{skip_locked}", dialect.skip_locked).replace("{for_update}", dialect.for_update);
        text.replace("{each}", dialect.each).replace("{answer}", dialect.answer)
    }
}

/// What the markers stand for.
struct Dialect {
    clock: &'static str,
    skip_locked: &'static str,
    for_update: &'static str,
    bytes: &'static str,
    each: &'static str,
    answer: &'static str,
}

const SQLITE: Dialect = Dialect {
    clock: "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
    skip_locked: "",
    for_update: "",
    bytes: "BLOB",
    each: "json_each($1) AS j",
    answer: "unhex(j.value ->> 'answer')",
};

/// The clock is the statement's and not `clock_timestamp()`: that one is volatile, so that no index could be used.
const POSTGRES: Dialect = Dialect {
    clock: "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)",
    skip_locked: "FOR UPDATE SKIP LOCKED",
    for_update: "FOR UPDATE",
    bytes: "BYTEA",
    each: "jsonb_array_elements(CAST($1 AS JSONB)) AS j",
    answer: "decode(j.value ->> 'answer', 'hex')",
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

/// Makes of a statement what sqlx runs on one of the databases.
macro_rules! query {
    ($statement:expr, $database:ty, $dialect:expr) => {{
        let text = $statement.text_for(&$dialect);
        let values = arguments::<$database>($statement.values).map_err(sqlx::Error::Encode)?;
        sqlx::query_with(AssertSqlSafe(text), values)
    }};
}

/// A connection of either database, on which a statement runs.
pub(crate) enum On<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl On<'_> {
    /// Runs a statement; how many rows it changed.
    pub(crate) async fn execute(self, statement: Statement) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(on) => query!(statement, Sqlite, SQLITE).execute(on).await?.rows_affected(),
            Self::Postgres(on) => query!(statement, Postgres, POSTGRES).execute(on).await?.rows_affected(),
        })
    }

    /// Runs a statement; the rows it gives.
    pub(crate) async fn fetch(self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(on) => {
                query!(statement, Sqlite, SQLITE).fetch_all(on).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(on) => query!(statement, Postgres, POSTGRES)
                .fetch_all(on)
                .await?
                .into_iter()
                .map(Row::Postgres)
                .collect(),
        })
    }

    /// Runs several statements that have no values.
    pub(crate) async fn script(self, script: Statement) -> Result<(), StoreError> {
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
