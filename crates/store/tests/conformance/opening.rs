use domain::{DeliveryId, KeyId, SigningKeys};
use store::{DatabaseUrl, DeliveryFilter, MasterKey, Store, StoreError};

use crate::on_both;
use crate::world::{LONG, NOW, World, job, new_key};

async fn many_connections_migrate_at_once(world: World) {
    world.store.close().await;
    world.run_sql(DROP_EVERYTHING).await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (url, key) = (world.url.clone(), world.master_key.clone());
            tokio::spawn(async move {
                let store = Store::connect(&url, key).await.expect("connected");
                store.migrate().await.expect("migrated");
                store.migrate().await.expect("migrated again");
                store
            })
        })
        .collect();
    for task in tasks {
        let store = task.await.expect("a task");
        store.create_key(&new_key("one each")).await.expect("the tables are there");
    }
}

/// Back to an empty database, whatever it is.
const DROP_EVERYTHING: &str = "DROP TABLE delivery_attempts; DROP TABLE delivery_queue; DROP TABLE delivery_leases; DROP TABLE deliveries; DROP TABLE events; \
    DROP TABLE endpoints; DROP TABLE private_keys; DROP TABLE secret_headers; DROP TABLE replays; DROP TABLE replay_turns; \
    DROP TABLE idempotency; DROP TABLE job_leases; DROP TABLE jobs; DROP TABLE queue_turns; \
    DROP TABLE event_counters; DROP TABLE signing_secrets; DROP TABLE upload_parts; DROP TABLE uploads; \
    DROP TABLE keys; DROP TABLE service;";

/// A database of the first version, with two deliveries that wait, one that was made, and one that was under way when
/// its node was lost.
async fn what_was_there_before_endpoints_gets_one(world: World) {
    let bytes = if world.store.is_embedded() { "BLOB" } else { "BYTEA" };
    let first = include_str!("../../migrations/0001_start.sql").replace("{bytes}", bytes);
    let tables = DROP_EVERYTHING.replace("DROP TABLE service;", "UPDATE service SET version = 1;");
    let rows = format!(
        "INSERT INTO keys (id, name, scopes, api_key_hash, created_at) \
             VALUES ('key_0000000000000001', 'k', 'webhooks', CAST('h' AS {bytes}), 0); \
         INSERT INTO jobs (id, key_id, position, spec, priority, created_at, state, not_before, fence, attempts, \
             percent, swept) VALUES ('job_0000000000000001', 'key_0000000000000001', 0, '{{}}', 1, 0, 'failed', \
             0, 1, 1, 0, 0);"
    );
    let deliveries = [
        (1, "https://a.example/", "pending", 0),
        (2, "https://a.example/", "delivered", 1),
        (3, "https://b.example/", "pending", 2),
        (4, "https://b.example/", "pending", 0),
    ];
    let under_way = "UPDATE deliveries SET holder = 'node_0000000000000001', until = 1, claimed_at = 2 \
         WHERE id = 'dlv_0000000000000004';";
    let deliveries = deliveries.map(|(n, url, state, attempts)| {
        format!(
            "INSERT INTO events (id, key_id, sequence, job_id, kind, body, created_at) VALUES \
                 ('msg_000000000000000{n}', 'key_0000000000000001', {n}, 'job_0000000000000001', 'job.failed', \
                 CAST('b' AS {bytes}), 0); \
             INSERT INTO deliveries (id, key_id, event_id, job_id, receiver, url, state, next_at, attempts, \
                 created_at) VALUES ('dlv_000000000000000{n}', 'key_0000000000000001', \
                 'msg_000000000000000{n}', 'job_0000000000000001', 'a.example:443', '{url}', '{state}', 5, \
                 {attempts}, 0);"
        )
    });
    let deliveries = deliveries.concat();
    let attempt = format!(
        "INSERT INTO delivery_attempts (delivery_id, number, started_at, took_micros, status, answer) VALUES \
             ('dlv_0000000000000002', 1, 3, 4, 204, CAST('a' AS {bytes}));"
    );
    // All are of one job here, which ends but once.
    let one_event_a_job = "DROP INDEX events_final;";
    let script = [tables.as_str(), &first, &rows, one_event_a_job, &deliveries, &attempt, under_way].concat();
    world.run_sql(Box::leak(script.into_boxed_str())).await;
    world.store.migrate().await.expect("migrated");

    let claimed = world.send(10, LONG, NOW).await;
    let mut claimed: Vec<_> =
        claimed.iter().map(|lease| (lease.item.id.as_str(), lease.attempt, lease.item.failures)).collect();
    claimed.sort_unstable();
    assert_eq!(
        claimed,
        [
            ("dlv_0000000000000001", 1, 0),
            ("dlv_0000000000000003", 3, 2),
            // The lost attempt is the first, and no failure of the receiver.
            ("dlv_0000000000000004", 2, 0),
        ]
    );
    let key = KeyId::parse("key_0000000000000001").expect("an id");
    let page = world.store.deliveries(&key, &DeliveryFilter::default(), None, 10).await.expect("read");
    assert_eq!(page.items.len(), 4);
    let made = DeliveryId::parse("dlv_0000000000000002").expect("an id");
    let made = world.store.delivery(&key, &made).await.expect("read").expect("it is there");
    let outcomes = made.attempts.iter().map(|attempt| (attempt.number, attempt.outcome.status));
    assert_eq!(outcomes.collect::<Vec<_>>(), [(1, Some(204))]);
    assert_eq!(made.attempts[0].outcome.answer, b"a");
}

async fn a_newer_schema_is_refused(world: World) {
    world.run_sql("UPDATE service SET version = 1000").await;
    let error = world.store.migrate().await.expect_err("it was written by a newer version");
    assert!(matches!(error, StoreError::SchemaTooNew { found: 1000, .. }), "{error}");
}

async fn another_master_key_is_refused_at_the_start(world: World) {
    let other = MasterKey::generate().expect("random bytes");
    let store = Store::connect(&world.url, other).await.expect("connected");
    let error = store.migrate().await.expect_err("the secrets were sealed with another key");
    assert!(matches!(error, StoreError::WrongMasterKey), "{error}");
    world.store.migrate().await.expect("the right one is still right");
}

async fn secrets_are_not_in_the_rows(world: World) {
    let new = new_key("a key");
    world.store.create_key(&new).await.expect("created");
    world.submit(&job(&new.key.id)).await;
    let DatabaseUrl::Sqlite(file) = &world.url else {
        // PostgreSQL keeps its pages elsewhere; what is in them is what went through the same statements.
        return;
    };
    world.store.close().await;
    let rows = std::fs::read(file).expect("the file");
    let has = |text: &str| rows.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("talk.mp4"), "the file is not where the rows are");
    for secret in [new.api_key.expose(), new.webhook_secret.expose(), "s3cr3t"] {
        assert!(!has(secret), "{secret} is in clear");
    }
}

async fn a_corrupt_row_is_named_and_blocks_nothing(world: World) {
    let key = world.key().await;
    let broken = world.claimed(&key, LONG).await;
    world.complete(&broken).await;
    let queued = job(&key);
    world.submit(&queued).await;
    for damage in [
        "UPDATE jobs SET spec = '{}'",
        "UPDATE jobs SET spec = 'no JSON'",
        "UPDATE jobs SET state = 'resting' WHERE state = 'completed'",
        "UPDATE jobs SET outcome = NULL",
    ] {
        world.run_sql(damage).await;
        let error = world.store.any_job(&broken.item.id).await.expect_err(damage);
        let StoreError::Corrupt { row, .. } = &error else { panic!("{damage}: {error}") };
        assert_eq!(row, &format!("jobs {}", broken.item.id), "{damage}");
    }
    // Its queue goes on: the damaged job is set aside, the sound one is claimed.
    let sound = job(&key);
    world.submit(&sound).await;
    let leases = world.store.claim_jobs(&world.node, 2, LONG, NOW).await.expect("claimed");
    let claimed: Vec<_> = leases.into_iter().map(|lease| lease.item.id).collect();
    assert_eq!(claimed, [sound.id]);
}

async fn a_moved_secret_is_not_taken_for_another(world: World) {
    let (one, two) = (world.key().await, world.key().await);
    world.run_sql("UPDATE signing_secrets SET sealed = (SELECT s.sealed FROM signing_secrets s ORDER BY s.key_id LIMIT 1)").await;
    let opened = [&one, &two].map(|key| world.store.signing_keys(key, NOW));
    let [one, two] = opened;
    let opened: Vec<Result<SigningKeys, StoreError>> = vec![one.await, two.await];
    assert_eq!(opened.iter().filter(|secrets| secrets.is_ok()).count(), 1);
    let error = opened.into_iter().find_map(Result::err).expect("one that does not open");
    assert!(matches!(&error, StoreError::Corrupt { row, .. } if row.starts_with("signing_secrets key_")));
}

async fn a_closed_store_is_unavailable(world: World) {
    world.store.ping().await.expect("a sign of life");
    assert_eq!(world.store.is_embedded(), matches!(world.url, DatabaseUrl::Sqlite(_)));
    let lease = world.claimed(&world.key().await, LONG).await;
    world.store.close().await;
    let error = world.store.ping().await.expect_err("it is closed");
    assert!(error.is_unavailable(), "{error}");
    let ids = Some(DeliveryId::from_random([0; 8]));
    let ending = crate::world::completed(&lease);
    let finish = world.store.finish_job(&lease, &ending, crate::world::draft(), ids, NOW).await;
    assert!(finish.expect_err("it is closed").is_unavailable());
}

on_both! {
    what_was_there_before_endpoints_gets_one
    many_connections_migrate_at_once
    a_newer_schema_is_refused
    another_master_key_is_refused_at_the_start
    secrets_are_not_in_the_rows
    a_corrupt_row_is_named_and_blocks_nothing
    a_moved_secret_is_not_taken_for_another
    a_closed_store_is_unavailable
}
