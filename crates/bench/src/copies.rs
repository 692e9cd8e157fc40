//! Rows by the hundred thousand, behind the store's back: copies of rows that the store has written, whatever columns
//! its tables have.

use domain::{EventId, JobId, KeyId};
use engine::random_id;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};
use store::DatabaseUrl;

use crate::Outcome;
use crate::rows::Waiting;

/// A connection to the database itself.
pub(crate) enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Raw {
    pub(crate) async fn open(url: &DatabaseUrl) -> Outcome<Self> {
        Ok(match url {
            DatabaseUrl::Sqlite(file) => {
                Self::Sqlite(SqliteConnection::connect(&format!("sqlite:{}", file.display())).await?)
            }
            DatabaseUrl::Postgres(url) => Self::Postgres(PgConnection::connect(url.expose()).await?),
        })
    }

    async fn run(&mut self, sql: &str) -> Outcome<()> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(on) => sqlx::raw_sql(sql).execute(on).await.map(drop)?,
            Self::Postgres(on) => sqlx::raw_sql(sql).execute(on).await.map(drop)?,
        }
        Ok(())
    }

    pub(crate) async fn close(self) -> Outcome<()> {
        match self {
            Self::Sqlite(on) => on.close().await?,
            Self::Postgres(on) => on.close().await?,
        }
        Ok(())
    }

    async fn columns(&mut self, table: &str) -> Outcome<Vec<String>> {
        Ok(match self {
            Self::Sqlite(on) => {
                let select = format!("SELECT name FROM pragma_table_info('{table}')");
                let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(on).await?;
                rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
            }
            Self::Postgres(on) => {
                let select = format!(
                    "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'"
                );
                let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(on).await?;
                rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
            }
        })
    }

    /// Makes one job's rows into `waiting.count`, numbered on, and sets when each is due.
    pub(crate) async fn copy(
        &mut self,
        key: &KeyId,
        job: &JobId,
        event: &EventId,
        waiting: &Waiting<'_>,
    ) -> Outcome<()> {
        let copies = waiting.count.saturating_sub(1);
        // Sixteen digits, which no other run in this database has: what follows an id's prefix.
        let base = u64::from_be_bytes(random_id()) % 8_000_000 * 1_000_000_000 + 1_000_000_000_000_000;
        let id = |prefix: &str| format!("'{prefix}_' || CAST({base} + n.i AS TEXT)");
        let step = waiting.over.as_millis() / waiting.count.max(1) as u128;
        let next_at = format!("{} + n.i * {step}", waiting.from.as_millis());
        let attempts = waiting.attempts.to_string();
        self.run("BEGIN").await?;
        self.run(&format!("UPDATE deliveries SET attempts = {attempts} WHERE event_id = '{event}'")).await?;
        let of_queue = format!("delivery_id IN (SELECT d.id FROM deliveries d WHERE d.event_id = '{event}')");
        let stage = if waiting.attempts == 0 { "first" } else { "later" };
        self.run(&format!(
            "UPDATE delivery_queue SET next_at = {}, stage = '{stage}', number = {attempts} + 1, \
                 failures = {attempts} WHERE {of_queue}",
            waiting.from.as_millis()
        ))
        .await?;
        let of_job = format!("id = '{job}'");
        self.copy_rows("jobs", &of_job, copies, &[("id", id("job"))]).await?;
        let of_event = format!("id = '{event}'");
        let changed = [("id", id("msg")), ("job_id", id("job")), ("sequence", "sequence + n.i".to_owned())];
        self.copy_rows("events", &of_event, copies, &changed).await?;
        let of_delivery = format!("event_id = '{event}'");
        let changed = [("id", id("dlv")), ("event_id", id("msg")), ("job_id", id("job"))];
        self.copy_rows("deliveries", &of_delivery, copies, &changed).await?;
        let changed = [("delivery_id", id("dlv")), ("next_at", next_at)];
        self.copy_rows("delivery_queue", &of_queue, copies, &changed).await?;
        self.run(&format!(
            "UPDATE event_counters SET last_sequence = last_sequence + {copies} WHERE key_id = '{key}'"
        ))
        .await?;
        self.run("COMMIT").await
    }

    async fn copy_rows(
        &mut self,
        table: &str,
        which: &str,
        copies: usize,
        changed: &[(&str, String)],
    ) -> Outcome<()> {
        let columns = self.columns(table).await?;
        let values: Vec<&str> = columns
            .iter()
            .map(|column| {
                let change = changed.iter().find(|(name, _)| name == column);
                change.map_or(column.as_str(), |(_, value)| value.as_str())
            })
            .collect();
        let insert = format!(
            "INSERT INTO {table} ({}) WITH RECURSIVE n (i) AS \
             (SELECT 1 WHERE {copies} > 0 UNION ALL SELECT i + 1 FROM n WHERE i < {copies}) \
             SELECT {} FROM {table} t CROSS JOIN n WHERE t.{which}",
            columns.join(", "),
            values.join(", ")
        );
        self.run(&insert).await
    }
}
