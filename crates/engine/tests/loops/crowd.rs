//! More that nobody answers than can be looked at, or sent, at once.

use std::sync::Mutex;

use domain::*;
use sqlx::Connection as _;

use crate::deliver::completed;
use crate::house::{House, patiently};

/// Receivers of the key that never answer, each with an event, all before the one that does in the alphabet.
const SILENT: usize = 10_050;

/// Takes what goes to its own URL; of all others nothing is ever heard.
#[derive(Default)]
struct OneAnswers {
    taken: Mutex<usize>,
    unanswered: Mutex<usize>,
}

impl Notifier for OneAnswers {
    fn send<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, SendOutcome> {
        if notice.url.url().host_str() == Some("hooks.example") {
            *self.taken.lock().expect("a count") += 1;
            return Box::pin(async { SendOutcome::answered(200) });
        }
        *self.unanswered.lock().expect("a count") += 1;
        Box::pin(std::future::pending())
    }
}

impl House {
    /// Makes as many endpoints, each with a delivery that waits, out of the one that there is.
    async fn multiply_deliveries(&self) {
        let url = format!("sqlite:{}", self.folder.path().join("rows.db").display());
        let mut rows = sqlx::SqliteConnection::connect(&url).await.expect("the file");
        let numbers =
            format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {SILENT})");
        let due = self.clock.now().as_millis() - 1000;
        let copying = format!(
            "INSERT INTO endpoints (id, key_id, receiver, url, state, changed_at, failures, due_at) \
             {numbers} SELECT 'ep_' || (1000000000000000 + i), key_id, 'a' || i || '.example:443', \
                 'https://a' || i || '.example/', 'healthy', 0, 0, {due} FROM endpoints, n; \
             INSERT INTO deliveries (id, key_id, event_id, job_id, receiver, url, state, attempts, created_at, \
                 endpoint_id) \
             {numbers} SELECT 'dlv_' || (1000000000000000 + i), key_id, event_id, job_id, \
                 'a' || i || '.example:443', 'https://a' || i || '.example/', 'pending', 0, created_at, \
                 'ep_' || (1000000000000000 + i) FROM deliveries, n; \
             INSERT INTO delivery_queue (delivery_id, endpoint_id, stage, next_at, number, failures, is_replay) \
             SELECT id, endpoint_id, 'first', {due}, 1, 0, 0 FROM deliveries WHERE state = 'pending'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(copying)).execute(&mut rows).await.expect("copies");
        rows.close().await.expect("closed");
    }
}

#[tokio::test]
async fn who_answers_is_found_and_served_beside_more_that_do_not_than_a_look_reads() {
    let house = House::new().await;
    let receiver = std::sync::Arc::new(OneAnswers::default());
    let taken = async |count| {
        patiently(async || (*receiver.taken.lock().expect("a count") == count).then_some(())).await;
    };
    completed(&house).await;
    let deliver = house.deliver(receiver.clone());
    taken(1).await;
    house.multiply_deliveries().await;
    patiently(async || (*receiver.unanswered.lock().expect("a count") > 0).then_some(())).await;
    for count in [2, 3] {
        completed(&house).await;
        taken(count).await;
    }
    assert!(*receiver.unanswered.lock().expect("a count") < 8, "there was room");
    deliver.abandon();
}
