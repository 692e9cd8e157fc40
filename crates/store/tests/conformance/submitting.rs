use domain::{BatchId, JobId, Timestamp};
use store::{Idempotency, Submission, Submitted};

use crate::on_both;
use crate::world::{LONG, NOW, World, batch, bytes, job, secs};

async fn a_job_reads_back_as_it_was_submitted(world: World) {
    let key = world.key().await;
    let job = job(&key);
    world.submit(&job).await;
    assert_eq!(world.store.job(&key, &job.id).await.expect("read"), Some(job.clone()));
    assert_eq!(world.store.any_job(&job.id).await.expect("read"), Some(job.clone()));
    let other = world.key().await;
    assert_eq!(world.store.job(&other, &job.id).await.expect("read"), None, "another key sees it");
    assert_eq!(world.store.any_job(&JobId::from_random(bytes())).await.expect("read"), None);
}

async fn a_batch_is_read_in_the_order_of_its_jobs(world: World) {
    let key = world.key().await;
    let (id, mut jobs) = batch(&key, 10);
    // Ids rise as they are made; the order must not come from them.
    jobs.reverse();
    let submission = Submission { jobs: jobs.clone(), idempotency: None, max_queued: 10 };
    assert_eq!(world.store.submit(&key, submission, NOW).await.expect("submitted"), Submitted::Accepted);
    assert_eq!(world.store.batch(&key, &id).await.expect("read"), Some(jobs));
    assert_eq!(world.store.batch(&world.key().await, &id).await.expect("read"), None, "another key's");
    assert_eq!(world.store.batch(&key, &BatchId::from_random(bytes())).await.expect("read"), None);
}

async fn a_batch_that_does_not_fit_leaves_nothing(world: World) {
    let key = world.key().await;
    world.submit(&job(&key)).await;
    let (id, jobs) = batch(&key, 3);
    let token = || Some(token("t", 1, NOW.plus(secs(60))));
    let submission = Submission { jobs: jobs.clone(), idempotency: token(), max_queued: 3 };
    assert_eq!(world.store.submit(&key, submission, NOW).await.expect("answered"), Submitted::QueueFull);
    assert_eq!(world.store.batch(&key, &id).await.expect("read"), None);
    assert_eq!(world.store.queue_depth().await.expect("read").queued, 1);
    // The token was not spent on it either.
    let submission = Submission { jobs, idempotency: token(), max_queued: 4 };
    assert_eq!(world.store.submit(&key, submission, NOW).await.expect("answered"), Submitted::Accepted);
}

async fn a_batch_with_one_impossible_job_leaves_nothing(world: World) {
    let key = world.key().await;
    let (id, mut jobs) = batch(&key, 3);
    jobs[2].id = jobs[0].id.clone();
    let submission = Submission { jobs, idempotency: None, max_queued: 10 };
    world.store.submit(&key, submission, NOW).await.expect_err("one id twice");
    assert_eq!(world.store.batch(&key, &id).await.expect("read"), None);
}

fn token(token: &str, digest: u8, keep_until: Timestamp) -> Idempotency {
    let answer = format!("answer {digest}").into_bytes();
    Idempotency { token: token.to_owned(), digest: [digest; 32], answer, keep_until }
}

async fn a_token_has_one_effect_until_it_expires(world: World) {
    let (key, other) = (world.key().await, world.key().await);
    let end = NOW.plus(secs(60));
    let submit = async |key: &domain::KeyId, digest, now| {
        let jobs = vec![job(key)];
        let idempotency = Some(token("t", digest, Timestamp::plus(now, secs(60))));
        let submission = Submission { jobs, idempotency, max_queued: 100 };
        world.store.submit(key, submission, now).await.expect("answered")
    };
    assert_eq!(submit(&key, 1, NOW).await, Submitted::Accepted);
    assert_eq!(submit(&key, 1, NOW).await, Submitted::Replayed(b"answer 1".to_vec()));
    assert_eq!(submit(&key, 2, NOW).await, Submitted::Conflict);
    assert_eq!(submit(&key, 1, end.minus(secs(1))).await, Submitted::Replayed(b"answer 1".to_vec()));
    assert_eq!(submit(&other, 2, NOW).await, Submitted::Accepted, "tokens are a key's own");
    assert_eq!(submit(&key, 2, end).await, Submitted::Accepted, "it had expired");
    assert_eq!(submit(&key, 2, end).await, Submitted::Replayed(b"answer 2".to_vec()));
    assert_eq!(world.store.queue_depth().await.expect("read").queued, 3);
    assert_eq!(world.store.queued_jobs().await.expect("read"), 3);
}

async fn of_many_submissions_at_once_one_has_an_effect(world: World) {
    let key = world.key().await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, key) = (world.store.clone(), key.clone());
            tokio::spawn(async move {
                let idempotency = Some(token("t", 1, NOW.plus(secs(60))));
                let submission = Submission { jobs: vec![job(&key)], idempotency, max_queued: 100 };
                store.submit(&key, submission, NOW).await.expect("answered")
            })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        match task.await.expect("a task") {
            Submitted::Accepted => accepted += 1,
            answer => assert_eq!(answer, Submitted::Replayed(b"answer 1".to_vec())),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(world.store.queue_depth().await.expect("read").queued, 1);
}

on_both! {
    a_job_reads_back_as_it_was_submitted
    a_batch_is_read_in_the_order_of_its_jobs
    a_batch_that_does_not_fit_leaves_nothing
    a_batch_with_one_impossible_job_leaves_nothing
    a_token_has_one_effect_until_it_expires
    of_many_submissions_at_once_one_has_an_effect
}

/// What SQLite does when the disk is full: it undoes the whole transaction by itself.
#[tokio::test]
async fn a_transaction_that_sqlite_undid_by_itself_spoils_no_later_one() {
    let world = World::sqlite().await;
    let key = world.key().await;
    world
        .run_sql("CREATE TRIGGER full BEFORE INSERT ON jobs BEGIN SELECT RAISE(ROLLBACK, 'full'); END")
        .await;
    let submission = Submission { jobs: vec![job(&key)], idempotency: None, max_queued: u64::MAX };
    world.store.submit(&key, submission, NOW).await.expect_err("undone");
    world.run_sql("DROP TRIGGER full").await;
    world.submit(&job(&key)).await;
    world.claim(LONG).await;
}
