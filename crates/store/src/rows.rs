//! Many rows as a table that one statement reads: `{rows}`, which is called `r`.
//!
//! PostgreSQL gets an array for each column. SQLite has no arrays, and would parse JSON anew for each column of each
//! row; it gets `VALUES`, so and so many at a time that a few compiled statements do for every number of rows. Places
//! that are left over stay NULL and are passed over.

use std::fmt::Write as _;
use std::ops::Range;

use sqlx::Arguments as _;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

/// Rows in one statement of SQLite at most.
const MOST: usize = 256;

/// The rows, a column at a time. The first column is a name, and never NULL.
#[derive(Default)]
pub(crate) struct Rows<'v> {
    columns: Vec<Column<'v>>,
}

struct Column<'v> {
    name: &'static str,
    values: Values<'v>,
}

/// Borrowed, so that a group of attempts is copied once, into the message to the database.
enum Values<'v> {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<&'v str>>),
    Bytes(Vec<Option<&'v [u8]>>),
}

impl<'v> Rows<'v> {
    /// Rows of names alone, in the column `id`.
    pub(crate) fn ids(ids: impl IntoIterator<Item = &'v str>) -> Self {
        Self::default().text("id", ids)
    }

    pub(crate) fn text<V: Into<Option<&'v str>>>(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.with(name, Values::Text(values.into_iter().map(Into::into).collect()))
    }

    pub(crate) fn int<V: Into<Option<i64>>>(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.with(name, Values::Int(values.into_iter().map(Into::into).collect()))
    }

    pub(crate) fn bytes(self, name: &'static str, values: impl IntoIterator<Item = &'v [u8]>) -> Self {
        self.with(name, Values::Bytes(values.into_iter().map(Some).collect()))
    }

    fn with(mut self, name: &'static str, values: Values<'v>) -> Self {
        self.columns.push(Column { name, values });
        self
    }

    fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// What `{rows}` stands for on PostgreSQL.
    pub(crate) fn postgres_text(&self) -> String {
        let arrays = self.columns.iter().enumerate().map(|(at, column)| {
            let kind = match column.values {
                Values::Int(_) => "BIGINT",
                Values::Text(_) => "TEXT",
                Values::Bytes(_) => "BYTEA",
            };
            format!("CAST(${} AS {kind}[])", at + 1)
        });
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        format!("unnest({}) AS r ({})", arrays.collect::<Vec<_>>().join(", "), names.join(", "))
    }

    pub(crate) fn postgres_arguments(self) -> Result<PgArguments, BoxDynError> {
        let mut arguments = PgArguments::default();
        for column in self.columns {
            match column.values {
                Values::Int(values) => arguments.add(values)?,
                Values::Text(values) => arguments.add(values)?,
                Values::Bytes(values) => arguments.add(values)?,
            }
        }
        Ok(arguments)
    }

    /// What `{rows}` stands for on SQLite, and the values, for one statement after the other.
    pub(crate) fn sqlite_parts(self) -> Result<Vec<(String, SqliteArguments)>, BoxDynError> {
        let count = self.len();
        (0..count)
            .step_by(MOST)
            .map(|from| {
                let rows = from..count.min(from + MOST);
                let places = places(rows.len());
                Ok((self.sqlite_text(places), self.sqlite_arguments(rows, places)?))
            })
            .collect()
    }

    fn sqlite_text(&self, places: usize) -> String {
        let mut text = String::from("(SELECT ");
        for (at, column) in self.columns.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            // Into a `String` nothing can fail to be written.
            let _ = write!(text, "{comma}column{} AS {}", at + 1, column.name);
        }
        // Places without a name: to find one by its name, SQLite goes through all before it.
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        let _ =
            write!(text, " FROM (VALUES {}) WHERE column1 IS NOT NULL) AS r", vec![row; places].join(","));
        text
    }

    fn sqlite_arguments(&self, rows: Range<usize>, places: usize) -> Result<SqliteArguments, BoxDynError> {
        let mut arguments = SqliteArguments::default();
        let left_over = places - rows.len();
        for row in rows {
            for column in &self.columns {
                match &column.values {
                    Values::Int(values) => arguments.add(values[row])?,
                    Values::Text(values) => arguments.add(values[row])?,
                    Values::Bytes(values) => arguments.add(values[row])?,
                }
            }
        }
        for _ in 0..left_over * self.columns.len() {
            arguments.add(None::<i64>)?;
        }
        Ok(arguments)
    }
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }
}

/// How many places so many rows are given: a power of four, up to [`MOST`].
fn places(rows: usize) -> usize {
    let mut places = 1;
    while places < rows {
        places *= 4;
    }
    places
}
