//! Deliveries a second: from rows that wait to attempts that are recorded, beside what bare connections do.

use std::time::Duration;

use bytes::Bytes;
use domain::Clock as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::delivering::Delivering;
use crate::receiver::{Manner, Receiver};
use crate::rows::{self, Engine, Rows, Waiting};
use crate::{Outcome, bare};

/// How long the whole may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is asked whether the last attempts are recorded.
const ASKED_EVERY: Duration = Duration::from_millis(5);

pub(crate) async fn measure(engine: Engine, events: usize) -> Outcome<Value> {
    let folder = crate::scratch()?;
    let rows = Rows::new(engine, folder.path()).await?;
    let receiver = Receiver::start(Manner::Quick).await?;
    let webhook = receiver.url();
    let now = rows.clock().now();
    rows.put(Waiting { count: events, webhook: &webhook, from: now, over: Duration::ZERO, attempts: 0 })
        .await?;

    let begun = Instant::now();
    let delivering = Delivering::start(&rows)?;
    if !receiver.wait_for(events, PATIENCE).await {
        return Err(format!("only {} of {events} events came", receiver.count()).into());
    }
    while rows.pending().await? > 0 {
        tokio::time::sleep(ASKED_EVERY).await;
    }
    let per_second = events as f64 / begun.elapsed().as_secs_f64();
    let posts = receiver.count();
    delivering.stop().await?;

    let head = receiver.head().ok_or("no POST had a head")?;
    let body = Bytes::from_static(rows::BODY.as_bytes());
    let bare = bare::posts_per_second(receiver.address(), &head, &body, events).await?;
    rows.store.close().await;
    Ok(
        json!({"perSecond": per_second, "bare": bare, "ratio": per_second / bare, "posts": posts, "events": events}),
    )
}
