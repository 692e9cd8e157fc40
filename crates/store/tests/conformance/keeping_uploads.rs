//! How long uploads stay: what jobs on them, the sweep and time come to.

use domain::{FileId, Job, Lease, Timestamp, UploadState};
use store::{Appended, Deletion, Idempotency, Submission, Submitted};

use crate::on_both;
use crate::uploading::{DAY, job_on};
use crate::world::{LONG, NOW, World, batch, draft, failed, secs};

impl World {
    async fn take_uploads(&self, now: Timestamp) -> Vec<FileId> {
        self.store.take_uploads(now, 10).await.expect("taken")
    }

    pub(crate) async fn submit_on(&self, job: &Job, now: Timestamp) -> Submitted {
        let submission = Submission { jobs: vec![job.clone()], idempotency: None, max_queued: u64::MAX };
        self.store.submit(&job.key, submission, now).await.expect("answered")
    }

    async fn fail(&self, lease: &Lease<Job>) {
        self.store.finish_job(lease, &failed(), draft(), None, NOW).await.expect("finished");
    }
}

async fn an_upload_that_nobody_uses_goes_when_it_expires(world: World) {
    let key = world.key().await;
    let (whole, begun) = (world.complete_upload(&key).await, world.begin(&key, Some(10)).await);
    let just_before = Timestamp::from_millis(whole.expires_at.as_millis() - 1);
    assert_eq!(world.take_uploads(Timestamp::from_millis(begun.expires_at.as_millis() - 1)).await, []);
    assert_eq!(world.take_uploads(just_before).await, std::slice::from_ref(&begun.id));
    world.store.mark_uploads_swept(&[begun.id], just_before, DAY).await.expect("marked");
    // It counts as gone from its time, also before the sweep has come.
    assert_eq!(world.found(&whole, whole.expires_at).await.expect("it").state, UploadState::Gone);
    let submitted = world.submit_on(&job_on(&key, &whole.id), whole.expires_at).await;
    assert!(
        matches!(&submitted, Submitted::Unusable { upload: Some(upload), .. } if upload.state == UploadState::Gone),
        "{submitted:?}"
    );
    assert_eq!(world.take_uploads(whole.expires_at).await, std::slice::from_ref(&whole.id));
    assert_eq!(world.found(&whole, NOW).await.expect("it").state, UploadState::Gone);
    assert_eq!(world.append(&whole, &[1], None).await, Appended::Gone);
}

async fn an_upload_stays_until_the_last_job_that_names_it_has_ended(world: World) {
    let key = world.key().await;
    let whole = world.complete_upload(&key).await;
    for _ in 0..2 {
        assert_eq!(world.submit_on(&job_on(&key, &whole.id), NOW).await, Submitted::Accepted);
    }
    let long_after = whole.expires_at.plus(DAY);
    assert_eq!(world.take_uploads(long_after).await, [], "two jobs wait");
    let first = world.claim(LONG).await;
    assert_eq!(world.store.delete_upload(&key, &whole.id, NOW).await.expect("answered"), Deletion::InUse);
    world.fail(&first).await;
    assert_eq!(world.take_uploads(long_after).await, [], "one job waits");
    assert_eq!(
        world.submit_on(&job_on(&key, &whole.id), long_after).await,
        Submitted::Accepted,
        "it is in use"
    );
    let second = world.claim(LONG).await;
    world.store.release_job(&second, domain::Queued::default(), NOW, false).await.expect("released");
    assert_eq!(world.take_uploads(long_after).await, [], "one is tried again, one waits");
    for _ in 0..2 {
        let lease = world.claim(LONG).await;
        world.fail(&lease).await;
    }
    assert_eq!(world.take_uploads(NOW).await, std::slice::from_ref(&whole.id), "at once after the last");
    let submitted = world.submit_on(&job_on(&key, &whole.id), NOW).await;
    assert!(matches!(submitted, Submitted::Unusable { upload: Some(_), .. }), "{submitted:?}");
}

async fn a_batch_on_an_unfinished_upload_leaves_nothing(world: World) {
    let key = world.key().await;
    let (whole, begun) = (world.complete_upload(&key).await, world.begin(&key, Some(10)).await);
    let (id, mut jobs) = batch(&key, 3);
    for (job, upload) in jobs.iter_mut().zip([&whole, &whole, &begun]) {
        job.spec.source = job_on(&key, &upload.id).spec.source;
    }
    let submission = Submission { jobs, idempotency: None, max_queued: 10 };
    let submitted = world.store.submit(&key, submission, NOW).await.expect("answered");
    assert_eq!(submitted, Submitted::Unusable { position: 2, upload: Some(begun) });
    assert_eq!(world.store.batch(&key, &id).await.expect("read"), None);
    assert_eq!(world.take_uploads(whole.expires_at).await.len(), 2, "neither counts as used");
}

async fn a_repeated_request_is_answered_although_its_upload_is_used_up(world: World) {
    let key = world.key().await;
    let whole = world.complete_upload(&key).await;
    let submit = async || {
        let (token, answer, keep_until) = ("t".to_owned(), b"answer".to_vec(), NOW.plus(secs(60)));
        let idempotency = Some(Idempotency { token, digest: [1; 32], answer, keep_until });
        let submission = Submission { jobs: vec![job_on(&key, &whole.id)], idempotency, max_queued: 10 };
        world.store.submit(&key, submission, NOW).await.expect("answered")
    };
    assert_eq!(submit().await, Submitted::Accepted);
    let lease = world.claim(LONG).await;
    assert_eq!(lease.item.spec.source, job_on(&key, &whole.id).spec.source, "it reads back");
    world.fail(&lease).await;
    assert_eq!(world.take_uploads(NOW).await.len(), 1);
    assert_eq!(submit().await, Submitted::Replayed(b"answer".to_vec()));
}

async fn a_job_gets_its_upload_or_is_refused_whenever_the_sweep_comes(world: World) {
    let key = world.key().await;
    let (mut accepted, mut taken) = (0, 0);
    for _ in 0..40 {
        // Used up by a first job, so that it is the sweep's as soon as it looks.
        let whole = world.complete_upload(&key).await;
        assert_eq!(world.submit_on(&job_on(&key, &whole.id), NOW).await, Submitted::Accepted);
        let lease = world.claim(LONG).await;
        world.fail(&lease).await;
        let sweep = tokio::spawn({
            let store = world.store.clone();
            async move { store.take_uploads(NOW, 10).await.expect("taken") }
        });
        let next = job_on(&key, &whole.id);
        let submitted = world.submit_on(&next, NOW).await;
        let swept = sweep.await.expect("a task").contains(&whole.id);
        assert_ne!(submitted == Submitted::Accepted, swept, "{submitted:?}, swept: {swept}");
        if submitted == Submitted::Accepted {
            accepted += 1;
            let lease = world.claim(LONG).await;
            world.fail(&lease).await;
            assert_eq!(world.take_uploads(NOW).await, std::slice::from_ref(&whole.id));
        } else {
            taken += 1;
        }
        world.store.mark_uploads_swept(&[whole.id], NOW, DAY).await.expect("marked");
    }
    assert_eq!(accepted + taken, 40);
}

async fn what_is_swept_is_remembered_swept_again_and_forgotten(world: World) {
    let key = world.key().await;
    let whole = world.complete_upload(&key).await;
    assert_eq!(world.store.delete_upload(&key, &whole.id, NOW).await.expect("answered"), Deletion::Deleted);
    assert_eq!(world.store.delete_upload(&key, &whole.id, NOW).await.expect("answered"), Deletion::NotThere);
    assert_eq!(world.take_uploads(NOW).await, std::slice::from_ref(&whole.id));
    assert_eq!(
        world.take_uploads(NOW).await,
        std::slice::from_ref(&whole.id),
        "what a crash left is taken again"
    );
    let swept = [whole.id.clone()];
    for _node in 0..2 {
        world.store.mark_uploads_swept(&swept, NOW, DAY).await.expect("marked");
    }
    assert_eq!(world.take_uploads(NOW.plus(DAY / 2)).await, []);
    assert_eq!(world.found(&whole, NOW).await.expect("remembered").state, UploadState::Gone);
    assert_eq!(world.take_uploads(NOW.plus(DAY)).await, swept, "once more");
    world.store.mark_uploads_swept(&swept, NOW.plus(DAY), DAY).await.expect("marked");
    assert_eq!(world.found(&whole, NOW).await, None);
    assert_eq!(world.take_uploads(NOW.plus(9 * DAY)).await, []);
}

on_both! {
    an_upload_that_nobody_uses_goes_when_it_expires
    an_upload_stays_until_the_last_job_that_names_it_has_ended
    a_batch_on_an_unfinished_upload_leaves_nothing
    a_repeated_request_is_answered_although_its_upload_is_used_up
    a_job_gets_its_upload_or_is_refused_whenever_the_sweep_comes
    what_is_swept_is_remembered_swept_again_and_forgotten
}
